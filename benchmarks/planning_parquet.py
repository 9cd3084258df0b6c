"""Planning a Parquet file, which can be split: only its footer is read, so the rows do not matter.

The limit is two seconds, for a file of ten million rows and for one of a tenth of that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from _bench import MILLION, Finding, main, scratch

ROW_GROUP = 100_000


def write_parquet(path: Path, rows: int) -> Path:
    """A file of a few columns, a row group after the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def group(first: int, count: int) -> pa.Table:
        numbers = range(first, first + count)
        text = [f"station-{number % 1000}" for number in numbers]
        return pa.table({"id": numbers, "station": text, "celsius": [number % 400 / 10 for number in numbers]})

    with pq.ParquetWriter(path, group(0, 1).schema) as writer:
        for first in range(0, rows, ROW_GROUP):
            writer.write_table(group(first, min(ROW_GROUP, rows - first)))
    return path


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    from upath import UPath

    from flowstone_provider import registry
    from flowstone_provider.contracts.item_reader import ReaderSpec
    from flowstone_provider.contracts.scatter import Barrier
    from flowstone_provider.readers.resources import LocalResources
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.options import ScatterOptions
    from flowstone_provider.scatter.planner import make_plan

    resources = LocalResources()
    with scratch() as folder:

        def plan(path: Path, rows: int, scatter_id: str) -> tuple[float, int]:
            ledger = LedgerCoordinator(UPath(folder / "ledger"))
            progress = ledger.open(Barrier("benchmark", "run", scatter_id))
            began = time.perf_counter()
            reader = registry.create_reader(ReaderSpec(reader="parquet", options={"path": str(path)}), resources)
            plan = make_plan(reader, ScatterOptions(), ledger, progress, limit=1024, resources=resources)
            seconds = time.perf_counter() - began
            if plan.items != rows or any(batch.reader is None for batch in plan.batches):
                raise RuntimeError(f"{plan.items} items, or the file was read")
            return seconds, len(plan.batches)

        # What a process does once, such as importing Airflow's metrics, is no cost of a row.
        plan(write_parquet(folder / "warm-up.parquet", 1_000), 1_000, "warm-up")
        for rows in (options.items, options.items // 10):
            path = write_parquet(folder / f"{rows}.parquet", rows)
            seconds, batches = plan(path, rows, f"rows-{rows}")
            megabytes = path.stat().st_size / 1e6
            yield Finding(
                f"planning a Parquet file of {rows:,} rows",
                seconds,
                2.0,
                "s",
                details={"rows": rows, "file_mb": megabytes, "batches": batches},
            )


if __name__ == "__main__":
    main(measure, __doc__, items=10 * MILLION)
