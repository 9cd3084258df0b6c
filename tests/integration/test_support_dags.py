from __future__ import annotations

import pytest
from airflow.sdk import dag, task

from tests.support.dags import run_dag, states


@pytest.mark.usefixtures("airflow_db")
def test_run_dag_runs_mapping_and_tells_the_states():
    @dag(schedule=None)
    def numbers():
        @task
        def double(n: int) -> int:
            if n == 3:
                raise ValueError("three")
            return n * 2

        double.expand(n=[1, 3])

    run = run_dag(numbers(), conf={"a": 1})
    assert run.conf == {"a": 1}
    assert run.state == "failed"
    assert states(run) == {"double[0]": "success", "double[1]": "failed"}
