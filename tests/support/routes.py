"""Running a router alone, without a scheduler."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import DownstreamTasksSkipped


class Instance:
    """What a router asks of its task instance."""

    def __init__(self, task: Any, run_id: str, map_index: int):
        self.task, self.dag_id, self.task_id = task, task.dag_id, task.task_id
        self.run_id, self.map_index = run_id, map_index
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def run_router(
    dag: Any, router: str = "route", *, run_id: str = "run", map_index: int = -1, partition: str | None = None
) -> tuple[dict[str, Any], set[str]]:
    """Execute a router of a DAG.

    Returns:
        The decision, and the ids of the tasks that it skips.
    """
    task = dag.get_task(router)
    instance = Instance(task, run_id, map_index)
    skipped: Any = []
    try:
        task.execute({"ti": instance, "dag_run": SimpleNamespace(partition_key=partition), "ds": "2013-01-01"})
    except DownstreamTasksSkipped as skip:
        skipped = skip.tasks
    assert all(index == map_index for _, index in skipped)
    return instance.pushed["return_value"], {task_id for task_id, _ in skipped}
