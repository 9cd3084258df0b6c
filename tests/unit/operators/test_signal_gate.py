"""What a signal gate does before it waits, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import UUID

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk import exceptions

from flowstone_provider import SignalGateOperator, telemetry, tokens
from flowstone_provider.errors import GateTimeoutError, SignalKeyError, SignalPayloadError
from flowstone_provider.gates import fingerprint
from tests.support.gates import Paid, gate
from tests.support.signals import KEY

# What ends the first part of a task: with Airflow 3.3, and before.
PARKS = getattr(exceptions, "TaskAwaitingInput", TaskDeferred)

TI_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


# Before it waits


class Parked(BaseException):
    """What ends `execute`, in any version of Airflow."""


@pytest.fixture
def airflow(configure, monkeypatch):
    """What Airflow was told, in order, in the place of its servers."""
    configure("signal_key", KEY)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/prefix/")
    told = []
    monkeypatch.setattr("airflow.sdk.execution_time.hitl.upsert_hitl_detail", lambda **row: told.append(("row", row)))
    monkeypatch.setattr("airflow.sdk.log.mask_secret", lambda secret: told.append(("mask", secret)))
    monkeypatch.setattr(telemetry, "emit", lambda *event: told.append(("event", event)))

    def park(self, ti_id, deadline):
        told.append(("park", deadline))
        raise Parked

    monkeypatch.setattr(SignalGateOperator, "_park", park)
    return told


def context(map_index=-1, told=(), early=None):
    """What Airflow gives a task; ``told`` gets its XComs, and ``early`` is the signal that came while it ran."""
    xcoms = {f"flowstone_early_signal_{map_index}": early}
    ti = SimpleNamespace(
        dag_id="orders",
        run_id="run/1",
        task_id="pay",
        map_index=map_index,
        id=UUID(TI_ID),
        xcom_push=lambda key, value: told.append((key, value)),
        xcom_pull=lambda task_ids, key: told.append(("pull", key)) or xcoms[key],
    )
    return {"ti": ti, "task_instance": ti, "ds": "2026-01-01"}


def test_the_row_is_written_before_the_function_has_the_url_and_holds_nothing_secret(airflow):
    def order(number, signal_url, ds):
        airflow.append(("function", (number, signal_url, ds)))
        return signal_url

    with pytest.raises(Parked):
        gate(order, op_args=[7], schema=Paid, timeout=timedelta(hours=2)).execute(context(3, airflow))
    assert [what for what, _ in airflow] == ["mask", "row", "event", "function", "flowstone_parking", "pull", "park"]
    told = dict(airflow)
    number, url, ds = told["function"]
    assert (number, ds) == (7, "2026-01-01")
    prefix, _, token = url.rpartition("/")
    assert prefix == "https://airflow.example.com/prefix/flowstone/signals"
    assert told["mask"] == token
    its = tokens.read(token)
    assert its[:5] == ("orders", "run/1", "pay", 3, TI_ID)
    assert its.deadline == int(told["park"].timestamp())
    assert its.schema == fingerprint(Paid.model_json_schema())
    assert timedelta(minutes=119) < told["park"] - datetime.now(timezone.utc) <= timedelta(hours=2)
    row = told["row"]
    assert (row["ti_id"], row["options"]) == (UUID(TI_ID), ["Resume"])
    assert row["params"]["payload"]["schema"] == Paid.model_json_schema()
    assert not any(secret in repr(airflow[1:3]) for secret in (token, url, KEY))
    about = {"dag_id": "orders", "run_id": "run/1", "task_id": "pay", "map_index": 3}
    assert told["event"] == ("flowstone.gate.open", {"timeout": 7200.0}, about)


def test_a_coroutine_function_is_run(airflow):
    async def order(signal_url):
        airflow.append(("function", signal_url))

    with pytest.raises(Parked):
        gate(order).execute(context(told=airflow))
    assert dict(airflow)["function"].startswith("https://airflow.example.com/prefix/flowstone/signals/")


@pytest.mark.parametrize("key", ["", "x" * 31])
def test_without_a_key_the_function_is_not_called(airflow, configure, key):
    configure("signal_key", key)
    with pytest.raises(AirflowFailException, match=r"secrets\.token_urlsafe") as caught:
        gate(lambda signal_url: airflow.append((signal_url, None))).execute(context())
    assert isinstance(caught.value.__cause__, SignalKeyError)
    assert airflow == []


def test_without_an_address_the_function_is_not_called(airflow, monkeypatch):
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    with pytest.raises(AirflowFailException, match=r"\[api\] base_url is not set"):
        gate(lambda signal_url: airflow.append((signal_url, None))).execute(context())
    assert [what for what, _ in airflow] == ["mask"]


def test_a_function_that_raises_is_tried_again_as_of_any_task(airflow):
    def order(signal_url):
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError):
        gate(order).execute(context())


@pytest.mark.parametrize("value", [{"order": 1}, None, "text"])
def test_a_signal_that_was_early_is_taken_without_parking(airflow, value):
    made = gate(on_signal=lambda value: [value])
    assert made.execute(context(5, airflow, early=json.dumps(value))) == [value]
    assert [what for what, _ in airflow] == ["mask", "row", "event", "flowstone_parking", "pull"]


# With the answer


def answer(**params_input):
    return {"params_input": params_input, "responded_by_user": {"id": "1", "name": "Ada"}, "chosen_options": ["Resume"]}


def signal(value):
    return answer(signal=json.dumps(value))


TIMEOUT = {"error": "the time is up", "error_type": "timeout"}


@pytest.mark.parametrize("value", [{"ok": [1, None]}, "text", None, 0, []])
def test_what_was_sent_is_the_output(value):
    assert gate().resume(context(), signal(value)) == value


def test_a_person_may_answer_with_a_value_or_without_one():
    assert gate().resume(context(), answer(payload={"ok": True})) == {"ok": True}
    assert gate().resume(context(), answer(payload='{"a text": 1}')) == '{"a text": 1}'
    assert gate().resume(context(), answer()) is None
    assert gate(schema=Paid).resume(context(), answer(payload={"order": 1})) == {"order": 1, "at": None}


def test_a_schema_makes_the_output_its_json():
    event = signal({"order": 7, "at": "2026-01-01T00:00:00Z"})
    assert gate(schema=Paid).resume(context(), event) == {"order": 7, "at": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("event", [signal({"order": 666}), answer(payload={"order": "secret"}), answer()], ids=repr)
def test_what_does_not_fit_the_model_fails_the_task_and_is_not_shown(event):
    with pytest.raises(AirflowFailException, match="does not fit Paid") as caught:
        gate(schema=Paid).resume(context(), event)
    assert isinstance(caught.value.__cause__, SignalPayloadError)
    assert "secret" not in str(caught.value)


def test_on_signal_makes_the_output():
    assert gate(on_signal=lambda value: value["n"] + 1).resume(context(), signal({"n": 1})) == 2
    assert gate(schema=Paid, on_signal=lambda paid: paid.order).resume(context(), signal({"order": 7})) == 7
    again = gate(schema=Paid, on_signal=lambda paid: Paid(order=paid.order * 2))
    assert again.resume(context(), signal({"order": 7})) == {"order": 14, "at": None}


def test_on_signal_that_raises_fails_the_try():
    with pytest.raises(KeyError):
        gate(on_signal=lambda value: value["n"]).resume(context(), signal({}))


@pytest.mark.parametrize(
    ("options", "error", "value"),
    [
        ({}, AirflowFailException, None),
        ({"on_timeout": "skip"}, AirflowSkipException, None),
        ({"on_timeout": "default"}, None, None),
        ({"on_timeout": "default", "default": {"paid": False}}, None, {"paid": False}),
    ],
    ids=repr,
)
def test_a_timeout_has_three_outcomes(airflow, options, error, value):
    made = gate(on_signal=lambda _: pytest.fail("there was no signal"), schema=Paid, **options)
    if error is None:
        assert made.resume(context(), TIMEOUT) == value
    else:
        with pytest.raises(error, match="no signal came to gate 'pay' within 7 days") as caught:
            made.resume(context(), TIMEOUT)
        assert error is AirflowSkipException or isinstance(caught.value.__cause__, GateTimeoutError)
    ((_, (event, _, about)),) = airflow
    assert (event, about["verdict"]) == ("flowstone.gate.timeout", options.get("on_timeout", "fail"))


def test_an_answer_that_airflow_cannot_use_fails_the_task():
    event = {"error": "Invalid input for param payload", "error_type": "validation"}
    with pytest.raises(AirflowFailException, match="cannot be used: Invalid input"):
        gate().resume(context(), event)


def test_it_parks_without_a_worker_until_the_deadline_but_not_for_a_moment():
    """With the exception of Airflow 3.3, or the trigger of an older one."""
    made = gate()
    for left, expected in ((timedelta(hours=1), 3600), (-timedelta(hours=1), 10)):
        deadline = datetime.now(timezone.utc) + left
        with pytest.raises(PARKS) as caught:
            made._park(UUID(TI_ID), deadline)
        parked = caught.value
        assert parked.method_name == "resume"
        if hasattr(parked, "trigger"):
            assert parked.trigger.timeout_datetime == deadline
        else:
            assert expected - 5 < parked.timeout.total_seconds() <= expected


def test_the_trigger_of_an_older_airflow_waits_until_the_task_has_settled(monkeypatch):
    from airflow.providers.standard.triggers.hitl import HITLTrigger

    from flowstone_provider.triggers import signal_gate

    order = []

    async def sleep(seconds):
        order.append(seconds)

    async def run(self):
        order.append("looks")
        yield "event"

    monkeypatch.setattr(signal_gate.asyncio, "sleep", sleep)
    monkeypatch.setattr(HITLTrigger, "run", run)
    trigger = signal_gate.GateTrigger(ti_id=UUID(TI_ID), options=["Resume"], params={}, timeout_datetime=None)
    path, kwargs = trigger.serialize()
    assert path == "flowstone_provider.triggers.signal_gate.GateTrigger"
    assert (kwargs["ti_id"], kwargs["options"]) == (UUID(TI_ID), ["Resume"])

    async def events():
        return [event async for event in signal_gate.GateTrigger(**kwargs).run()]

    assert asyncio.run(events()) == ["event"]
    assert order == [10, "looks"]
