"""`@task.materialize` in runs of DAGs, in this process; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest
from airflow.sdk import DAG, Param, task

from flowstone_provider import AssetExistsSensor, CopyAssetOperator, DeleteAssetOperator, load
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.registry import create_io_manager
from tests.support.dags import numbers, pulled, run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


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


def test_if_exists():
    calls = []
    with DAG("exists", schedule=None) as dag:

        @task.materialize(asset="kept", if_exists="skip")
        def kept():
            calls.append("kept")
            return {"n": len(calls)}

        @task.materialize(asset="once", if_exists="error", retries=3)
        def once():
            return 1

        @task.materialize(asset="always")
        def always():
            return {"n": len(calls)}

        kept() >> always() >> once()
    first, second = run_dag(dag), run_dag(dag)
    assert first.state == "success"
    assert states(second) == {"kept": "success", "always": "success", "once": "failed"}
    assert calls == ["kept"]
    assert pulled(first, "kept") == pulled(second, "kept")
    (failed,) = [ti for ti in second.get_task_instances() if ti.task_id == "once"]
    assert failed.try_number == 1, "another try would not help"


def test_what_is_wrong_is_said(capfd):
    with DAG("wrong", schedule=None, default_args={"retries": 2}) as dag:

        @task
        def older():
            return {"flowstone": "asset", "version": 0, "asset": "a"}

        @task.materialize(asset="numbers")
        def make():
            return numbers()

        @task
        def change(reference):
            manager = create_io_manager("file")
            manager.store(AssetKey("numbers"), numbers(3))
            return reference

        @task.materialize(asset="result", task_id="of_older")
        def of_older(value): ...

        @task.materialize(asset="result")
        def of_replaced(value): ...

        @task.materialize(asset="result")
        def of_replaced_ones(value: pa.Table): ...

        @task(trigger_rule="all_done")
        def delete(_):
            create_io_manager("file").delete(AssetKey("numbers"))

        @task.materialize(asset="result", trigger_rule="all_done")
        def of_deleted(value): ...

        @task.materialize(asset="result")
        def strange():
            return object()

        @task.materialize(asset="result", partition="{{ params.nothing }}")
        def nameless():
            return 1

        @task
        def nothing(): ...

        @task.materialize(asset="whole", partition=nothing())
        def of_nothing():
            return 1

        of_older(older())
        made = make()
        changed = change(made)
        replaced, ones = of_replaced(changed), of_replaced_ones([changed, changed])
        gone = delete(changed)
        [replaced, ones] >> gone >> of_deleted(made)
        strange()
        nameless()
        of_nothing()
    dag.params["nothing"] = Param("")
    run = run_dag(dag)
    expected = {"of_older", "of_replaced", "of_replaced_ones", "of_deleted", "strange", "nameless", "of_nothing"}
    found = {name for name, state in states(run).items() if state == "failed"}
    assert found == expected
    assert {ti.try_number for ti in run.get_task_instances() if ti.task_id in expected} == {1}
    said = capfd.readouterr().out
    assert "has version 0, this package reads version 1: run the task that stored it again" in said
    assert said.count("numbers was replaced at") >= 2
    assert "has no value of numbers" in said
    assert "a value of type builtins.object cannot be stored; what can: JSON values, bytes" in said
    assert "the partition of result is '': its template, or the task that it comes from, found nothing" in said
    assert "the partition of whole is None: its template" in said
    assert not create_io_manager("file").exists(AssetKey("whole"))


def test_the_event_of_the_outlet_tells_what_was_stored_and_from_what():
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with DAG("events", schedule=None) as dag:

        @task.materialize(asset="events/first", partition=("eu", "2026-01-15"))
        def first():
            return numbers(3)

        @task.materialize(asset="events/second")
        def second(table):
            return {"rows": table.num_rows}

        second(first())
    run = run_dag(dag)
    assert run.state == "success"
    with create_session() as session:
        events = {event.asset.uri: event for event in session.query(AssetEvent).filter_by(source_dag_id="events")}
        made, counted = events["flowstone://file/events/first"], events["flowstone://file/events/second"]
        reference = pulled(run, "first")
        assert made.extra == {**reference, "read": []}
        assert getattr(made, "partition_key", "eu|2026-01-15") == "eu|2026-01-15"
        read = {name: reference[name] for name in ("asset", "partition", "io_manager", "checksum")}
        assert counted.extra["read"] == [read]
        assert load(counted.extra) == {"rows": 3}


def test_an_asset_is_waited_for_copied_and_deleted(configure, tmp_path):
    configure("io_managers", json.dumps({"archive": {"use": "file", "path": f"file://{tmp_path}/archive"}}))
    lake, archive = create_io_manager("file"), create_io_manager("archive")
    values = {"table": numbers(), "empty": numbers(0), "json": {"a": [1]}, "bytes": b"\x00" * 3_000_000}
    for name, value in values.items():
        lake.store(AssetKey(name, "eu"), value)
    with DAG("copies", schedule=None) as dag:
        for name in values:
            there = AssetExistsSensor(task_id=f"wait_{name}", asset=name, partition="eu")
            copy = CopyAssetOperator(
                task_id=f"copy_{name}", asset=name, partition="eu", to_io_manager="archive", to_asset=f"old/{name}"
            )
            there >> copy >> DeleteAssetOperator(task_id=f"delete_{name}", asset=name, partition="eu")
        CopyAssetOperator(task_id="nothing", asset="table", partition="us", to_io_manager="archive")
        AssetExistsSensor(task_id="never", asset="table", partition="us", timeout=0, soft_fail=True, poke_interval=0.01)
    run = run_dag(dag)
    found = states(run)
    assert (found.pop("nothing"), found.pop("never")) == ("failed", "skipped")
    assert set(found.values()) == {"success"}
    assert pulled(run, "wait_table")["rows"] == 10
    for name, value in values.items():
        assert archive.load(AssetKey(f"old/{name}", "eu")) == value
        assert not lake.exists(AssetKey(name, "eu"))
    assert load(pulled(run, "copy_json")) == {"a": [1]}
    assert (tmp_path / "archive/old/table").is_dir()


def test_a_copy_has_the_name_of_the_original(configure, tmp_path):
    configure("io_managers", json.dumps({"archive": {"use": "file", "path": f"file://{tmp_path}/archive"}}))
    with DAG("copies", schedule=None) as dag:

        @task.materialize(asset="numbers/all")
        def make():
            return numbers()

        make() >> CopyAssetOperator(task_id="copy", asset="numbers/all", to_io_manager="archive")
    assert states(run_dag(dag)) == {"make": "success", "copy": "success"}
    assert create_io_manager("archive").load(AssetKey("numbers/all")).num_rows == 10


def test_the_view_of_a_scatter_is_given_as_the_annotation_says():
    with DAG("views", schedule=None) as dag:

        @task.scatter(items=[{"n": 1}, {"n": 2}])
        def work(item):
            return item

        @task.materialize(asset="views")
        def publish(enriched, table: pa.Table, rows: list, batches: Iterator) -> pa.Table:
            assert enriched.counts["succeeded"] == len(rows) == table.num_rows == 2
            assert sum(batch.num_rows for batch in batches) == 2
            return enriched.to_arrow()

        done = work()
        publish(done, done, done, done)
    assert run_dag(dag).state == "success"
    assert create_io_manager("file").load(AssetKey("views"), list) == [{"n": 1}, {"n": 2}]


def test_arguments_of_every_kind_are_loaded():
    with DAG("arguments", schedule=None) as dag:

        @task.materialize(asset="one")
        def one():
            return numbers(1)

        @task.materialize(asset="all")
        def collect(first, *parts: list, last: list, **more):
            return [first.num_rows, *parts, last, more["extra"].num_rows, "ti" in more]

        made = one()
        collect(made, made, made, last=made, extra=made)
    assert run_dag(dag).state == "success"
    row = [{"n": 0, "text": "row 0"}]
    assert create_io_manager("file").load(AssetKey("all")) == [1, row, row, row, 1, True]


def test_an_async_function_and_a_name_that_is_rendered():
    with DAG("async", schedule=None) as dag:

        @task.materialize(asset="async/{{ params.name }}")
        async def make():
            return {"n": 1}

        make()
    dag.params["name"] = Param("rendered")
    run = run_dag(dag)
    assert pulled(run, "make")["asset"] == "async/rendered"
    assert create_io_manager("file").load(AssetKey("async/rendered")) == {"n": 1}
