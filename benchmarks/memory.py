"""Peak memory of plan, batch and gather for a million items, against that for ten thousand.

Each runs in a fresh process, over a CSV file, with the default batching. The batch is the largest of the plan. The
gather finds no summaries, as after workers that died: it reads all outcomes and writes all results itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _bench import MILLION, Finding, child, main, scratch, weather_csv

SMALL = 10_000

STEPS = ("plan", "batch", "gather")


def no_op(item: Any) -> Any:
    return item


def step(name: str, folder: Path) -> None:
    """One step of a scatter, in this process; `prepare` does what gather needs and is not measured."""
    from upath import UPath

    from flowstone_provider import registry
    from flowstone_provider.contracts.item_reader import ReaderSpec
    from flowstone_provider.contracts.scatter import Barrier
    from flowstone_provider.readers.resources import LocalResources
    from flowstone_provider.scatter.batch import item_lines, run_batch
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.manifest import gather
    from flowstone_provider.scatter.options import ScatterOptions
    from flowstone_provider.scatter.planner import make_plan

    resources, options = LocalResources(), ScatterOptions()
    barrier = Barrier("benchmark", "run", "scatter")
    ledger = LedgerCoordinator(UPath(folder / "ledger"))
    progress = ledger.open(barrier)
    if name == "plan":
        spec = ReaderSpec(reader="csv", options={"path": str(folder / "weather.csv")})
        reader = registry.create_reader(spec, resources)
        make_plan(reader, options, ledger, progress, limit=1024, resources=resources)
        return
    plan = progress.plan
    if plan is None:
        raise RuntimeError("there is no plan")
    if name == "batch":
        largest = max(plan.batches, key=lambda batch: batch.items or 0)
        run_batch(no_op, ledger, barrier, plan, largest.number, options, resources)
    elif name == "prepare":
        for batch in plan.batches:
            run_batch(no_op, ledger, barrier, plan, batch.number, options, resources)
        for summary in (folder / "ledger").rglob("summary.json"):
            summary.unlink()
    elif name == "gather":
        lines = lambda batch: item_lines(ledger, batch, options, resources)  # noqa: E731
        reference = gather(ledger, barrier, plan, options, lines)
        if reference["counts"]["succeeded"] != plan.items:
            raise RuntimeError(f"not all succeeded: {reference}")


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    # This process stays small: Linux counts what a process had when it forked into the child's peak.
    peaks: dict[str, dict[int, float]] = {name: {} for name in STEPS}
    sizes = (SMALL, options.items)
    for items in sizes:
        with scratch() as folder:
            weather_csv(folder / "weather.csv", items)
            for name in ("plan", "batch", "prepare", "gather"):
                answer = child(__file__, name, folder)
                if name in peaks:
                    peaks[name][items] = answer["peak_mb"]
    for name, peak in peaks.items():
        yield Finding(
            f"memory of {name}: {options.items:,} items, more than {SMALL:,}",
            peak[options.items] - peak[SMALL],
            80.0,
            "MB",
            details={f"peak_mb_{items}": value for items, value in peak.items()},
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        step(sys.argv[2], Path(sys.argv[3]))
        print(json.dumps({"peak_mb": peak_megabytes()}))
    else:
        main(measure, __doc__, items=MILLION)
