"""The example DAG of approvals where none is needed; one is given in `tests/e2e`."""

from __future__ import annotations

from tests.integration.test_example_dags import Run, storage  # noqa: F401  (a fixture)
from tests.support.dags import states


def test_approve_publish(airflow_db, storage):  # noqa: F811
    run = Run("approve_publish", storage)
    assert run.report == {"EWR": 1017.8, "JFK": 1018.2, "LGA": 1017.7}
    assert set(states(run.dag_run).values()) == {"success"}
