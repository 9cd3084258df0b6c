"""Branches that do what the files in a folder say (``conf["folder"]``), and joins that write down what came to them."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task, task_group

from flowstone_provider import BranchOutcome, ParallelTaskGroup

LATE = 2


def folder() -> Path:
    return Path(get_current_context()["dag_run"].conf["folder"])


@task
def work(name: str) -> str:
    """Waits as long as there is a file ``hold-<name>``; fails if there is one ``broken-<name>``."""
    while (folder() / f"hold-{name}").exists():
        time.sleep(0.05)
    if (folder() / f"broken-{name}").exists():
        raise ValueError(f"{name} is broken")
    return name


def join(outcomes: dict[str, BranchOutcome]) -> dict[str, str]:
    """Writes down in which process it was called with what."""
    statuses = {name: outcome.status for name, outcome in outcomes.items()}
    with (folder() / "joins").open("a") as joins:
        joins.write(json.dumps({"pid": os.getpid(), **statuses}) + "\n")
    while (folder() / "hold-join").exists():
        time.sleep(0.05)
    return statuses


@dag(schedule=None)
def parallel_branches():
    with ParallelTaskGroup("enrich", failure_mode="partial") as enrich:
        with enrich.branch("prices"):
            work("prices")
        with enrich.branch("météo", required=False, timeout=LATE):
            work("weather")
        with enrich.branch("news", required=False):
            work("news")
        enrich.join(join, retries=2, retry_delay=timedelta(seconds=1))

    @task
    def after(statuses: dict) -> int:
        return len(statuses)

    after(enrich.output)

    @task_group
    def each(name: str) -> None:
        with ParallelTaskGroup("g", failure_mode="partial") as group:
            with group.branch("one"):
                work("one")
            with group.branch("other", required=False):
                work(name)

    each.expand(name=["prices", "news"])


parallel_branches()
