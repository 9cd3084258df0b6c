"""Batches that read their own part of a table: what a batch has begun with it goes on with, whatever is written."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.scatter_run import Run
from tests.e2e.test_scatter import kill
from tests.services.postgres import execute, fresh_database
from tests.support.processes import wait_until


@pytest.fixture
def database(postgres_url, airflow: Cluster):
    """A table with the rows 0…8 in groups of three, behind the connection ``rows_database``."""
    with fresh_database(postgres_url) as url:
        execute(url, "create table numbers as select n, n / 3 as g from generate_series(0, 8) n")
        parts = urlsplit(url)
        body = {"connection_id": "rows_database", "conn_type": "postgres", "host": parts.hostname, "port": parts.port}
        airflow.api("POST", "connections", json={**body, "login": parts.username, "schema": parts.path[1:]})
        yield url
        airflow.api("DELETE", "connections/rows_database")


def test_a_batch_goes_on_with_the_rows_that_it_began_with(airflow: Cluster, database, tmp_path):
    airflow.add_dag(Path(__file__).parent / "dags" / "scatter_rows.py")
    (tmp_path / "broken-1").touch()
    (tmp_path / "hold-4").touch()
    run = Run(airflow, "rows", tmp_path)

    pid = run.wait_call(4)
    outcomes = run.ledger("note") / "outcomes" / "00001"
    wait_until(lambda: list(outcomes.glob("*.jsonl")), timeout=30, what="no outcome is recorded")
    wait_until(
        lambda: {0, 1, 2, 6, 7, 8} <= run.count().keys(),
        timeout=60,
        what=lambda: f"the others did not run: {run.count()}",
    )
    # By position, each of these would now be another row.
    execute(database, "delete from numbers where n in (0, 3)")
    execute(database, "insert into numbers values (30, 1), (40, 0)")
    kill(pid)
    (tmp_path / "hold-4").unlink()

    assert run.end() == "success"
    assert run.outcomes("note.batch")[1] == ("success", 2)
    assert run.count() == {**dict.fromkeys(range(9), 1), 4: 2}
    assert run.manifest("note")["counts"] == {"total": 9, "succeeded": 8, "failed": 1, "pending": 0}

    (tmp_path / "broken-1").unlink()
    run.clear(("note.batch", 0))
    assert run.end() == "success"
    assert run.count() == {**dict.fromkeys(range(9), 1), 4: 2, 1: 2}, "only what had failed, as it was"
    assert sorted(line["result"] for line in run.lines("note", "succeeded")) == list(range(9))
    assert '"items":null' in (run.ledger("note") / "plan" / "sealed.json").read_text(), "the plan read no row"
