"""What a signal gate checks when a DAG is parsed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from airflow.sdk import DAG, task

from flowstone_provider.errors import OptionsError
from tests.support.gates import Paid, gate, start
from tests.support.signals import KEY


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": timedelta(0)}, "longer than zero"),
        ({"timeout": -timedelta(seconds=1)}, "longer than zero"),
        ({"timeout": 60}, "a timedelta longer than zero, not 60"),
        ({"timeout": None}, "a timedelta"),
        ({"on_timeout": "skp"}, "did you mean 'skip'"),
        ({"on_timeout": {"ok": False}}, "default=…"),
        ({"default": 1}, 'with on_timeout="default" only'),
        ({"on_timeout": "default", "default": {1, 2}}, "must be JSON"),
        ({"schema": {"type": "object"}}, "a pydantic model"),
        ({"schema": Paid(order=1)}, "a pydantic model"),
        ({"on_signal": "upper"}, "must be a function"),
        ({"timout": timedelta(1)}, "did you mean 'timeout'"),
    ],
    ids=repr,
)
def test_an_option_that_does_not_fit_is_refused(options, message):
    with DAG("orders"), pytest.raises(OptionsError, match=message):
        task.signal_gate(**options)(start)
    if "timout" not in options:
        with pytest.raises(OptionsError, match=message):
            gate(**options)


@pytest.mark.parametrize("function", [lambda: None, lambda url: None, lambda signal_url, /: None, lambda *args: None])
def test_a_function_that_does_not_take_the_url_is_refused(function):
    with DAG("orders"), pytest.raises(OptionsError, match="needs a parameter signal_url"):
        task.signal_gate(function)


def test_the_url_is_not_for_the_dag_to_give():
    with DAG("orders"), pytest.raises(OptionsError, match="given by the gate"):
        task.signal_gate(start)(signal_url="https://example.com")


def test_arguments_are_checked_as_of_any_function():
    def order(number, signal_url, note=None, **rest): ...

    with DAG("orders"):
        task.signal_gate(order)(1, note="x")
        with pytest.raises(TypeError, match="number"):
            task.signal_gate(order)()


def test_a_gate_is_one_task_with_or_without_options():
    with DAG("orders") as dag:
        task.signal_gate(start)()
        task.signal_gate(task_id="second", timeout=timedelta(hours=1), retries=2)(start)()
        task.signal_gate(task_id="mapped", on_timeout="skip")(lambda n, signal_url: n).expand(n=[1, 2])
    assert (dag.get_task("start").timeout, dag.get_task("start").on_timeout) == (timedelta(days=7), "fail")
    assert (dag.get_task("second").timeout, dag.get_task("second").retries) == (timedelta(hours=1), 2)
    assert dag.get_task("mapped").partial_kwargs["on_timeout"] == "skip"
    assert dag.get_task("start").op_kwargs == {}, "nothing of the URL is rendered"


def test_the_dag_is_serialised_alike_each_time(configure):
    try:
        from airflow.serialization.definitions.dag import SerializedDAG  # noqa: F401
        from airflow.serialization.serialized_objects import DagSerialization as Serializer
    except ImportError:  # before Airflow 3.2
        from airflow.serialization.serialized_objects import SerializedDAG as Serializer

    configure("signal_key", KEY)

    def parse():
        def upper(value):
            return value

        with DAG("orders", schedule=None) as dag:
            options = {"schema": Paid, "on_signal": upper, "on_timeout": "default", "default": {"paid": False}}
            task.signal_gate(**options)(start)()
            task.signal_gate(task_id="mapped", **options)(lambda n, signal_url: n).expand(n=[1, 2])
        return json.dumps(Serializer.to_dict(dag), sort_keys=True)

    text = parse()
    assert text == parse()
    assert " at 0x" not in text
    assert KEY not in text
