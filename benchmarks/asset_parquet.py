"""Storing and loading a table through the IO manager ``parquet``, against bare ``pyarrow.parquet``.

Both write Parquet with the same compression to the same disk, and take turns, which begins alternates. The manager
also hashes the file, writes a checksum into every page and checks it, writes a receipt and replaces the value before.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from _bench import MILLION, Finding, main, scratch
from _tables import observations

ROUNDS = 20


def in_turns(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of each, over all rounds; both are warmed up first."""
    both = (one, other)
    seconds = [0.0, 0.0]
    for number in range(-1, ROUNDS):
        for index in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            both[index]()
            if number >= 0:
                seconds[index] += time.perf_counter() - began
    return seconds[0], seconds[1]


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    import pyarrow.parquet as pq

    from flowstone_provider.contracts.io_manager import AssetKey
    from flowstone_provider.hooks.parquet import ParquetIOManager

    logging.disable(logging.INFO)
    table = observations(options.rows)
    key = AssetKey("observations", "2026-01")
    with scratch() as folder:
        manager = ParquetIOManager(path=f"file://{folder}/lake")
        bare = folder / "bare.parquet"
        ours, theirs = in_turns(lambda: manager.store(key, table), lambda: pq.write_table(table, bare))
        yield _finding("store", theirs, ours, options.rows)
        if not manager.load(key).equals(table):
            raise RuntimeError("another table came back")
        ours, theirs = in_turns(lambda: manager.load(key), lambda: pq.read_table(bare))
        yield _finding("load", theirs, ours, options.rows)


def _finding(what: str, theirs: float, ours: float, rows: int) -> Finding:
    return Finding(
        f"{what} through parquet: rate against bare pyarrow, {rows:,} rows of six columns",
        theirs / ours,
        0.9,
        "×",
        at_least=True,
        details={"pyarrow_seconds": theirs / ROUNDS, "parquet_seconds": ours / ROUNDS},
    )


if __name__ == "__main__":
    main(measure, __doc__, rows=MILLION)
