"""`@task.materialize` in runs of DAGs, in this process; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest
from airflow.sdk import DAG, Param, task

from flowstone_provider import load
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.hooks.io_manager import create_io_manager
from tests.support.dags import run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


def pulled(run, task_id, map_index=-1):
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == task_id and ti.map_index == map_index]
    return ti.xcom_pull(task_ids=task_id, key="return_value", map_indexes=map_index)


def numbers(rows=10):
    return pa.table({"n": list(range(rows)), "text": [f"row {n}" for n in range(rows)]})


def test_a_table_goes_from_task_to_task_and_a_reference_through_xcom():
    with DAG("tables", schedule=None) as dag:

        @task.materialize(asset="numbers/all", partition="{{ params.region }}")
        def make(rows: int) -> pa.Table:
            return numbers(rows)

        @task.materialize(asset="numbers/even", partition="{{ params.region }}")
        def even(table: pa.Table, odd: list, batches: Iterator[pa.RecordBatch], ds=None):
            assert isinstance(odd, list)
            assert sum(batch.num_rows for batch in batches) == table.num_rows
            for batch in table.to_batches(max_chunksize=4):
                yield batch.filter(pa.compute.equal(pa.compute.bit_wise_and(batch["n"], 1), 0))

        @task
        def total(reference: dict) -> int:
            found = load(reference, columns=["n"], where=[("n", ">", 2)])
            assert found.column_names == ["n"]
            return pa.compute.sum(found["n"]).as_py()

        made = make(10)
        total(even(made, odd=made, batches=made))
    dag.params["region"] = Param("eu west")
    run = run_dag(dag)
    assert run.state == "success"
    reference = pulled(run, "even")
    assert reference["rows"] == 5
    assert reference["partition"] == "eu~20west"
    assert len(json.dumps(reference)) < 2_000
    assert pulled(run, "total") == 4 + 6 + 8


def test_each_mapped_instance_stores_a_partition_and_a_consumer_gets_them_as_one():
    with DAG("mapped", schedule=None) as dag:

        @task.materialize(asset="months", partition="{{ task.op_kwargs.month }}")
        def month_of(month: str, rows: int):
            return numbers(rows)

        @task
        def together(parts):
            return load(parts, pa.Table).num_rows

        @task.materialize(asset="whole")
        def whole(parts: pa.Table):
            return {"rows": parts.num_rows}

        @task.materialize(asset="apart")
        def apart(parts: list[list]):
            return [len(part) for part in parts]

        parts = month_of.partial(rows=3).expand(month=["2026-01", "2026-02"])
        together(parts)
        whole(parts)
        apart(parts)
    run = run_dag(dag)
    assert run.state == "success", states(run)
    assert pulled(run, "together") == 6
    manager = create_io_manager("file")
    assert list(manager.list_partitions("months")) == ["2026-01", "2026-02"]
    assert manager.load(AssetKey("whole")) == {"rows": 6}
    assert manager.load(AssetKey("apart")) == [3, 3]
    labels = {ti.rendered_map_index for ti in run.get_task_instances() if ti.task_id == "month_of"}
    assert labels == {"2026-01", "2026-02"}
