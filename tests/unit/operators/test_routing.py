"""What routers decide, once; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task, task_group

from flowstone_provider import Choice, RouterOperator, config, fallback
from flowstone_provider.decisions import LedgerDecisions
from flowstone_provider.errors import LedgerError
from flowstone_provider.hooks.storage import storage
from flowstone_provider.operators._routing import hash_of
from tests.support.routes import run_router


@pytest.fixture(autouse=True)
def folder(tmp_path, configure):
    configure("storage", f"file://{tmp_path}/ledger")
    return tmp_path / "ledger"


def routed(function: Any, *args: Any, branches=("small", "large"), **settings: Any) -> DAG:
    """A DAG with a router made of a function."""
    with DAG("d") as dag:
        task.route(task_id="route", **settings)(function)(*args) >> [EmptyOperator(task_id=name) for name in branches]
    return dag


def decided(run_id="run", map_index=-1):
    return LedgerDecisions(storage()).find("d", run_id, "route", map_index)


def test_the_branch_that_is_returned_runs_and_the_others_are_skipped():
    decision, skipped = run_router(routed(lambda rows: "small" if rows < 10 else "large", 3), partition="eu|2026-01-01")
    assert skipped == {"large"}
    assert {**decision, "id": None, "decided_at": None} == {
        "id": None,
        "dag_id": "d",
        "run_id": "run",
        "router": "route",
        "map_index": -1,
        "partition": "eu|2026-01-01",
        "selected": "small",
        "available": ["large", "small"],
        "input_hash": hash_of({"args": [3], "kwargs": {}}),
        "decided_at": None,
        "error": None,
    }
    assert json.loads(json.dumps(decision)) == decision
    assert decided().id == decision["id"]


def test_none_skips_all_branches():
    decision, skipped = run_router(routed(lambda: None))
    assert (decision["selected"], skipped) == (None, {"small", "large"})


def test_a_group_is_a_branch_and_what_comes_after_branches_is_left_alone():
    with DAG("d") as dag:
        route = task.route(task_id="route")(lambda: "large")()
        small, report = EmptyOperator(task_id="small"), EmptyOperator(task_id="report")
        with TaskGroup("large") as large:
            EmptyOperator(task_id="first"), EmptyOperator(task_id="second")
        route >> [small, large] >> report
        route >> report
    assert run_router(dag)[1] == {"small"}
    dag.get_task("route").python_callable = lambda: "small"
    assert run_router(dag, run_id="other")[1] == {"large.first", "large.second"}


def test_choices_are_asked_in_their_order():
    asked = []

    def choose(rows, **options):
        with DAG("d") as dag:
            choices = [
                Choice("small", when=lambda rows, factor: asked.append("small") or rows * factor < 10),
                Choice("medium", when=lambda rows, ds, **_: asked.append(ds) or rows < 100),
            ]
            route = RouterOperator(task_id="route", choices=choices, op_args=[rows], op_kwargs={"factor": 2}, **options)
            route >> [EmptyOperator(task_id=name) for name in ("small", "medium", "large")]
        return run_router(dag, run_id=str((rows, options)))[0]["selected"]

    assert (choose(3), asked) == ("small", ["small"])
    assert (choose(30), asked) == ("medium", ["small", "small", "2013-01-01"])
    assert choose(300) is None
    assert choose(300, default="large") == "large"


def test_an_async_function_and_the_context_may_decide():
    async def route(ds):
        return "large" if ds == "2013-01-01" else "small"

    assert run_router(routed(route))[0]["selected"] == "large"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("lagre", "the router 'route' has no branch 'lagre'; did you mean 'large'?"),
        ("outside", "no branch 'outside': it does not come directly after the router; write route >> outside"),
        (
            ["small", "large"],
            "returned ['small', 'large'], of type list: give the name of one branch, or None for none",
        ),
        (["small"], "of type list"),
        (False, "returned False, of type bool"),
        ("", "has no branch ''; there are: large, small"),
    ],
)
def test_what_is_not_one_branch_fails_and_is_not_decided(returned, message):
    dag = routed(lambda: returned, on_error=fallback("small"))
    with dag:
        EmptyOperator(task_id="outside")
    with pytest.raises(AirflowFailException) as failed:
        run_router(dag)
    assert message in str(failed.value)
    assert decided() is None


def broken():
    raise TimeoutError("no answer")


def test_a_function_that_raises_fails_the_task_which_may_be_retried():
    with pytest.raises(TimeoutError, match="no answer"):
        run_router(routed(broken))
    assert decided() is None
    with DAG("d") as dag:
        RouterOperator(task_id="route", choices=[Choice("a", when=broken)]) >> EmptyOperator(task_id="a")
    with pytest.raises(TimeoutError):
        run_router(dag)


def test_or_chooses_the_fallback_which_then_stands(caplog):
    decision, skipped = run_router(routed(broken, on_error=fallback("small")))
    assert (decision["selected"], decision["error"], skipped) == ("small", "TimeoutError: no answer", {"large"})
    assert "TimeoutError: no answer; on_error chooses small" in caplog.text
    again, _ = run_router(routed(lambda: "large", on_error=fallback("small")))
    assert again == decision
    with DAG("other") as dag:
        choices = [Choice("a", when=broken), Choice("b", when=lambda: True)]
        route = RouterOperator(task_id="route", choices=choices, on_error=fallback("b"))
        route >> [EmptyOperator(task_id=name) for name in "ab"]
    assert run_router(dag)[0]["error"] == "TimeoutError: no answer"


def test_a_router_that_skips_itself_decides_nothing():
    def skip():
        raise AirflowSkipException

    with pytest.raises(AirflowSkipException):
        run_router(routed(skip, on_error=fallback("small")))
    assert decided() is None


# What stands


def test_the_first_decision_stands_and_the_function_is_not_asked_again(caplog):
    first = run_router(routed(lambda rows: "small", 3))
    assert run_router(routed(lambda rows: broken(), 3)) == first
    assert "the input is another one" not in caplog.text
    assert run_router(routed(lambda rows: broken(), 4)) == first
    assert "the input is another one than when small was chosen; the decision stands" in caplog.text
    assert "airflow flowstone routes forget d run route, then clear the router" in caplog.text
    assert run_router(routed(lambda rows: "large", 4), run_id="other")[0]["selected"] == "large"
    assert LedgerDecisions(storage()).forget("d", "run", "route")
    assert run_router(routed(lambda rows: "large", 4))[0]["selected"] == "large"


def test_that_there_was_no_branch_stands_too():
    run_router(routed(lambda: None))
    assert run_router(routed(lambda: "small", branches=("small", "new")))[1] == {"small", "new"}


def test_of_two_tries_at_once_the_first_decision_stands():
    def overtaken():
        assert run_router(routed(lambda: "large"))[0]["selected"] == "large"
        return "small"

    decision, skipped = run_router(routed(overtaken))
    assert (decision["selected"], skipped) == ("large", {"small"})


def test_a_decision_for_a_branch_that_was_renamed_fails_and_says_what_to_do():
    run_router(routed(lambda: "small"), run_id="manual__2026-01-01T00:00:00+00:00")
    with pytest.raises(AirflowFailException) as failed:
        run_router(routed(lambda: "little", branches=("little", "large")), run_id="manual__2026-01-01T00:00:00+00:00")
    for part in (
        "chose 'small' at 20",
        "has no such branch now, but large, little. Give the branch its name back",
        "airflow flowstone routes forget d manual__2026-01-01T00:00:00+00:00 route, then clear it",
    ):
        assert part in str(failed.value)


def test_other_branches_than_the_chosen_one_may_change():
    run_router(routed(lambda: "small"))
    assert run_router(routed(broken, branches=("small", "huge", "new")))[1] == {"huge", "new"}


def test_a_damaged_decision_is_an_error_that_names_the_file(folder):
    run_router(routed(lambda: "small"))
    (path,) = folder.rglob("*.json")
    assert path == folder / "d" / "run" / "~routes" / "route" / "-1.json"
    for text in ("{", "[]", '{"available": []}'):
        path.write_text(text)
        with pytest.raises(LedgerError, match=r"route/-1\.json is damaged .*remove the file"):
            run_router(routed(lambda: "small"))


@pytest.mark.parametrize("run_id", ["scheduled__2026-01-01T00:00:00+00:00", "a/b.c", "../..", "запуск 1", "x" * 250])
def test_strange_ids(run_id, folder):
    with DAG("d.ü-1") as dag, TaskGroup("группа"):
        route = task.route(task_id="выбор.1")(lambda: "малый.1")()
        route >> [EmptyOperator(task_id="малый.1"), EmptyOperator(task_id="большой")]
    assert run_router(dag, "группа.выбор.1", run_id=run_id)[1] == {"группа.большой"}
    assert len(list(folder.rglob("-1.json"))) == 1
    again, skipped = run_router(dag, "группа.выбор.1", run_id=run_id)
    assert (again["run_id"], skipped) == (run_id, {"группа.большой"})


def test_each_index_of_a_mapped_group_has_a_decision_of_its_own(folder):
    with DAG("d") as dag:

        @task_group
        def each(n):
            route = task.route(task_id="route")(lambda: "small")()
            route >> [EmptyOperator(task_id="small"), EmptyOperator(task_id="large")]

        each.expand(n=[1, 2])
    assert run_router(dag, "each.route", map_index=0)[1] == {"each.large"}
    dag.get_task("each.route").python_callable = lambda: "large"
    assert run_router(dag, "each.route", map_index=1)[1] == {"each.small"}
    assert run_router(dag, "each.route", map_index=0)[1] == {"each.large"}
    assert sorted(path.name for path in folder.rglob("*.json")) == ["0.json", "1.json"]


def test_the_input_is_hashed_when_it_is_json():
    assert hash_of({"a": 1, "b": [None, 1.5]}) == hash_of({"b": [None, 1.5], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    assert hash_of({"a": object()}) is None
    assert run_router(routed(lambda given: "small", {1, 2}))[0]["input_hash"] is None


def test_another_coordinator_is_chosen_by_name(configure):
    configure("routing", "leger")
    with pytest.raises(AirflowFailException, match="no routing coordinator 'leger'; did you mean 'ledger'"):
        run_router(routed(lambda: "small"))
    assert config.get("routing") == "leger"


def test_an_event_tells_of_each_decision_once(configure, caplog):
    configure("emitters", "log")
    with caplog.at_level(logging.INFO):
        run_router(routed(lambda: None))
        run_router(routed(lambda: None))
    told = [line for line in caplog.messages if line.startswith("flowstone.route.decide")]
    assert told == ["flowstone.route.decide dag_id=d run_id=run router=route map_index=-1 selected= branches=2"]
