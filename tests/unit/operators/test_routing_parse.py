"""What routers, `merge` and `collect` check and make when a DAG is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Optional

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task, task_group

from flowstone_provider import Choice, RouterOperator, collect, fallback, merge
from flowstone_provider.errors import NestingError, OptionsError, RouteError
from flowstone_provider.operators._branches import branches_of

if TYPE_CHECKING:
    from nowhere import Unknown


def empty(*names):
    return [EmptyOperator(task_id=name) for name in names]


def routed(names, make=lambda: empty("small", "large"), **options):
    """A DAG with a router that chooses among names, and what is made after it."""
    with DAG("d") as dag:
        choices = [Choice(name, when=lambda: True) for name in names]
        RouterOperator(task_id="route", choices=choices, **options) >> make()
    return dag


def names_of(dag, router="route"):
    return {name: sorted(ids) for name, ids in branches_of(dag.get_task(router)).tasks.items()}


def test_branches_are_the_tasks_and_groups_directly_after_the_router():
    with DAG("d") as dag, TaskGroup("outer"):
        route = EmptyOperator(task_id="route")
        small, later = empty("small", "later")
        with TaskGroup("large") as large:
            first, _, third = empty("first", "second", "third")
            first >> third
            with TaskGroup("inner"):
                EmptyOperator(task_id="deep")
        with TaskGroup("nothing") as nothing:
            pass
        route >> [small, large, nothing]
        route >> third
        small >> later
    assert names_of(dag, "outer.route") == {
        "small": ["outer.small"],
        "large": ["outer.large.first", "outer.large.inner.deep", "outer.large.second", "outer.large.third"],
        "nothing": [],
    }


def test_what_also_comes_after_a_branch_is_none():
    with DAG("d") as dag:
        route = EmptyOperator(task_id="route")
        small, large, report = empty("small", "large", "report")
        route >> [small, large] >> report
        route >> report
    assert names_of(dag) == {"small": ["small"], "large": ["large"]}
    assert branches_of(dag.get_task("route")).others == {"report"}


def test_right_names_pass():
    routed(["small", "large"]).resolve_template_files()
    routed(["small"], default="large").resolve_template_files()
    routed(["small"], on_error=fallback("large")).resolve_template_files()


def large_without_edge():
    EmptyOperator(task_id="large")
    return empty("small")


def after_small():
    small, large = empty("small", "large")
    small >> large
    return [small, large]


@pytest.mark.parametrize(
    ("dag", "message"),
    [
        (lambda: routed(["small", "lagre"]), "'route' has no branch 'lagre'; did you mean 'large'?"),
        (lambda: routed(["small"], default="x"), "'route' has no branch 'x'; there are: large, small"),
        (lambda: routed(["small", "large"], on_error=fallback("smal")), "no branch 'smal'; did you mean 'small'?"),
        (lambda: routed(["small"]), "never chooses its branch 'large'; it chooses among 'small': name the branch"),
        (lambda: routed(["small"], list), "'route' has no branch: write route >> [one, other]"),
        (
            lambda: routed(["small", "large"], large_without_edge),
            "no branch 'large': it does not come directly after the router; write route >> large",
        ),
        (
            lambda: routed(["small", "large"], after_small),
            "no branch 'large': it comes after the branch 'small' as well; for no branch give None",
        ),
    ],
)
def test_names_and_edges_are_compared(dag, message):
    with pytest.raises(RouteError, match=message.replace("?", r"\?").replace("[", r"\[")):
        dag().resolve_template_files()


def test_a_full_id_in_a_group_is_corrected():
    with DAG("d") as dag, TaskGroup("g"):
        RouterOperator(task_id="route", choices=[Choice("g.small", when=lambda: True)]) >> empty("small")
    with pytest.raises(RouteError, match=r"'g.small': in a task group, branches are named without it; did you mean 's"):
        dag.resolve_template_files()


def test_two_branches_of_one_name_are_refused():
    with DAG("d") as dag:
        outside = EmptyOperator(task_id="small")
        with TaskGroup("g"):
            EmptyOperator(task_id="route") >> [EmptyOperator(task_id="small"), outside]
    with pytest.raises(RouteError, match=r"two branches of the router 'g\.route' have the name 'small'"):
        branches_of(dag.get_task("g.route"))


def test_a_group_must_be_whole_when_its_edge_is_made():
    with DAG("d") as dag:
        route = EmptyOperator(task_id="route")
        with TaskGroup("large") as large:
            EmptyOperator(task_id="first")
            route >> large
            EmptyOperator(task_id="second")
    with pytest.raises(
        RouteError, match=r"not come before 'large\.second' of its branch 'large': write route >> large a"
    ):
        branches_of(dag.get_task("route"))


Size = Literal["small", "large"]


def plain() -> Literal["small", "large"]: ...
def optional() -> Literal["small", "large"] | None: ...
def old() -> Optional[Size]: ...  # noqa: UP045
def union() -> Literal["small"] | Literal["large", None]: ...  # noqa: PYI030, RUF100
def other() -> Literal["small", "medium"]: ...
def one() -> Literal["small"]: ...
def none() -> None: ...
def text() -> str: ...
def unknown() -> Unknown: ...
def bare(): ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        *((function, None) for function in (plain, optional, old, union, text, unknown, bare)),
        (other, "no branch 'medium'"),
        (one, "never chooses its branch 'large'"),
        (none, "it chooses among nothing"),
    ],
)
def test_a_literal_annotation_names_the_branches(function, message):
    with DAG("d") as dag:
        task.route(task_id="route")(function)() >> empty("small", "large")
    if message is None:
        dag.resolve_template_files()
    else:
        with pytest.raises(RouteError, match=message):
            dag.resolve_template_files()


def test_the_decorator_makes_one_task():
    with DAG("d") as dag:

        @task.route(on_error=fallback("large"), retries=3)
        def route(rows) -> Size:
            """By rows."""

        @task.route
        def again(): ...

        route(3) >> empty("small", "large")
        again.override(task_id="other")()
    made = dag.get_task("route")
    assert (made.retries, made.doc_md, made.multiple_outputs, made.on_error) == (
        3,
        "By rows.",
        False,
        fallback("large"),
    )
    assert made.downstream_task_ids == {"small", "large"}
    assert made.inherits_from_skipmixin
    assert dag.has_task("other")


def test_misspelt_and_unfit_options_are_refused():
    with pytest.raises(OptionsError, match="@task.route has no option 'onerror'; did you mean 'on_error'"):
        task.route(onerror="fail")(bare)
    with pytest.raises(OptionsError, match='on_error must be "fail" or fallback'):
        task.route(on_error="skip")(bare)
    with pytest.raises(OptionsError, match="choices must be"):
        RouterOperator(task_id="route", choices=[])
    with pytest.raises(OptionsError, match="choices must be"):
        RouterOperator(task_id="route", choices=["small"])
    with pytest.raises(OptionsError, match=r"Choice\('small'\) needs a function"):
        Choice("small", when="{{ ds }}")

    async def slow(): ...

    with pytest.raises(OptionsError, match="none that is async"):
        Choice("small", when=slow)


def test_a_router_is_not_mapped_by_itself():
    with pytest.raises(NestingError, match="bare is a router and cannot be mapped by itself.*into a task group"):
        task.route(bare).expand(rows=[1])
    with pytest.raises(NestingError, match="RouterOperator is a router"):
        RouterOperator.partial(task_id="route", choices=[Choice("small", when=bare)])


def test_in_a_mapped_group_branches_are_in_the_group():
    def mapped(make):
        with DAG("d") as dag:
            outside = EmptyOperator(task_id="outside")

            @task_group
            def each(n):
                route = task.route(task_id="route")(lambda n: None)(n)
                route >> make(outside)

            each.expand(n=[1, 2]) >> EmptyOperator(task_id="report")
        return dag

    mapped(lambda outside: empty("small", "large")).resolve_template_files()
    with pytest.raises(
        NestingError, match="branch 'outside' of the router 'each.route' is outside of the mapped task gr"
    ):
        mapped(lambda outside: [*empty("small"), outside]).resolve_template_files()


def test_merge_and_collect_are_tasks_after_the_branches():
    with DAG("d") as dag:
        with TaskGroup("g"):
            small = task(lambda: 1, task_id="small")()
            deep = EmptyOperator(task_id="large")
        merged = merge(small, deep)
        collect(small, deep, task_id="both")
        collect(small, other=deep)
    assert merged.operator.upstream_task_ids == {"g.small", "g.large"}
    assert merged.operator.trigger_rule == "none_failed"
    assert [list(dag.get_task(name).branches) for name in ("both", "collect")] == [
        ["small", "large"],
        ["small", "other"],
    ]


def test_merge_and_collect_refuse_what_is_no_branch():
    with DAG("d"):
        small, large = empty("small", "large")
        with TaskGroup("g") as group:
            again = EmptyOperator(task_id="small")
        with pytest.raises(OptionsError, match="is no task: give the last task of each branch"):
            merge(small, group)
        with pytest.raises(OptionsError, match="is no task"):
            collect(small=1)
        with pytest.raises(OptionsError, match="two branches are named 'small'"):
            merge(small, small.output)
        with pytest.raises(
            OptionsError, match=r"two branches are named 'small': give each once, or .*collect\(name=…\)"
        ):
            collect(small, again)
        with pytest.raises(OptionsError, match="two branches are named 'small'"):
            collect(small, small=large)
        with pytest.raises(OptionsError, match="the output of 2 tasks"):
            merge(small.output.zip(large.output), large)
