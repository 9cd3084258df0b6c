"""The Airflow of the session runs, maps, retries after Clear, and tells."""

from __future__ import annotations

import pytest

TWO_TASKS = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def two_tasks():
        @task
        def first(dag_run=None) -> int:
            return dag_run.conf["n"]

        @task
        def second(n: int) -> int:
            print(f"n is {n}")
            return n + 1

        second(first())

    two_tasks()
"""

MAPPED = """
    from airflow.sdk import dag, get_current_context, task

    @dag(schedule=None)
    def mapped():
        @task(map_index_template="{{ label }}")
        def double(n: int) -> int:
            context = get_current_context()
            context["label"] = f"#{n}"
            if n == 3 and context["ti"].try_number == 1:
                raise ValueError("three fails at first")
            return n * 2

        double.expand(n=[1, 3])

    mapped()
"""


def test_a_run_hands_values_on_and_logs(airflow):
    dag_id = airflow.add_dag(TWO_TASKS)
    run_id = airflow.trigger(dag_id, conf={"n": 41})
    assert airflow.wait_run(dag_id, run_id) == "success"
    assert airflow.xcom(dag_id, run_id, "second") == 42
    assert "n is 41" in airflow.logs(dag_id, run_id, "second")


def test_clear_runs_a_failed_instance_again(airflow):
    dag_id = airflow.add_dag(MAPPED)
    run_id = airflow.trigger(dag_id)
    assert airflow.wait_run(dag_id, run_id) == "failed"
    assert airflow.wait_task(dag_id, run_id, "double", 1)["state"] == "failed"

    cleared = airflow.clear(dag_id, run_id, [("double", 1)])
    assert [ti["map_index"] for ti in cleared] == [1]
    assert airflow.wait_run(dag_id, run_id) == "success"
    instances = airflow.task_instances(dag_id, run_id)
    assert [ti["try_number"] for ti in instances] == [1, 2]
    assert [ti["rendered_map_index"] for ti in instances] == ["#1", "#3"]
    assert airflow.xcom(dag_id, run_id, "double", 1) == 6
    assert "three fails" in airflow.logs(dag_id, run_id, "double", 1, try_number=1)


def test_a_file_that_cannot_be_imported_says_why(airflow):
    with pytest.raises(RuntimeError, match="no_such_module"):
        airflow.add_dag("from airflow.sdk import dag\nimport no_such_module\n")


def test_a_viewer_may_look_and_not_touch(airflow):
    viewer = airflow.client("viewer")
    assert viewer.get("/api/v2/dags").status_code == 200
    assert viewer.delete("/api/v2/dags/two_tasks").status_code == 403
