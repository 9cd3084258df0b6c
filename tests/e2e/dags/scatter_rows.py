"""A scatter over a table that others write to; what a folder's files say (``conf["folder"]``) holds and breaks it."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Tolerance, source


@dag(schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)})
def rows():
    """Nine rows in three groups, which are the splits."""

    @task.scatter(
        items=source("postgres", conn_id="rows_database", query="select n, g from numbers", cursor="g"),
        tolerance=Tolerance(count=1),
    )
    def note(row: dict[str, Any], dag_run) -> int:
        folder = Path(dag_run.conf["folder"])
        with (folder / "calls").open("a") as calls:
            calls.write(f"{row['n']} {os.getpid()}\n")
        while (folder / f"hold-{row['n']}").exists():
            time.sleep(0.05)
        if (folder / f"broken-{row['n']}").exists():
            raise ValueError(f"no luck with {row['n']}")
        return row["n"]

    note()


rows()
