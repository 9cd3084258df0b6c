"""Routers that do what files in a folder say (``conf["folder"]``), and write down there what was asked and what ran."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.openlineage.utils.selective_enable import enable_lineage
from airflow.sdk import TaskGroup, dag, get_current_context, task, task_group

from flowstone_provider import Choice, RouterOperator, collect, merge

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}


def folder() -> Path:
    return Path(get_current_context()["dag_run"].conf["folder"])


def note(name: str, what: object) -> None:
    with (folder() / name).open("a") as notes:
        notes.write(f"{what}\n")


class HeldRouter(RouterOperator):
    """Waits, as long as there is a file ``hold``, when it has decided and before it skips anything."""

    def skip_all_except(self, ti, branch_task_ids):
        note("decided", os.getpid())
        while (folder() / "hold").exists():
            time.sleep(0.05)
        super().skip_all_except(ti, branch_task_ids)


def below_ten(rows: int) -> bool:
    note("asked", rows)
    return rows < 10


@task
def returned(value):
    note("ran", value)
    return value


@dag(schedule=None, default_args=RETRIES)
def routes():
    """By the number in the file ``rows``."""

    @task
    def rows() -> int:
        return int((folder() / "rows").read_text())

    route = HeldRouter(task_id="route", choices=[Choice("small", when=below_ten)], default="large", op_args=[rows()])
    small = returned.override(task_id="small")("by small")
    with TaskGroup("large") as large:
        last = returned.override(task_id="last")("by large")
        returned.override(task_id="first")("first") >> last
    route >> [small, large]
    merge(small, last)
    collect(small, large=last)


@task.route
def by_size(n: int):
    note("asked", n)
    return {0: None, 1: "small"}.get(n, "large")


@dag(schedule=None, default_args=RETRIES)
def mapped_routes():
    """A router for each index of a group, and mapped tasks as the branches of one router."""

    @task
    def numbers() -> list[int]:
        return [0, 1, 20]

    @task_group
    def each(n):
        small = returned.override(task_id="small")("by small")
        large = returned.override(task_id="large")("by large")
        by_size(n) >> [small, large]
        merge(small, large)

    each.override(group_id="literal").expand(n=[0, 1, 20])
    each.override(group_id="generated").expand(n=numbers())

    by_size(1) >> [
        returned.override(task_id=name).expand(value=[f"{name} 0", f"{name} 1"]) for name in ("small", "big")
    ]


enable_lineage(routes())
mapped_routes()
