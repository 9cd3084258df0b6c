"""What `@task.scatter` and the operators check and make when a DAG is parsed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, Param, TaskGroup, task, task_group

from flowstone_provider import (
    Batching,
    ItemRetry,
    ScatterBatchOperator,
    ScatterGatherOperator,
    ScatterOptions,
    ScatterPlanOperator,
    Tolerance,
    source,
)
from flowstone_provider.errors import NestingError, OptionsError, UnknownNameError


def one(item):
    return item


def test_a_scatter_is_a_group_of_plan_batch_and_gather_with_the_gather_as_only_leaf():
    with DAG("d") as dag:

        @task.scatter(items=[1, 2], max_active_batches=3, retries=5, pool="small")
        def work(item, factor):
            """Multiply."""

        @task
        def after(result): ...

        after(work(factor=2))
    assert set(dag.task_ids) == {"work.plan", "work.batch", "work.gather", "after"}
    assert [leaf.task_id for leaf in dag.task_group.children["work"].get_leaves()] == ["work.gather"]
    plan, batch, gather = (dag.get_task(f"work.{name}") for name in ("plan", "batch", "gather"))
    assert gather.upstream_task_ids == {"work.plan", "work.batch"}
    assert gather.trigger_rule == "all_done"
    assert batch.max_active_tis_per_dagrun == 3
    assert {each.retries for each in (plan, batch, gather)} == {5}
    assert {each.pool for each in (plan, batch, gather)} == {"small"}
    assert dag.get_task("after").upstream_task_ids == {"work.gather"}
    assert plan.scatter_id == gather.scatter_id == batch.partial_kwargs["scatter_id"] == "work"


def test_a_dying_worker_is_provided_for_unless_the_dag_says_otherwise():
    with DAG("d") as dag:
        task.scatter(items=[1])(one)()
    assert dag.get_task("one.batch").retries == 2
    assert dag.get_task("one.batch").retry_delay == timedelta(seconds=15)
    with DAG("d", default_args={"retries": 7}) as dag:
        task.scatter(items=[1])(one)()
    assert dag.get_task("one.batch").retries == 7


def test_override_changes_options_and_two_calls_make_two_scatters():
    with DAG("d") as dag:
        scatter = task.scatter(items=[1], tolerance=Tolerance(count=1), item_concurrency=2)(one)
        scatter()
        scatter.override(group_id="other", tolerance=Tolerance(count=9))()
        scatter()
    assert {tid.partition(".")[0] for tid in dag.task_ids} == {"one", "other", "one__1"}
    assert dag.get_task("one.plan").options["tolerance"] == {"count": 1}
    assert dag.get_task("other.plan").options == {"item_concurrency": 2, "tolerance": {"count": 9}}


def test_batch_input_and_templates_are_dependencies():
    with DAG("d", params={"n": Param(3)}) as dag:

        @task
        def limits(): ...

        @task
        def rates(): ...

        @task
        def found(): ...

        task.scatter(
            items=found(), batching=Batching(max_items="{{ params.n }}"), tolerance=Tolerance(percent=limits())
        )(lambda item, rates: None).override(group_id="g")(rates=rates())
    assert dag.get_task("g.plan").upstream_task_ids == {"found", "limits"}
    assert dag.get_task("g.batch").upstream_task_ids == {"g.plan", "rates", "limits"}
    assert dag.get_task("g.gather").upstream_task_ids == {"g.plan", "g.batch", "limits"}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, OptionsError, "needs items="),
        ({"items": [1], "toleranz": 1}, OptionsError, "no option 'toleranz'; did you mean 'tolerance'"),
        ({"items": [1], "tolerance": {"precent": 1}}, OptionsError, "did you mean 'percent'"),
        ({"items": [1], "item_concurrency": "many"}, OptionsError, "item_concurrency='many'"),
        ({"items": [1], "max_active_batches": "{{ 3 }}"}, OptionsError, "max_active_batches must be a number"),
        ({"items": 3}, OptionsError, "items must be a source"),
        ({"items": "documents"}, UnknownNameError, "no item reader 'documents'"),
        ({"items": "jsnl"}, UnknownNameError, "did you mean 'jsonl'"),
        ({"items": "csv"}, OptionsError, "needs the option 'path'"),
    ],
)
def test_a_wrong_setting_fails_when_the_dag_is_parsed(settings, error, message):
    with pytest.raises(error) as caught:
        task.scatter(**settings)(one)
    assert message in str(caught.value)


def test_a_wrong_source_fails_where_it_is_written():
    with pytest.raises(OptionsError, match="has no option 'delimeter'; did you mean 'delimiter'"):
        source("csv", path="x.csv", delimeter=";")
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        source("parket", path="x")


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (lambda: None, {}, "needs a first parameter"),
        (lambda item, rates: None, {}, "needs 'rates': give it as batch input"),
        (lambda item, rates: None, {"rate": 1}, "takes no batch input 'rate'; did you mean 'rates'"),
        (lambda item, item_context: None, {"item_context": 1}, "item_context is given by the runner"),
    ],
)
def test_a_function_that_does_not_fit_its_input_fails_when_the_dag_is_parsed(function, given, message):
    with DAG("d"), pytest.raises(OptionsError, match=message):
        task.scatter(items=[1], group_id="g")(function)(**given)


def test_context_variables_item_context_and_defaults_need_no_input():
    with DAG("d"):
        task.scatter(items=[1], group_id="g")(lambda item, ds, ti, item_context, n=3, **rest: None)(extra=1)


@pytest.mark.parametrize("method", ["expand", "expand_kwargs", "partial"])
def test_mapping_a_scatter_is_refused_with_the_alternative(method):
    scatter = task.scatter(items=[1])(one)
    with pytest.raises(NestingError, match="one is a scatter and cannot be mapped.*batch input"):
        getattr(scatter, method)(item=[1])


def test_a_scatter_inside_a_mapped_group_is_refused_with_the_alternative():
    def make_group():
        @task_group
        def outer(name):
            with TaskGroup("inner"):
                task.scatter(items=[1])(one)()

        outer.expand(name=["a", "b"])

    with DAG("d"), pytest.raises(NestingError, match=r"inside the mapped task group 'outer'.*group_by"):
        make_group()


def test_operators_outside_a_group_need_a_scatter_id():
    with DAG("d"), pytest.raises(OptionsError, match="give scatter_id="):
        ScatterPlanOperator(task_id="plan", items=[1])
    with DAG("d"), TaskGroup("g"):
        assert ScatterGatherOperator(task_id="gather").scatter_id == "g"


def test_the_three_operators_by_hand():
    options = ScatterOptions(retry=ItemRetry(attempts=2), results="parquet")
    with DAG("d") as dag:
        plan = ScatterPlanOperator(task_id="plan", scatter_id="s", items=[1], options=options)
        batch = ScatterBatchOperator.partial(
            task_id="batch", scatter_id="s", python_callable=one, options=options.dump()
        ).expand(batch=plan.output)
        batch >> ScatterGatherOperator(task_id="gather", scatter_id="s", options=options)
    assert dag.get_task("gather").options == {"results": "parquet", "retry": {"attempts": 2}}
    with DAG("d"), pytest.raises(OptionsError, match="no option 'retires'; did you mean 'retry'"):
        ScatterPlanOperator(task_id="plan", scatter_id="s", items=[1], options={"retires": 1})
