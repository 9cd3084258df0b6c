"""Approvals in runs of DAGs, in this process: what ends before anybody is asked. The rest is in `tests/e2e`."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG, task

from flowstone_provider import approve, wait_for_approval
from tests.support.dags import pulled, run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


def test_a_function_that_does_not_ask_is_like_any_other():
    with DAG("not_needed", schedule=None) as dag:

        @task.approval(asset="report", partition="{{ params.region }}")
        def check(rows: int, ds=None) -> dict:
            if rows > 100:
                wait_for_approval("So many?")
            return {"rows": rows, "ds": ds}

        @task.approval
        async def later(checked: dict) -> int:
            return checked["rows"] + 1

        @task.approval(map_index_template="{{ task.op_kwargs.n }}")
        def each(n: int, more: int) -> int:
            return n * more

        each.partial(more=later(check(7))).expand(n=[1, 2])
    dag.params["region"] = "eu"
    run = run_dag(dag)
    assert str(run.state) == "success", states(run)
    assert pulled(run, "check") == {"rows": 7, "ds": run.logical_date.date().isoformat()}
    assert [pulled(run, "each", n) for n in (0, 1)] == [8, 16]


def test_what_was_never_stored_cannot_be_approved():
    with DAG("not_stored", schedule=None) as dag:

        @task.materialize(asset="report", partition="eu")
        def report():
            return 1

        report() >> approve("Publish?", asset="report", partition="us")
    run = run_dag(dag)
    assert states(run) == {"report": "success", "approve": "failed"}


def test_waiting_in_a_plain_task_says_what_to_use(caplog):
    with DAG("plain", schedule=None) as dag:

        @task
        def plain():
            wait_for_approval("Sure?")

        @task.approval
        def empty():
            wait_for_approval("")

        plain()
        empty()
    run = run_dag(dag)
    assert states(run) == {"plain": "failed", "empty": "failed"}
