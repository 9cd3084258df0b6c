"""What is said of a parallel group when its DAG is parsed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, TaskGroup, setup, task, task_group, teardown

from flowstone_provider import ParallelTaskGroup, config
from flowstone_provider.errors import NestingError, OptionsError


@pytest.fixture(autouse=True)
def dag():
    with DAG("d.é", schedule=None) as dag:
        yield dag


@task
def one(n=1):
    return n


def parallel(*names, timeout=None, **options):
    """A group of branches of one task each."""
    with ParallelTaskGroup("g", **options) as group:
        for name in names:
            with group.branch(name, timeout=timeout):
                one()
    return group


def branches(dag, task_id="g.join"):
    return {branch.name: branch for branch in dag.get_task(task_id).branches}


def test_a_group_becomes_its_branches_and_a_join(dag):
    group = parallel("a", "b")
    after = one.override(task_id="after")(group.output)
    assert set(dag.task_ids) == {"g.a.one", "g.b.one", "g.join", "after"}
    join = dag.get_task("g.join")
    assert (join.upstream_task_ids, join.trigger_rule.value) == ({"g.a.one", "g.b.one"}, "all_done")
    assert join.downstream_task_ids == {after.operator.task_id}
    assert [leaf.task_id for leaf in group.leaves] == ["g.join"]
    assert {root.task_id for root in group.roots} == {"g.a.one", "g.b.one"}


def test_a_timeout_lets_the_join_begin_with_the_group(dag):
    before = one.override(task_id="before")()
    group = parallel("a", "b", timeout=timedelta(minutes=2))
    before >> group
    join, start = dag.get_task("g.join"), dag.get_task("g.start")
    assert join.upstream_task_ids == {"g.a.one", "g.b.one", "g.start"}
    assert (join.trigger_rule.value, start.trigger_rule.value) == ("one_done", "all_done")
    assert start.inherits_from_empty_operator, "it needs no worker"
    assert before.operator.downstream_task_ids == {"g.a.one", "g.b.one", "g.start"}
    assert branches(dag)["a"].timeout == 120.0


def test_leaves_of_a_branch(dag):
    with ParallelTaskGroup("g", prefix_group_id=True) as group:
        with group.branch("chain"):
            [one(), one()] >> one.override(task_id="last")()
        with group.branch("two"), TaskGroup("inner"):
            one()
            one.override(task_id="dotted.ü")()
        with group.branch("mapped"):
            one.expand(n=[1, 2])
        with group.branch("group"):

            @task_group
            def each(n):
                one(n)

            each.expand(n=[1, 2])
        with group.branch("torn_down"):
            opened = setup(one.override(task_id="open"))()
            opened >> one() >> teardown(one.override(task_id="close"))().as_teardown(setups=opened)
    found = branches(dag)
    assert found["chain"].leaves == ("g.chain.last",)
    assert found["chain"].tasks == ("g.chain.one", "g.chain.one__1", "g.chain.last")
    assert found["two"].leaves == ("g.two.inner.one", "g.two.inner.dotted.ü")
    assert found["mapped"].mapped == found["mapped"].leaves == ("g.mapped.one",)
    assert found["group"].mapped == found["group"].leaves == ("g.group.each.one",)
    assert found["torn_down"].leaves == ("g.torn_down.one",)


def test_a_join_by_function_takes_the_arguments_of_a_task(dag):
    with ParallelTaskGroup("g", default_args={"retries": 5}) as group:

        @group.join(retries=3, task_id="together", pool="p")
        def combine(outcomes):
            """Adds up."""

        with group.branch("a"):
            one()
    join = dag.get_task("g.together")
    assert (join.retries, join.pool, join.doc_md, join.python_callable) == (3, "p", "Adds up.", combine)
    assert dag.get_task("g.a.one").retries == 5


def test_groups_nest(dag):
    with ParallelTaskGroup("outer") as outer, outer.branch("b"), ParallelTaskGroup("inner") as inner, inner.branch("a"):
        one()
    assert branches(dag, "outer.join")["b"].leaves == ("outer.b.inner.join",)
    assert branches(dag, "outer.b.inner.join")["a"].leaves == ("outer.b.inner.a.one",)


def test_an_empty_group():
    with pytest.raises(OptionsError, match=r"parallel group 'g' has no branch: write `with g.branch\("):
        parallel()


def test_an_empty_branch():
    def empty():
        with ParallelTaskGroup("g") as group:
            with group.branch("a"):
                one()
            with group.branch("b"), TaskGroup("nothing"):
                pass

    with pytest.raises(OptionsError, match="branch 'b' of parallel group 'g' has no task"):
        empty()


def test_two_branches_of_one_name():
    with pytest.raises(OptionsError, match="parallel group 'g' has two branches 'a'"):
        parallel("a", "a")


@pytest.mark.parametrize("name", ["a.b", "a b", "", "é/ü"])
def test_a_name_that_airflow_does_not_take(name):
    with pytest.raises(ValueError, match="alphanumeric|at least one"):
        parallel(name)


def test_unicode_is_a_name(dag):
    parallel("préçis", "天気")
    assert set(branches(dag)) == {"préçis", "天気"}


def test_the_name_of_the_task_that_starts_the_group():
    with pytest.raises(OptionsError, match="branch 'start' of parallel group 'g' needs another name"):
        parallel("start")


def test_a_task_in_no_branch():
    def stray():
        with ParallelTaskGroup("g") as group:
            with group.branch("a"):
                one()
            one()

    with pytest.raises(OptionsError, match="g.one in parallel group 'g' belongs to no branch"):
        stray()


def test_two_joins():
    def this(outcomes): ...

    def that(outcomes): ...

    with ParallelTaskGroup("g") as group:
        group.join(this)
        with pytest.raises(OptionsError, match=r"has two joins, this\(\) and that\(\)"):
            group.join(that)
        with group.branch("a"):
            one()


@pytest.mark.parametrize(
    "timeout", [0, -1, timedelta(0), timedelta(seconds=-1), float("nan"), float("inf"), "10 minutes", True]
)
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(OptionsError, match=r"branch 'a' of parallel group 'g': timeout=.* must be more than zero"):
        parallel("a", timeout=timeout)


def test_a_timeout_in_a_mapped_task_group():
    @task_group
    def each(n):
        parallel("a", timeout=60)

    with pytest.raises(
        NestingError, match=r"branch 'a' of .* within the mapped task group 'each': .* execution_timeout"
    ):
        each.expand(n=[1, 2])


def test_an_unknown_failure_mode():
    with pytest.raises(OptionsError, match=r"there is no failure_mode 'partal'; did you mean 'partial'\?"):
        parallel("a", failure_mode="partal")


def test_an_optional_branch_where_all_must_succeed():
    group = ParallelTaskGroup("g")
    with pytest.raises(OptionsError, match="branch 'a' .* is required=False, .* write failure_mode=\"partial\""):
        group.branch("a", required=False)


def test_what_comes_after_the_block():
    def combine(outcomes): ...

    group = parallel("a")
    with pytest.raises(OptionsError, match="branch 'b' of parallel group 'g' comes too late"):
        group.branch("b")
    with pytest.raises(OptionsError, match=r"the join combine\(\) of parallel group 'g' comes too late"):
        group.join(combine)


def test_an_output_before_the_end_of_the_block():
    group = ParallelTaskGroup("g")
    with pytest.raises(OptionsError, match="has an output only after its `with` block"):
        _ = group.output


def test_an_error_within_the_block_is_the_one_that_is_seen():
    with pytest.raises(ZeroDivisionError), ParallelTaskGroup("g"):
        raise ZeroDivisionError


@task.short_circuit
def stop(n=0):
    return False


def short_circuited(make):
    with ParallelTaskGroup("g") as group, group.branch("a"):
        make() >> one()


@pytest.mark.parametrize("make", [stop, lambda: stop.expand(n=[1, 2])], ids=["one", "mapped"])
def test_a_short_circuit_that_would_skip_the_join(make):
    with pytest.raises(OptionsError, match=r"g.a.stop in branch 'a' .* give it ignore_downstream_trigger_rules=False"):
        short_circuited(make)


def test_a_short_circuit_that_skips_its_branch_alone(dag):
    short_circuited(stop.override(ignore_downstream_trigger_rules=False))
    assert branches(dag)["a"].leaves == ("g.a.one",)


def test_the_coordinator_is_chosen_by_configuration():
    assert config.get("parallel") == "airflow"
