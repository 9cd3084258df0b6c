"""Handing a table from one task to the next: a reference, against the table in Airflow's object-storage XCom backend.

What is timed is what the two tasks do about it, in one process: the first task's store and the making of the XCom, the
reading of the XCom and the second task's load. Both write to the same disk. The first task has an Arrow table and the
second wants one; the backend takes pandas data frames only, so there it is made one and back. What a data frame takes
without that is shown beside it, on both sides. The claim is that of the IO manager ``file``, which hands over by
default; ``parquet``, which keeps tables for other tools as well, is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from _bench import MILLION, Finding, main, scratch
from _tables import observations

ROUNDS = 5

# Airflow keeps an XCom as a row of its database.
ROW_LIMIT = 2_048


def by_reference(manager: str, folder: Path) -> Callable[[Any], tuple[Any, int]]:
    """Hand over a value through an IO manager: the value that arrives, and the characters of the XCom."""
    from flowstone_provider.contracts.io_manager import AssetKey, make_reference
    from flowstone_provider.hooks.io_manager import create_io_manager, load_reference

    aliases = {"handover": {"use": manager, "path": f"file://{folder}/{manager}"}}
    os.environ["AIRFLOW__FLOWSTONE__IO_MANAGERS"] = json.dumps(aliases)
    key = AssetKey("weather/observations", "2026-01-15")

    def hand_over(value: Any) -> tuple[Any, int]:
        receipt = create_io_manager("handover").store(key, value)
        row = json.dumps(make_reference(key, "handover", receipt))
        return load_reference(json.loads(row), type(value)), len(row)

    return hand_over


def by_backend(folder: Path) -> Callable[[Any], tuple[Any, int]]:
    """Hand over a data frame through Airflow's backend."""
    os.environ["AIRFLOW__COMMON.IO__XCOM_OBJECTSTORAGE_PATH"] = f"file://{folder}/xcom"
    os.environ["AIRFLOW__COMMON.IO__XCOM_OBJECTSTORAGE_THRESHOLD"] = "0"
    from airflow.providers.common.io.xcom.backend import XComObjectStorageBackend as Backend

    def hand_over(value: Any) -> tuple[Any, int]:
        row = Backend.serialize_value(value, key="return_value", dag_id="dag", run_id="run", task_id="task")
        return Backend.deserialize_value(SimpleNamespace(value=row)), len(str(row))

    return hand_over


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    import pyarrow as pa

    from flowstone_provider import config

    logging.disable(logging.WARNING)  # a table is stored in the place of a frame, and so on
    table = observations(options.rows)
    frame = table.to_pandas()
    with scratch() as folder:
        backend = by_backend(folder)

        def through_pandas(value: Any) -> tuple[Any, int]:
            arrived, size = backend(value.to_pandas())
            return pa.Table.from_pandas(arrived, schema=value.schema, preserve_index=False), size

        details: dict[str, float] = {}
        for manager in ("parquet", "file"):
            ours = by_reference(manager, folder)
            config.clear_cache()
            ways = {
                "table": (ours, table),
                "table_backend": (through_pandas, table),
                "frame": (ours, frame),
                "frame_backend": (backend, frame),
            }
            seconds = dict.fromkeys(ways, 0.0)
            row = 0
            for number in range(-1, ROUNDS):
                for name, (how, value) in ways.items():
                    began = time.perf_counter()
                    arrived, size = how(value)
                    if number < 0:  # what a process does once
                        if not arrived.equals(value):
                            raise RuntimeError(f"another table came from {name}")
                    else:
                        seconds[name] += time.perf_counter() - began
                    row = size if name == "table" else row
            details |= {f"{manager}_{name}_seconds": total / ROUNDS for name, total in seconds.items()}
        yield Finding(
            f"handing over a table of {options.rows:,} rows by reference, quicker than through Airflow's backend",
            seconds["table_backend"] / seconds["table"],
            5.0,
            "×",
            at_least=True,
            details=details,
        )
        yield Finding("the XCom row that stands for it", row, ROW_LIMIT, "bytes")


if __name__ == "__main__":
    main(measure, __doc__, rows=MILLION)
