"""Waiting for a task that waits."""

from __future__ import annotations

from tests.e2e.cluster import Cluster
from tests.support.processes import wait_until

# The latter before Airflow 3.3.
_STATES = ("awaiting_input", "deferred")


def wait_parked(airflow: Cluster, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> None:
    """Wait until a task instance waits for an answer or a signal, and the scheduler has seen its process end.

    Airflow takes a task for dead that was resumed and queued again before its scheduler saw that: no person is so
    quick, but a test is.
    """
    try_number = airflow.wait_task(dag_id, run_id, task_id, map_index, states=_STATES)["try_number"]
    ended = f"TaskInstance Finished: dag_id={dag_id}, task_id={task_id}, run_id={run_id}, map_index={map_index},"
    log = airflow.home / "scheduler.log"

    def seen() -> bool:
        lines = log.read_text().splitlines()
        return any(ended in line and f", try_number={try_number}," in line for line in lines)

    wait_until(seen, timeout=60, what=f"the scheduler did not see {task_id} end")
