"""Options of a scatter, from a DAG, in this process; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

import threading
from itertools import islice

import pytest
from airflow.sdk import DAG, task

from flowstone_provider import Batching, Tolerance, config, load, source
from tests.support.dags import run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/ledger")


def pulled(run, task_id, key="return_value"):
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == task_id and ti.map_index < 0]
    return ti.xcom_pull(task_ids=task_id, key=key)


def test_templates_context_and_outputs_of_other_tasks(tmp_path):
    (tmp_path / "2026-03-04.csv").write_text("n\n1\n2\n3\n")
    with DAG("templates", schedule=None, params={"most": 2, "folder": str(tmp_path)}) as dag:

        @task
        def percent() -> float:
            return 50.0

        @task
        def factor() -> int:
            return 10

        @task.scatter(
            items=source("csv", path="{{ params.folder }}/2026-03-04.csv"),
            batching=Batching(max_items="{{ params.most }}"),
            tolerance=Tolerance(percent=percent()),
        )
        def work(item, factor, run_id, params, item_context):
            if item["n"] == "3":
                raise ValueError("three")
            assert item_context.source.endswith("2026-03-04.csv")
            return [int(item["n"]) * factor, run_id, params["most"]]

        @task
        def read(reference):
            return list(load(reference))

        read(work(factor=factor()))
    run = run_dag(dag)
    assert run.state == "success"
    assert pulled(run, "read") == [[10, run.run_id, 2], [20, run.run_id, 2]]
    assert pulled(run, "work.gather")["counts"] == {"total": 3, "succeeded": 2, "failed": 1, "pending": 0}


def test_items_from_a_list_a_mapped_task_and_another_scatter():
    with DAG("items", schedule=None) as dag:

        @task
        def part(n):
            return {"n": n}

        @task.scatter(items=part.expand(n=[1, 2, 3]), batching=Batching(max_items=2))
        def first(item):
            return {"n": item["n"] * 10}

        @task.scatter(items=first(), results="parquet")
        def second(item):
            return {"m": item["n"] + 1}

        @task
        def read(reference):
            return load(reference).to_arrow().to_pylist()

        read(second())
    run = run_dag(dag)
    assert run.state == "success"
    assert pulled(run, "read") == [{"m": 11}, {"m": 21}, {"m": 31}]


def test_no_items_succeed_with_no_batch():
    with DAG("nothing", schedule=None) as dag:

        @task
        def find():
            return []

        @task.scatter(items=find())
        def work(item):
            return item

        @task
        def read(reference):
            return [list(load(reference)), load(reference).to_arrow().num_rows]

        read(work())
    run = run_dag(dag)
    assert run.state == "success"
    assert states(run)["work.gather"] == "success"
    assert pulled(run, "read") == [[], 0]


def test_a_failed_plan_is_said_by_a_red_gather():
    with DAG("unplanned", schedule=None) as dag:

        @task.scatter(items=source("csv", path="/nowhere/at/all.csv"), retries=0)
        def work(item):
            return item

        work()
    run = run_dag(dag)
    assert run.state == "failed"
    assert states(run) == {"work.plan": "failed", "work.batch": "upstream_failed", "work.gather": "failed"}


@pytest.mark.parametrize(
    ("value", "message"),
    [(3, "must become a list"), ({"a": 1}, "must become a list"), ("nothing-such", "no item reader 'nothing-such'")],
)
def test_outputs_that_are_no_items_fail_the_plan(value, message, capfd):
    with DAG("wrong", schedule=None) as dag:

        @task
        def give():
            return value

        @task.scatter(items=give(), retries=0)
        def work(item):
            return item

        work()
    run = run_dag(dag)
    assert states(run)["work.plan"] == "failed"
    assert message in capfd.readouterr().out


def test_more_batches_than_airflow_maps_over_fail_the_plan_without_retry(monkeypatch, capfd):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "10")
    config.clear_cache()
    with DAG("many", schedule=None) as dag:

        @task.scatter(items=list(range(1000)), batching=Batching(max_items=10), retries=3)
        def explicit(item):
            return item

        @task.scatter(items=list(range(1000)))
        def fitted(item):
            return item

        explicit()
        fitted()
    run = run_dag(dag)
    found = states(run)
    assert found["explicit.plan"] == "failed"
    assert {ti.try_number for ti in run.get_task_instances() if ti.task_id == "explicit.plan"} == {1}
    assert "raise Batching(max_items=…) from 10 to at least 100" in capfd.readouterr().out
    assert sum(name.startswith("fitted.batch[") for name in found) == 10
    assert found["fitted.gather"] == "success"


def test_threads_bytes_functions_and_no_early_stop():
    def pairs(items):
        while pair := list(islice(items, 2)):
            yield pair

    with DAG("more", schedule=None) as dag:

        @task.scatter(items=["x" * 40] * 6, batching=Batching(max_bytes=200), item_concurrency=3)
        def by_bytes(item):
            return threading.current_thread().name

        @task.scatter(items=list(range(5)), batching=Batching(function=pairs), early_stop=False, retries=0)
        def by_function(item):
            raise ValueError(item)

        @task
        def read(reference):
            return list(load(reference))

        read(by_bytes())
        by_function()
    run = run_dag(dag)
    assert {name.partition("-")[0] for name in pulled(run, "read")} == {"item"}
    assert sum(name.startswith("by_bytes.batch[") for name in states(run)) == 2
    reference = pulled(run, "by_function.gather", key="scatter")
    assert reference["counts"] == {"total": 5, "succeeded": 0, "failed": 5, "pending": 0}
    assert reference["batches"] == 3


def test_a_configured_source_by_its_name(tmp_path, configure):
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2}')
    configure("readers", f'{{"documents": {{"use": "jsonl", "path": "{tmp_path}/*.jsonl"}}}}')
    with DAG("configured", schedule=None) as dag:

        @task.scatter(items="documents", results=None)
        def work(item):
            assert item["n"] > 0

        work()
    run = run_dag(dag)
    assert pulled(run, "work.gather")["counts"]["succeeded"] == 2


def test_a_scatter_in_a_branch_that_was_not_chosen_is_skipped():
    with DAG("left_out", schedule=None) as dag:

        @task.branch
        def choose():
            return "other"

        @task.scatter(items=[1, 2])
        def work(item): ...

        @task(task_id="other")
        def other(): ...

        @task
        def after(reference): ...

        done = work()
        choose() >> [done.operator.task_group, other()]
        after(done)
    run = run_dag(dag)
    assert str(run.state) == "success"
    found = states(run)
    assert {found[f"work.{name}"] for name in ("plan", "batch", "gather")} == {"skipped"}
    assert found["after"] == "skipped"
