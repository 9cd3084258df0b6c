"""Scatters that do what the files in a folder say (``conf["folder"]``), and write down there what was called."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task

from flowstone_provider import Batching, Tolerance, load, source

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}


def note(folder: Path, what: int) -> None:
    with (folder / "calls").open("a") as calls:
        calls.write(f"{what} {os.getpid()}\n")


def hold(folder: Path, what: int) -> None:
    """Wait as long as there is a file ``hold-<what>``."""
    while (folder / f"hold-{what}").exists():
        time.sleep(0.05)


@dag(schedule=None, default_args=RETRIES)
def numbers():
    """Twelve numbers in four batches. Those with a file ``broken-<n>`` fail with what it says."""

    @task
    def items() -> list[int]:
        return list(range(12))

    @task.scatter(
        items=items(),
        batching=Batching(max_items=3),
        max_active_batches=2,
        tolerance=Tolerance(count="{{ dag_run.conf['tolerance'] }}"),
    )
    def double(n: int, dag_run) -> int:
        folder = Path(dag_run.conf["folder"])
        note(folder, n)
        hold(folder, n)
        broken = folder / f"broken-{n}"
        if broken.exists():
            raise ValueError(broken.read_text())
        return 2 * n

    @task
    def total(doubled: dict) -> int:
        return sum(load(doubled))

    total(double())


def twelve_pages(after: int | None) -> Iterator[tuple[list[int], int]]:
    """Pages of four numbers from a slow source."""
    folder = Path(get_current_context()["dag_run"].conf["folder"])
    for page in range(after or 0, 12):
        note(folder, page)
        time.sleep(0.3)
        hold(folder, page)
        yield list(range(4 * page, 4 * page + 4)), page + 1


@dag(schedule=None, default_args=RETRIES)
def pages():
    """Batches that do not end where pages do."""

    @task.scatter(items=source("function", function=twelve_pages), batching=Batching(max_items=14))
    def same(n: int) -> int:
        return n

    same()


numbers()
pages()
