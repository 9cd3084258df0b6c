"""What `@task.materialize`, the operators and `into=` check and make when a DAG is parsed."""

from __future__ import annotations

import json
from datetime import date, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Asset, task

from flowstone_provider import (
    AssetExistsSensor,
    CopyAssetOperator,
    DeleteAssetOperator,
    Into,
    MaterializeOperator,
    ScatterGatherOperator,
    airflow_asset,
)
from flowstone_provider.errors import AssetError, OptionsError, PartitionError, UnknownNameError
from flowstone_provider.hooks.annotations import type_name
from flowstone_provider.operators._asset import asset_key
from flowstone_provider.operators.asset import _signature
from flowstone_provider.operators.into import store_results

OUTLET = Asset("flowstone://file/numbers/all")


def number():
    return 1


def test_a_materialized_function_is_one_task_with_the_asset_as_outlet():
    with DAG("d") as dag:

        @task.materialize(asset="numbers/all", partition="{{ ds }}", retries=3, outlets=[Asset("mine")])
        def make(rows) -> dict:
            """Numbers."""

        @task.materialize(asset="numbers/total")
        def total(table): ...

        total(make(3))
    made = dag.get_task("make")
    assert made.outlets == [Asset("mine"), OUTLET]
    assert (made.asset, made.partition, made.io_manager, made.if_exists) == (
        "numbers/all",
        "{{ ds }}",
        "file",
        "replace",
    )
    assert (made.retries, made.doc_md, made.multiple_outputs) == (3, "Numbers.", False)
    assert dag.get_task("total").upstream_task_ids == {"make"}


def test_mapping_and_override_keep_outlet_and_asset_together():
    with DAG("d") as dag:
        make = task.materialize(asset="numbers/all", partition="{{ task.op_kwargs.month }}")(lambda month, rows: None)
        make.override(task_id="mapped").partial(rows=1).expand(month=["a", "b"])
        make.override(task_id="pairs").expand_kwargs([{"month": "a", "rows": 1}])
        make.override(task_id="other", asset="numbers/other", io_manager="memory")("a", 1)
        make.override(task_id="other_mapped", asset="numbers/other").partial(rows=1).expand(month=["a"])
        make.override(task_id="templated", asset="numbers/{{ params.x }}")("a", 1)
    assert dag.get_task("mapped").outlets == dag.get_task("pairs").outlets == [OUTLET]
    assert dag.get_task("other").outlets == [Asset("flowstone://memory/numbers/other")]
    assert dag.get_task("other_mapped").outlets == [airflow_asset("numbers/other")]
    assert dag.get_task("templated").outlets == [], "Airflow asks for the name before there is one"
    assert dag.get_task("mapped").partial_kwargs["op_kwargs"] == {"rows": 1}


def test_defaults_of_the_dag_hold_also_for_mapped_tasks():
    with DAG("d", default_args={"io_manager": "memory", "retries": 4}) as dag:
        make = task.materialize(asset="numbers/all")(lambda month: None)
        make.override(task_id="one")("a")
        make.override(task_id="mapped").expand(month=["a"])
        make.override(task_id="other", io_manager="file")("a")
    outlet = airflow_asset("numbers/all", io_manager="memory")
    assert dag.get_task("one").outlets == dag.get_task("mapped").outlets == [outlet]
    assert dag.get_task("one").io_manager == dag.get_task("mapped").partial_kwargs["io_manager"] == "memory"
    assert dag.get_task("mapped").retries == 4
    assert dag.get_task("other").outlets == [OUTLET]
    with DAG("d", default_args={"io_manager": "memroy"}), pytest.raises(UnknownNameError, match="'memory'"):
        make.expand(month=["a"])


def test_the_operator_by_hand_has_its_outlet():
    with DAG("d"):
        made = MaterializeOperator(task_id="make", python_callable=number, asset="numbers/all", outlets=[Asset("mine")])
    assert made.outlets == [Asset("mine"), OUTLET]


@pytest.mark.parametrize(
    ("given", "of_run", "expected"),
    [
        (None, None, None),
        (None, "2026-01-15", date(2026, 1, 15)),
        (None, "eu~20west|2026-01-15", ("eu west", date(2026, 1, 15))),
        ("us", "eu", "us"),
        (["eu", "2026-01-15"], "eu", ("eu", date(2026, 1, 15))),
    ],
)
def test_the_partition_is_what_is_given_or_else_that_of_the_run(given, of_run, expected):
    assert asset_key("a", given, {"dag_run": SimpleNamespace(partition_key=of_run)}).partition == expected
    assert asset_key("a", given, {}).partition == (None if given is None else expected)


def test_a_partition_that_is_none_is_said():
    of_run = {"dag_run": SimpleNamespace(partition_key="eu")}
    for nothing in ("", None, "None", ("eu", "None"), ["eu", None], ("", "us")):
        with pytest.raises(PartitionError, match=r"of a is .*: its template, or the task .* as {{ ds }} does"):
            asset_key("a", nothing, of_run, given=True)
    with pytest.raises(PartitionError, match="the partition of a is None"):
        store_results({"asset": "a", "partition": None}, {}, {})
    with pytest.raises(PartitionError, match=r"key 'eu west' .* give partition=\"{{ dag_run.partition_key }}\""):
        asset_key("a", None, {"dag_run": SimpleNamespace(partition_key="eu west")})


def test_a_partition_that_another_task_returns_is_a_dependency():
    with DAG("d") as dag:

        @task
        def month(): ...

        task.materialize(asset="a", partition=month())(number)()
        DeleteAssetOperator(task_id="delete", asset="a", partition=("eu", month()))
    assert dag.get_task("number").upstream_task_ids == {"month"}
    assert dag.get_task("delete").upstream_task_ids == {"month__1"}


WRONG = [
    ({}, OptionsError, r"needs asset="),
    ({"aset": "a"}, OptionsError, "no option 'aset'; did you mean 'asset'"),
    ({"asset": "a", "partitoin": "x"}, OptionsError, "did you mean 'partition'"),
    ({"asset": "a", "io_manager": "fiel"}, UnknownNameError, "no IO manager 'fiel'; did you mean 'file'"),
    ({"asset": "a", "io_manager": "{{ params.x }}"}, OptionsError, r"\[flowstone\] io_managers"),
    ({"asset": "a", "if_exists": "append"}, OptionsError, "one of 'replace', 'skip', 'error', not 'append'"),
    ({"asset": "a//b"}, AssetError, "'a//b' is no name of an asset"),
    ({"asset": "a", "partition": 7}, PartitionError, "7 is of type int"),
    ({"asset": "a", "partition": datetime(2026, 1, 1)}, PartitionError, "without time zone"),
    ({"asset": "a", "partition": ("eu", 7)}, PartitionError, "is of type int"),
]


@pytest.mark.parametrize(("settings", "error", "message"), WRONG)
def test_a_wrong_setting_fails_when_the_dag_is_parsed(settings, error, message):
    with pytest.raises(error, match=message):
        task.materialize(**settings)(number)
    with pytest.raises(error, match=message):
        task.materialize(asset="a")(number).override(**settings) if settings else task.materialize()(number)


@pytest.mark.parametrize(("settings", "error", "message"), WRONG[3:5] + WRONG[6:])
def test_so_does_one_of_an_operator_and_of_into(settings, error, message):
    with DAG("d"):
        for operator in (AssetExistsSensor, DeleteAssetOperator):
            with pytest.raises(error, match=message):
                operator(task_id=operator.__name__, **settings)
        with pytest.raises(error, match=message):
            CopyAssetOperator(task_id="copy", to_io_manager="memory", **settings)
        with pytest.raises(error, match=message):
            task.scatter(items=[1], into=settings)(lambda item: item)


class DataFrame:
    """As if it were imported from polars."""

    __module__ = "polars.dataframe.frame"


def test_annotations_are_what_they_name_also_when_they_are_postponed():
    def takes(table: DataFrame, other: list[DataFrame]): ...

    def knows_less(table: DataFrame, other: OnlyForTypeCheckers): ...  # noqa: F821

    assert type_name(_signature(takes).parameters["table"].annotation) == "polars.DataFrame"
    assert _signature(takes).parameters["other"].annotation == list[DataFrame]
    assert type_name(_signature(knows_less).parameters["table"].annotation) == "pandas.DataFrame"


def test_an_alias_with_options_that_do_not_fit_fails_when_the_dag_is_parsed(configure):
    configure("io_managers", json.dumps({"lake": {"use": "file", "pth": "x"}}))
    with pytest.raises(OptionsError, match="no option 'pth'; did you mean 'path'"):
        task.materialize(asset="a", io_manager="lake")(number)


def test_a_copy_onto_itself_is_refused():
    with DAG("d"):
        with pytest.raises(OptionsError, match="would replace what it is made from"):
            CopyAssetOperator(task_id="t", asset="a", to_io_manager="file")
        copy = CopyAssetOperator(task_id="copy", asset="a", to_io_manager="file", to_asset="b", outlets=[Asset("mine")])
    assert copy.outlets == [Asset("mine"), airflow_asset("b")]


def test_into_is_on_the_gather_alone_and_so_is_its_outlet():
    with DAG("d") as dag:

        @task
        def month(): ...

        scatter = task.scatter(items=[1], into=Into(asset="numbers/all", partition=month()))(lambda item: item)
        scatter.override(group_id="g")()
    gather = dag.get_task("g.gather")
    assert gather.into["asset"] == "numbers/all"
    assert gather.outlets == [OUTLET]
    assert "month" in gather.upstream_task_ids
    assert dag.get_task("g.plan").outlets == []
    with DAG("d"):
        by_hand = ScatterGatherOperator(task_id="gather", scatter_id="g", into={"asset": "numbers/all"})
    assert by_hand.outlets == [OUTLET]


def test_into_needs_results():
    with pytest.raises(OptionsError, match="results=None keeps none"):
        task.scatter(items=[1], results=None, into={"asset": "a"})(lambda item: item)
    with pytest.raises(OptionsError, match="into has no option 'aset'; did you mean 'asset'"):
        task.scatter(items=[1], into={"aset": "a"})(lambda item: item)


def test_the_airflow_asset_of_an_asset():
    found = airflow_asset("flights/enriched", io_manager="lake")
    assert (found.name, found.uri) == ("flowstone://lake/flights/enriched",) * 2
    with pytest.raises(AssetError, match="no name of an asset"):
        airflow_asset("flights//enriched")
    with pytest.raises(ValueError, match="has an IO manager and an asset"):
        Asset(name="a", uri="flowstone://lake")
