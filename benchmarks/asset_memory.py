"""Peak memory of storing and loading five gigabytes as record batches.

Each is a fresh process, which does nothing else: what Python, Airflow and pyarrow take themselves is counted, too. The
rows do not compress, so that as much is written as is given.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _bench import ROOT, Finding, child, main, scratch

sys.path.insert(0, str(ROOT))  # the server of the tests

BATCH_MB = 16
LIMIT_MB = 600.0


@contextmanager
def lake() -> Iterator[dict[str, Any]]:
    """The options of an IO manager with a folder of its own."""
    with scratch() as folder:
        yield {"path": f"file://{folder}"}


@contextmanager
def database() -> Iterator[dict[str, Any]]:
    """The options of an IO manager with a PostgreSQL server of its own."""
    from tests.services.postgres import running_postgres
    from tests.support.postgres import airflow_connection

    with running_postgres() as url:
        os.environ["AIRFLOW_CONN_BENCHMARK"] = airflow_connection(url)
        yield {"conn_id": "benchmark"}


# The name of an IO manager, and what makes its place and yields its options; the environment is the child's, too.
PLACES = {"parquet": lake, "postgres": database}


def batches(megabytes: int) -> Iterator[Any]:
    """Record batches of numbers, texts and noise, each another one, of so many megabytes in all."""
    import pyarrow as pa

    rows = BATCH_MB * 1_000_000 // 500
    for number in range(megabytes // BATCH_MB):
        first = number * rows
        noise = os.urandom(rows * 470)
        yield pa.record_batch(
            {
                "id": pa.array(range(first, first + rows), pa.int64()),
                "text": pa.array([f"observation {row}" for row in range(first, first + rows)]),
                "noise": pa.Array.from_buffers(pa.binary(470), rows, [None, pa.py_buffer(noise)]),
            }
        )


def step(manager: str, options: dict[str, Any], name: str, megabytes: int) -> dict[str, float]:
    """Store or load in this process; what it took."""
    import pyarrow as pa

    from flowstone_provider.contracts.io_manager import AssetKey
    from flowstone_provider.hooks.io_manager import create_io_manager

    logging.disable(logging.INFO)
    one, key = create_io_manager(manager, **options), AssetKey("observations", "all")
    began = time.perf_counter()
    if name == "store":
        size = one.store(key, batches(megabytes)).bytes
    else:
        size = sum(batch.nbytes for batch in one.load(key, Iterator[pa.RecordBatch]))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"megabytes": size / 1e6, "seconds": seconds, "peak_mb": peak}


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    # This process stays small: Linux counts what a process had when it forked into the child's peak.
    for manager, place in PLACES.items():
        with place() as where:
            for name in ("store", "load"):
                took = child(__file__, manager, json.dumps(where), name, options.megabytes)
                if took["megabytes"] < options.megabytes * 0.95:
                    raise RuntimeError(f"only {took['megabytes']:,.0f} MB")
                yield Finding(
                    f"peak memory, {name} of {options.megabytes:,} MB through {manager}",
                    took["peak_mb"],
                    LIMIT_MB,
                    "MB",
                    details={"megabytes": took["megabytes"], "seconds": took["seconds"]},
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _, _, which, given, what, size = sys.argv
        print(json.dumps(step(which, json.loads(given), what, int(size))))
    else:
        main(measure, __doc__, megabytes=5_000)
