"""DAGs that the converter wrote: all of them parse, and those that need no AWS do what Step Functions does."""

from __future__ import annotations

from typing import Any

import pytest

from flowstone_provider import load
from tests.support.dags import run_dag, states
from tests.support.step_functions import NAMES, converted, dag_of, definition_of, executed

ORDERS = {
    "batch": {
        "orders": [
            {"id": 1, "total": 50, "lines": [{"name": "tea"}]},
            {"id": 2, "total": 500, "lines": []},
            {"id": 3, "total": 100, "lines": [{"name": "cup"}, {"name": "pot"}]},
        ]
    }
}
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("parallel", {"n": 3}),
    ("caught", {"fail": "none", "items": [1, 2]}),
    ("caught", {"fail": "first", "items": [1, 2]}),
    ("caught", {"fail": "none", "items": [1, 13]}),
    ("inline_map", ORDERS),
    ("choices", {"value": "log-7.txt"}),
    ("choices", {"value": 7, "limit": 9}),
    ("waits", {"seconds": 0, "kept": {"at": "2020-01-01T00:00:00Z", "value": 5}}),
]


@pytest.fixture
def storage(tmp_path, configure):
    configure("storage", f"file://{tmp_path}/flowstone")


def ran(name: str, given: dict[str, Any], folder: Any) -> tuple[str, Any]:
    """The state of a run of a converted machine, and what the last task returned that succeeded."""
    dag = dag_of(converted(name).source, folder / f"{name}.py")
    run = run_dag(dag, given)
    if str(run.state) != "success":
        return "FAILED", states(run)
    last = [ti for ti in run.get_task_instances() if ti.task_id in {leaf.task_id for leaf in dag.leaves}]
    (ended,) = [ti for ti in last if str(ti.state) == "success"]
    return "SUCCEEDED", ended.xcom_pull(task_ids=ended.task_id)


def test_every_generated_dag_parses(airflow_db, storage, tmp_path):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(converted(name).source)
    bag = DagBag(tmp_path)
    assert bag.import_errors == {}
    assert sorted(bag.dags) == NAMES


def test_a_fail_state_in_a_branch_fails_the_run(airflow_db, storage, tmp_path):
    status, found = ran("parallel", {"n": -1}, tmp_path)
    assert status == "FAILED"
    assert found["work.work_branches.large_branch.negative"] == "failed"
    assert found["work.work_branches.large_branch.small"] == "skipped"
    assert found["work.work_branches.work_join"] == "failed"
    assert found["tidy"] == "upstream_failed"


LINES = [{"name": "tea", "price": 3}, {"name": "cup", "price": 4}]
ORDER = {"order": {"id": 7, "lines": LINES, "customer": {"name": "Ada"}}}


def test_jsonata_with_variables(airflow_db, storage, tmp_path):
    """moto has no JSONata: what Step Functions gives was worked out by hand."""
    status, output = ran("jsonata", ORDER, tmp_path)
    assert status == "SUCCEEDED", output
    bill = {"bill": "1. TEA for Ada; 2. CUP for Ada", "tax": 0.19, "customer": "Ada"}
    assert output["data"] == {"bill": bill, "limit": 100}
    assert output["variables"] == {"limit": 100, "customer": "Ada", "lines": 2}


@pytest.mark.s3
def test_a_distributed_map_reads_s3_in_batches(airflow_db, storage, tmp_path, s3, s3_server, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_server.connection())
    rows = [f"film {n};{n % 5}" for n in range(9)]
    s3.put("ratings.csv", "\n".join(rows).encode())
    status, reference = ran("distributed_csv", {"bucket": s3.bucket, "by": "me", "tolerated": 0}, tmp_path)
    assert status == "SUCCEEDED", reference
    assert reference["counts"] == {"total": 7, "succeeded": 7, "failed": 0, "pending": 0}
    results = [result for result in load(reference) if result is not None]
    assert [result["ratings"] for result in results] == [3, 3, 1], "MaxItems is 7, MaxItemsPerBatch 3"
    assert results[2] == {"ratings": 1, "films": ["film 6"], "by": "me"}


@pytest.mark.parametrize(("name", "given"), RUNS)
def test_a_generated_dag_does_what_step_functions_does(airflow_db, storage, tmp_path, name, given):
    expected = executed(definition_of(name), given)
    status, output = ran(name, given, tmp_path)
    assert status == expected[0], output
    if status == "SUCCEEDED":
        assert output == expected[1]
