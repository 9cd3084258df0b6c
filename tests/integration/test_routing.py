"""Routers in runs of DAGs, in this process; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

import json

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task, task_group

from flowstone_provider import Choice, RouterOperator, collect, fallback, merge
from flowstone_provider.errors import RouteError
from tests.support.dags import pulled, run_dag, states


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")


@task
def value(what):
    return what


def test_the_chosen_branch_runs_and_its_value_goes_on():
    with DAG("chosen", schedule=None) as dag:

        @task.route
        def route(rows: list):
            return "large" if len(rows) > 2 else "small"

        @task
        def rows() -> list:
            return [1, 2, 3]

        small = value.override(task_id="small")(1)
        with TaskGroup("large") as large:
            last = value.override(task_id="last")([4, 5])
            EmptyOperator(task_id="first") >> last
        decision = route(rows())
        decision >> [small, large]
        merged = merge(small, last)
        both = collect(small, large=last)
        value.override(task_id="report")([merged, both, decision])
    run = run_dag(dag)
    assert states(run) == {
        **dict.fromkeys(("rows", "route", "large.first", "large.last", "merge", "collect", "report"), "success"),
        "small": "skipped",
    }
    merged, both, decision = pulled(run, "report")
    assert (merged, both, decision["selected"]) == ([4, 5], {"small": None, "large": [4, 5]}, "large")


def test_no_branch():
    with DAG("none", schedule=None) as dag:
        small = value.override(task_id="small")(1)
        RouterOperator(task_id="route", choices=[Choice("small", when=lambda: False)]) >> small
        merge(small)
        collect(small)
    run = run_dag(dag)
    assert states(run) == {"route": "success", "small": "skipped", "merge": "skipped", "collect": "skipped"}


def test_two_that_ran_cannot_be_merged():
    with DAG("two", schedule=None) as dag:
        merge(value.override(task_id="a")(1), value.override(task_id="b")(2))
        collect(value.override(task_id="c")(None), value.override(task_id="d")(4))
    run = run_dag(dag)
    assert states(run)["merge"] == "failed"
    assert pulled(run, "collect") == {"c": None, "d": 4}


def test_a_branch_may_return_nothing_and_a_mapped_one_a_list():
    with DAG("nothing", schedule=None) as dag:
        small = value.override(task_id="small")(None)
        large = value.override(task_id="large").expand(what=[1, 2])
        task.route(task_id="route")(lambda: "large")() >> [small, large]
        merge(small, large)
        collect(small, large)
        again = value.override(task_id="again")(None)
        task.route(task_id="other")(lambda: "again")() >> again
        merge(again, task_id="merged")
    run = run_dag(dag)
    assert pulled(run, "merge") == [1, 2]
    assert pulled(run, "collect") == {"small": None, "large": [1, 2]}
    assert states(run)["merged"] == "success"
    assert pulled(run, "merged") is None


@pytest.mark.parametrize("chosen", ["small", "large"])
def test_mapped_tasks_and_groups_are_branches(chosen):
    with DAG(f"mapped_{chosen}", schedule=None) as dag:

        @task_group
        def large(what):
            value.override(task_id="first")(what) >> value.override(task_id="last")(what)

        route = task.route(task_id="route")(lambda: chosen)()
        route >> [value.override(task_id="small").expand(what=[1, 2]), large.expand(what=value([1, 2]))]
    run = run_dag(dag)
    skipped = {task_id for task_id, state in states(run).items() if state == "skipped"}
    # Nobody expands a group that is skipped.
    assert skipped == ({"large.first", "large.last"} if chosen == "small" else {"small[0]", "small[1]"})


def test_each_index_of_a_mapped_group_goes_its_own_way():
    with DAG("each", schedule=None) as dag:

        @task.route(on_error=fallback("small"))
        def route(n):
            return {0: None, 1: "small", 2: "large"}[n]

        @task_group
        def each(n):
            small, large = value.override(task_id="small")(n), value.override(task_id="large")(n)
            route(n) >> [small, large]
            return merge(small, large)

        value.override(task_id="report")(each.expand(n=value([0, 1, 2, 3])))
    run = run_dag(dag)
    table = {
        name: [states(run)[f"each.{name}[{n}]"] for n in range(4)] for name in ("route", "small", "large", "merge")
    }
    assert table == {
        "route": ["success"] * 4,
        "small": ["skipped", "success", "skipped", "success"],
        "large": ["skipped", "skipped", "success", "skipped"],
        "merge": ["skipped", "success", "success", "success"],
    }
    assert [pulled(run, "each.merge", n) for n in range(4)] == [None, 1, 2, 3]
    assert pulled(run, "each.route", 3)["error"] == "KeyError: 3"


def test_wrong_names_are_import_errors_of_the_file(tmp_path):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag
    (tmp_path / "wrong.py").write_text(
        "from typing import Literal\n"
        "from airflow.sdk import DAG, task\n"
        "with DAG('wrong'):\n"
        "    @task.route\n"
        "    def route() -> Literal['smal']: ...\n"
        "    @task\n"
        "    def small(): ...\n"
        "    route() >> small()\n"
    )
    bag = DagBag(str(tmp_path))
    assert not bag.dags
    (error,) = bag.import_errors.values()
    assert "RouteError: the router 'route' has no branch 'smal'; did you mean 'small'?" in error


def test_a_file_parsed_twice_serialises_to_the_same_bytes():
    from airflow.serialization import serialized_objects

    serializer = (
        getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    )  # Airflow 3.1

    def parsed():
        with DAG("d", schedule=None) as dag:
            choices = [Choice("small", when=lambda n: n), Choice("large", when=lambda n: not n)]
            route = RouterOperator(task_id="route", choices=choices, on_error=fallback("small"), op_args=[1])
            branches = [value.override(task_id="small").expand(what=[1]), value.override(task_id="large")(2)]
            route >> branches
            task.route(task_id="other")(lambda: None)() >> merge(*branches)
        dag.resolve_template_files()
        return json.dumps(serializer.to_dict(dag), sort_keys=True, default=str)

    text = parsed()
    assert text == parsed()
    assert "0x" not in text
    with DAG("d") as wrong:
        RouterOperator(task_id="route", choices=[Choice("a", when=bool)])
    with pytest.raises(RouteError):
        wrong.resolve_template_files()
