"""The example DAGs, and a DAG for every option, on a real scheduler."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.scatter_run import Run, most_at_once

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def runs(airflow: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each DAG, started at once."""
    airflow.add_dag(DAGS / "scatter_options.py")
    dag_ids = ["options", "too_many", "bash_batches", "weather"]
    for dag_id in dag_ids:
        airflow.unpause(dag_id)
    return {dag_id: Run(airflow, dag_id, tmp_path_factory.mktemp(dag_id)) for dag_id in dag_ids}


@pytest.fixture(scope="module")
def options(runs: dict[str, Run]) -> Run:
    run = runs["options"]
    assert run.end() == "success"
    return run


# The chain lines -> price -> totals


def test_key_select_and_flatten(options):
    notes = options.notes("lines")
    assert notes == [{"fields": ["lines", "order"]}] * 12, "the thirteenth has the key of the first"
    assert options.manifest("lines")["counts"]["total"] == 12
    results = [line["result"] for line in options.lines("lines", "succeeded")]
    assert results == [{"order": n, "line": line} for n in range(12) for line in range(n % 3 + 1)]


def test_a_scatter_over_the_results_of_another(options):
    report = options.xcom("report")
    prices = [1.5 * (n + line) for n in range(12) for line in range(n % 3 + 1) if (n, line) != (4, 0)]
    assert report == {"prices": prices, "total": sum(prices), "failures": ["no price"]}
    assert options.manifest("price")["counts"] == {"total": 24, "succeeded": 23, "failed": 1, "pending": 0}
    assert all(file["name"].endswith(".parquet") for file in options.manifest("price")["files"]["succeeded"])


def test_items_are_retried_as_the_options_say(options):
    attempts: dict[tuple[int, int], list[float]] = {}
    for call in options.notes("price"):
        attempts.setdefault((call["order"], call["line"]), []).append(call["at"])
    assert {what: len(times) for what, times in attempts.items()} == {
        (n, line): 1 if line == 0 else 2 for n in range(12) for line in range(n % 3 + 1)
    }, "line 0 of order 4 fails with an error that is not worth another attempt"
    asked = [later - first for (_, line), times in attempts.items() if line == 2 for first, later in pairwise(times)]
    assert min(asked) >= 1.5, "the server's own delay is kept"
    [failure] = options.lines("price", "failed")
    assert (failure["attempts"], failure["error"]["type"]) == (1, "ValueError")


def test_calls_of_a_coroutine_function_are_in_flight_together(options):
    assert max(call["in_flight"] for call in options.notes("price")) in (2, 3)


def test_the_rate_limit_holds_over_all_batches(options):
    starts = sorted(call["at"] for call in options.notes("price"))
    assert len(starts) == 24 + 12
    in_a_second = max(sum(start <= other < start + 1 for other in starts) for start in starts)
    assert in_a_second <= 4 + 2, "late starts may come close to the next ones; without a limit there are 11"


def test_no_more_batches_run_at_once_than_allowed(options):
    batches = options.tasks("price.batch")
    assert len(batches) == 6
    assert most_at_once(batches) == 2


def test_a_function_of_whole_batches(options):
    calls = options.notes("totals")
    assert len(calls) == len(options.tasks("totals.batch")) > 1
    orders = [order for call in calls for order in call["orders"]]
    assert sorted(orders) == list(range(12)), "no order is torn apart"


def test_more_batches_than_airflow_maps_over(runs):
    run = runs["too_many"]
    assert run.end() == "failed"
    assert run.outcomes("same.plan") == [("failed", 1)], "two retries are left, and are no use"
    log = run.log("same.plan")
    assert "the plan has more than 1024 batches" in log
    assert "raise Batching(max_items=…) from 1 to at least 2" in log
    assert run.outcomes("same.gather") == [("failed", 1)]
    assert "planning failed" in run.log("same.gather")


# Examples


def test_any_operator_between_plan_and_gather(runs):
    run = runs["bash_batches"]
    assert run.end() == "success"
    batches = run.outcomes("hottest")
    assert sorted(batches) == [("failed", 1)] + [("success", 1)] * 11
    lost = batches.index(("failed", 1))
    plan = run.xcom("plan")
    reference = run.xcom("gather")
    assert reference["counts"] == {
        "total": 26_115,
        "succeeded": 26_115 - plan[lost]["items"],
        "failed": 0,
        "pending": plan[lost]["items"],
    }
    assert {line["item"]["month"] for line in run.lines("hottest", "pending")} == {"8"}
    assert len(set(run.indexes("hottest", "succeeded") + run.indexes("hottest", "pending"))) == 26_115
    assert "left out" in run.xcom("report")


def test_the_demo(runs):
    run = runs["weather"]
    assert run.end() == "success"
    reference = run.xcom("observe.gather")
    assert reference["counts"] == {"total": 26_115, "succeeded": 26_109, "failed": 6, "pending": 0}
    assert len(json.dumps(reference)) < 1_000
    assert len(run.xcom("report")) == 36, "three airports, twelve months"
    assert len(run.indexes("observe", "failed")) == 6

    instances = run.tasks()
    assert 20 <= len(instances) <= 60
    batches = run.tasks("observe.batch")
    labels = [re.fullmatch(r"#(\d+) · (\d+) ok · (\d+) failed", ti["rendered_map_index"]) for ti in batches]
    assert [int(label[1]) for label in labels] == list(range(len(batches)))
    assert sum(int(label[2]) for label in labels) == 26_109
    assert sum(int(label[3]) for label in labels) == 6
