"""Approvals of every end: given, refused, unanswered, not needed, of one user only."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, get_current_context, task

from flowstone_provider import approve, wait_for_approval

REPORT: dict[str, Any] = {"asset": "e2e/report", "partition": "{{ run_id }}"}


@dag(schedule=None, default_args={"retries": 1, "retry_delay": timedelta(seconds=1)})
def approvals():
    """Who answers what is up to the test; see there."""

    @task.materialize(**REPORT)
    def report():
        return {"n": 1}

    @task
    def after(decision: Any = None) -> Any:
        return decision

    stored = report()
    good = approve("Publish {{ run_id }}?", task_id="good", body="*One* number.", **REPORT)
    refused = approve("Publish?", task_id="refused", **REPORT)
    strict = approve("Delete?", task_id="strict", fail_on_reject=True)
    # Not less: see `tests.e2e.parked`.
    soon = timedelta(seconds=5)
    late = approve("Soon?", task_id="late", response_timeout=soon, **REPORT)
    by_default = approve("Or else?", task_id="by_default", response_timeout=soon, defaults="Approve", **REPORT)
    only_op = approve("You, op?", task_id="only_op", assigned_users={"id": "op", "name": "op"})
    stored >> [good, refused, late, by_default]
    for asked in (good, refused, strict, late, by_default, only_op):
        after.override(task_id=f"after_{asked.operator.task_id}")(asked)

    @task.approval
    def checked(n: int) -> str:
        context = get_current_context()
        with (Path(context["dag_run"].conf["folder"]) / "calls").open("a") as calls:
            print(n, context["ti"].try_number, file=calls)
        if n == 0:
            return "not needed"
        try:
            return wait_for_approval(f"Number {n}?", body=f"It is {n}.")
        except Exception:  # noqa: BLE001  (of a user who catches everything)
            return "caught"

    numbers = checked.expand(n=[0, 1, 2])
    after.override(task_id="after_each").expand(decision=numbers)
    after.override(task_id="after_all")(numbers)


made = approvals()

try:
    from airflow.providers.openlineage.utils.selective_enable import enable_lineage

    enable_lineage(made)
except ImportError:
    pass
