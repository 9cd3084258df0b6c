"""What is in a table is in no XCom, no rendered field and no log."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from airflow.models import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from flowstone_provider import load
from tests.support.dags import run_dag, states

SECRET = "every-cell-says-this"


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


def test_tables_are_in_no_xcom_no_rendered_field_and_no_log(capfd):
    with DAG("private", schedule=None) as dag:

        @task.materialize(asset="cells", partition="{{ ds }}")
        def make():
            return pa.table({"cell": [SECRET] * 1_000})

        @task.materialize(asset="more")
        def more(table: pa.Table, rows: list, *, lines: pa.RecordBatchReader = None, **context):
            assert len(rows) == lines.read_all().num_rows == table.num_rows == 1_000
            return rows

        made = make()
        more(made, made, lines=made)
    run = run_dag(dag)
    assert run.state == "success"
    with create_session() as session:
        fields = [row.rendered_fields for row in session.query(RenderedTaskInstanceFields).filter_by(dag_id="private")]
        xcoms = [row.value for row in session.query(XComModel).filter_by(dag_id="private")]
    assert len(fields) == len(xcoms) == 2
    assert SECRET not in json.dumps([fields, xcoms])
    assert max(len(json.dumps(value)) for value in xcoms) < 2_000
    assert SECRET not in capfd.readouterr().out


def test_nothing_of_a_table_that_cannot_be_stored_or_loaded_is_said(capfd):
    table = pa.table({"cell": [SECRET] * 1_000})
    with DAG("private_too", schedule=None) as dag:

        @task.materialize(asset="cells")
        def breaks():
            yield from table.to_batches()
            raise RuntimeError("the source broke")

        @task.materialize(asset="cells", io_manager="parquet")
        def not_as_parquet():
            return pa.table({"strange": pa.RunEndEncodedArray.from_arrays([1], [SECRET])})

        @task.materialize(asset="cells")
        def column():
            return table.column("cell")

        @task
        def no_reference():
            return load(table)

        [breaks(), not_as_parquet(), column(), no_reference()]
    run = run_dag(dag)
    assert set(states(run).values()) == {"failed"}
    with create_session() as session:
        assert session.query(XComModel).filter_by(dag_id="private_too").count() == 0
    said = capfd.readouterr()
    assert "the source broke" in said.out
    assert "the column 'strange' cannot be stored as Parquet" in said.out
    assert SECRET not in said.out + said.err
