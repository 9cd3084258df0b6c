"""Planning an uncompressed CSV file into batches, against a bare loop that makes JSON Lines of it.

The peer is ``csv.reader → dict(zip) → orjson.dumps → one file``. Ours also numbers the items, cuts them into batches
sized by default, and keeps each batch durably, with checkpoints. They take turns: after each batch of ours the peer
does as many rows.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import orjson
from _bench import MILLION, Finding, main, scratch, weather_csv


class Bare:
    """The bare loop, so many rows at a time."""

    def __init__(self, source: Path, target: Path) -> None:
        self.seconds = 0.0
        self._reader = csv.reader(source.open(newline=""))
        self._names = next(self._reader)
        self._out = target.open("wb")

    def rows(self, count: int) -> None:
        began = time.perf_counter()
        names, write, dumps = self._names, self._out.write, orjson.dumps
        for row in islice(self._reader, count):
            write(dumps(dict(zip(names, row)), option=orjson.OPT_APPEND_NEWLINE))  # noqa: B905
        self.seconds += time.perf_counter() - began

    def close(self) -> None:
        began = time.perf_counter()
        self._out.close()
        self.seconds += time.perf_counter() - began


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    from upath import UPath

    from flowstone_provider import registry
    from flowstone_provider.contracts.item_reader import ReaderSpec
    from flowstone_provider.contracts.scatter import Barrier
    from flowstone_provider.readers.resources import LocalResources
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.options import ScatterOptions
    from flowstone_provider.scatter.planner import make_plan

    class TakesTurns(LedgerCoordinator):
        def add_batch(self, number: int, lines: Sequence[bytes]) -> None:
            super().add_batch(number, lines)
            peer.rows(len(lines))

    resources = LocalResources()
    with scratch() as folder:
        # What a process does once, such as importing Airflow's metrics, is no cost of a row.
        source = weather_csv(folder / "warm-up.csv", 10)
        spec = ReaderSpec(reader="csv", options={"path": str(source)})
        ledger = LedgerCoordinator(UPath(folder / "ledger"))
        progress = ledger.open(Barrier("benchmark", "run", "warm-up"))
        reader = registry.create_reader(spec, resources)
        make_plan(reader, ScatterOptions(), ledger, progress, limit=1024, resources=resources)

        source = weather_csv(folder / "weather.csv", options.items)
        spec = ReaderSpec(reader="csv", options={"path": str(source)})
        peer = Bare(source, folder / "peer.jsonl")
        turns = TakesTurns(UPath(folder / "ledger"))
        progress = turns.open(Barrier("benchmark", "run", "measured"))
        began = time.perf_counter()
        reader = registry.create_reader(spec, resources)
        plan = make_plan(reader, ScatterOptions(), turns, progress, limit=1024, resources=resources)
        ours = time.perf_counter() - began - peer.seconds
        peer.close()
        if plan.items != options.items:
            raise RuntimeError(f"{plan.items} items were planned")
    yield Finding(
        "planning a CSV row, over reading and writing it in a bare loop",
        ours / peer.seconds,
        2.0,
        "×",
        details={"rows": options.items, "batches": len(plan.batches), "ours_s": ours, "peer_s": peer.seconds},
    )


if __name__ == "__main__":
    main(measure, __doc__, items=MILLION)
