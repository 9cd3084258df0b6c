"""`@task.scatter(into=…)` in runs of DAGs: the results of a scatter as an asset."""

from __future__ import annotations

import pytest
from airflow.models.asset import AssetEvent
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from flowstone_provider import Batching, Into, load
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import ReferenceError
from flowstone_provider.registry import create_io_manager
from tests.support.dags import numbers, pulled, run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


@pytest.mark.parametrize("results", ["jsonl", "parquet"])
def test_a_scatter_stores_its_results_as_an_asset_and_reads_one(results):
    with DAG(f"into_{results}", schedule=None, params={"region": "eu"}) as dag:

        @task.materialize(asset="numbers/in")
        def make():
            return numbers(25)

        @task.scatter(
            items=make(),
            batching=Batching(max_items=10),
            results=results,
            into=Into(asset="numbers/out", partition="{{ params.region }}"),
        )
        def double(row):
            # The first batch does not know yet what the others hold.
            return {"n": row["n"] if row["n"] < 10 else row["n"] / 2, "late": None if row["n"] < 20 else row["text"]}

        @task
        def read(reference):
            rows = sorted(load(reference["asset"], list), key=lambda row: row["n"])
            return [reference["counts"]["succeeded"], len(rows), rows[-1]]

        read(double())
    run = run_dag(dag)
    assert run.state == "success"
    assert pulled(run, "read") == [25, 25, {"n": 12.0, "late": "row 24"}]
    reference = pulled(run, "double.gather")
    assert reference["flowstone"] == "scatter"
    assert (reference["asset"]["asset"], reference["asset"]["partition"]) == ("numbers/out", "eu")


def test_a_scatter_without_results_leaves_no_value(caplog):
    manager = create_io_manager("file")
    manager.store(AssetKey("numbers/out"), numbers())
    with DAG("into_nothing", schedule=None) as dag:

        @task
        def nothing():
            return []

        @task.scatter(items=nothing(), into={"asset": "numbers/out"})
        def double(row):
            return row

        double()
    run = run_dag(dag)
    assert run.state == "success"
    assert pulled(run, "double.gather")["asset"] is None
    assert not manager.exists(AssetKey("numbers/out"))
    with create_session() as session:
        (event,) = session.query(AssetEvent).filter_by(source_dag_id="into_nothing")
        assert event.extra == {"deleted": True, "asset": "numbers/out", "partition": None}
        with pytest.raises(ReferenceError):
            load(event.extra)


@pytest.mark.parametrize("results", ["jsonl", "parquet"])
def test_results_that_are_no_rows_or_beyond_the_tolerance_are_not_stored(capfd, results):
    how = {"into": {"asset": "wrong"}, "retries": 0, "results": results, "batching": Batching(max_items=1)}
    with DAG(f"into_wrong_{results}", schedule=None) as dag:

        @task.scatter(items=["every-result"], group_id="numbers", **how)
        def some(item):
            return item

        @task.scatter(items=[1, 2], group_id="mixed", **how)
        def mixed(item):
            return {"n": item if item == 1 else "two"}

        @task.scatter(items=[1, 2], group_id="broken", **how)
        def broken(item):
            return {"n": 1 / (item - 1)}

        mixed(), broken()
        if results == "jsonl":  # as Parquet, any result is the row of a column
            some()
    run = run_dag(dag)
    found = states(run)
    names = ("numbers", "mixed", "broken") if results == "jsonl" else ("mixed", "broken")
    assert [found[f"{name}.gather"] for name in names] == ["failed"] * len(names)
    said = capfd.readouterr().out
    if results == "jsonl":
        assert "into=… stores rows, which are dicts; the function returned a value of type str" in said
        assert "every-result" not in said
    assert "do not fit the columns of one table" in said
    assert not create_io_manager("file").exists(AssetKey("wrong"))
