"""Assets on a real scheduler: a DAG stores a partition, and another runs because of it."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg2
import pytest

from tests.e2e.cluster import Cluster
from tests.support.processes import wait_until

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def run(airflow: Cluster):
    """A run that has stored the partition ``eu 1``, of the DAG that has no other."""
    airflow.add_dag(DAGS / "assets_used.py")
    dag_id = airflow.add_dag(DAGS / "assets_made.py")
    run_id = airflow.trigger(dag_id, conf={"month": "eu 1"})
    assert airflow.wait_run(dag_id, run_id) == "success"
    return run_id


def consumer(airflow):
    def runs():
        found = airflow.api("GET", "dags/assets_used/dagRuns")["dag_runs"]
        return [each for each in found if each["state"] in ("success", "failed")]

    return wait_until(runs, timeout=90, what="no run of assets_used has ended")


def test_references_are_small_and_tables_are_nowhere_in_airflows_database(airflow: Cluster, run):
    reference = airflow.xcom("assets_made", run, "even")
    assert reference["rows"] == 50_000
    assert reference["partition"] == "eu~201"
    assert len(json.dumps(reference)) < 2_000
    connection = psycopg2.connect(airflow.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", ""))
    with connection.cursor() as cursor:
        for table, column in (("xcom", "value"), ("rendered_task_instance_fields", "rendered_fields")):
            cursor.execute(f"select max(length({column}::text)) from {table} where dag_id = 'assets_made'")
            assert cursor.fetchone()[0] < 2_048
    connection.close()
    assert "every cell says this" not in airflow.logs("assets_made", run, "even")


def test_a_consumer_runs_with_what_the_event_stands_for(airflow: Cluster, run):
    (ran,) = consumer(airflow)
    assert ran["state"] == "success"
    reference = airflow.xcom("assets_used", ran["dag_run_id"], "seen")
    path = Path(reference["uri"].removeprefix("file://"))
    assert json.loads(path.read_text()) == {"rows": 50_000, "partition": "eu~201"}


@pytest.mark.airflow("3.2")
def test_partition_keys_go_from_run_to_event_to_run(airflow: Cluster, run):
    events = airflow.api("GET", "assets/events", params={"source_dag_id": "assets_made", "source_run_id": run})
    (even,) = [event for event in events["asset_events"] if event["uri"] == "flowstone://file/e2e/even"]
    assert even["partition_key"] == even["extra"]["partition"] == "eu~201"
    assert [read["asset"] for read in even["extra"]["read"]] == ["e2e/numbers"]
    (ran,) = consumer(airflow)
    assert ran["partition_key"] == "eu~201"
    assert airflow.xcom("assets_used", ran["dag_run_id"], "seen")["partition"] == "eu~201"


def test_openlineage_is_told_of_both_datasets_and_their_columns(airflow: Cluster, run):
    def complete():
        if not airflow.openlineage.exists():
            return None
        events = [json.loads(line) for line in airflow.openlineage.read_text().splitlines()]
        found = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
        return found if {"assets_made.numbers", "assets_made.even"} <= found.keys() else None

    events = wait_until(complete, timeout=60, what="OpenLineage got no event of the tasks")
    assets = airflow.storage / "assets" / "e2e"
    (made,) = events["assets_made.numbers"]["outputs"]
    assert events["assets_made.numbers"]["inputs"] == []
    assert (made["namespace"], made["name"]) == ("file", str(assets / "numbers"))
    assert columns(made) == {"n": "int64", "text": "string"}
    (read,), (even,) = events["assets_made.even"]["inputs"], events["assets_made.even"]["outputs"]
    assert (read["namespace"], read["name"], columns(read)) == (made["namespace"], made["name"], columns(made))
    assert (even["namespace"], even["name"]) == ("file", str(assets / "even"))
    assert columns(even) == {"n": "int64"}


def columns(dataset):
    return {field["name"]: field["type"] for field in dataset["facets"]["schema"]["fields"]}
