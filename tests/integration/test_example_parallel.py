"""The example DAG of parallel branches."""

from __future__ import annotations

from tests.integration import test_example_assets, test_example_dags
from tests.integration.test_example_dags import Run, storage  # noqa: F401  (a fixture)


def test_parallel_report(airflow_db, storage):  # noqa: F811
    run = Run("parallel_report", storage)
    assert run.report.keys() == {"Newark Liberty Intl", "John F Kennedy Intl", "La Guardia"}
    assert {found["month"] for found in run.report.values()} == {7}
    means = test_example_assets.mean_temperatures(7)
    assert {name: found["celsius"] for name, found in run.report.items()} == {
        name: round((fahrenheit - 32) / 1.8, 1) for name, fahrenheit in means.items()
    }


def test_the_report_without_names():
    """What an optional branch did not bring is done without."""
    from flowstone_provider import BranchOutcome

    dag = test_example_dags.dag_of("parallel_report")
    combine = dag.get_task("collect.combine").python_callable
    weather = BranchOutcome("succeeded", {"EWR": {"month": 7, "celsius": 26.7}})
    late = BranchOutcome("timed_out", error="it had not ended")
    assert combine({"weather": weather, "names": late}) == {"EWR": {"month": 7, "celsius": 26.7}}
