"""What a scatter adds to one item: `run_batch` with a function that does nothing, against a bare loop.

The peer is ``orjson.loads → function → orjson.dumps`` over the same items, which lie in memory already; what it dumps
is thrown away. Ours is everything that a task does with a batch: reading its file, the loop, durable outcomes, the
results file and the summary. They take turns, batch by batch. A batch has 10,000 items, whatever their number in all:
what a batch costs by itself, about two milliseconds, is spread over them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson
from _bench import MILLION, Finding, main, scratch, weather

BATCH = 10_000


def no_op(item: Any) -> Any:
    return item


def bare(lines: Iterable[bytes]) -> None:
    loads, dumps = orjson.loads, orjson.dumps
    for line in lines:
        dumps(no_op(loads(line)))


class Clock:
    """Adds up wall and CPU time, of all threads, over several stretches."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    from upath import UPath

    from flowstone_provider.contracts.item_reader import Page
    from flowstone_provider.contracts.scatter import Barrier, Batch, Plan
    from flowstone_provider.readers.resources import LocalResources
    from flowstone_provider.scatter.batch import run_batch
    from flowstone_provider.scatter.items import encode_page
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.options import ScatterOptions

    size = min(BATCH, options.items)
    batches = options.items // size
    scatter = ScatterOptions()
    ours, peer = Clock(), Clock()
    with scratch() as folder:
        ledger = LedgerCoordinator(UPath(folder))

        def run(barrier: Barrier, plan: Plan, number: int) -> None:
            summary = run_batch(no_op, ledger, barrier, plan, number, scatter, LocalResources())
            if summary.succeeded != plan.batches[number].items:
                raise RuntimeError(f"not all succeeded: {summary}")

        def planned(scatter_id: str, batches: int, items: int) -> tuple[Barrier, Plan]:
            barrier = Barrier("benchmark", "run", scatter_id)
            ledger.open(barrier)
            return barrier, Plan(tuple(Batch(n, n * items, items) for n in range(batches)), batches * items)

        # What a process does once, such as importing Airflow's metrics, is no cost of an item.
        barrier, plan = planned("warm-up", 1, 100)
        ledger.add_batch(0, encode_page(Page(list(weather(100)), {}, "weather.csv"), 0, None))
        run(barrier, plan, 0)

        barrier, plan = planned("measured", batches, size)
        items = weather(size * batches)
        for batch in plan.batches:
            page = Page(list(islice(items, size)), {}, "weather.csv")
            ledger.add_batch(batch.number, encode_page(page, batch.first, None))
            lines = [orjson.dumps(item) for item in page.items]
            del page
            for turn in ("ours", "peer") if batch.number % 2 else ("peer", "ours"):
                if turn == "peer":
                    with peer:
                        bare(lines)
                else:
                    with ours:
                        run(barrier, plan, batch.number)
    total = size * batches
    yield Finding(
        "an item in a scatter, over one in a bare loop",
        ours.wall / peer.wall,
        2.5,
        "×",
        details={
            "items": total,
            "batches": batches,
            "ours_us": ours.wall / total * 1e6,
            "peer_us": peer.wall / total * 1e6,
            "cpu_ratio": ours.cpu / peer.cpu,
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, items=MILLION)
