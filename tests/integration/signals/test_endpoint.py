"""The endpoint of signal gates over Airflow's database: which gates go on, which do not, what changes."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import BaseModel

from flowstone_provider import signals, telemetry, tokens
from flowstone_provider.signals import MAX_DEPTH
from tests.support.signals import make_gate, post, request_of


def send(gate, body=b'{"ok": true}'):
    return post(tokens.sign(gate), body)


def test_a_signal_lets_its_task_go_on_and_is_told_of(gates, monkeypatch):
    told = []
    monkeypatch.setattr(telemetry, "emit", lambda *event: told.append(event))
    first, second = gates.open(2)
    before = gates.instance(second)
    assert send(first, b'{"order": "\xc3\xb6"}')[:2] == (200, {"detail": "accepted"})
    assert gates.taken(first) == {"order": "ö"}
    assert gates.instance(second) == before
    about = {"dag_id": first.dag_id, "run_id": first.run_id, "task_id": "pay", "map_index": 0}
    assert told == [("flowstone.gate.signal", {}, about)]


@pytest.mark.airflow("3.3")
def test_what_the_task_goes_on_with_is_the_signal_and_no_class(gates):
    from airflow.sdk.serde import deserialize

    (gate,) = gates.open()
    assert send(gate, b'{"__data__": [1], "__version__": 1, "x": "__classname__"}').status == 200
    event = deserialize(gates.instance(gate)["next_kwargs"])["event"]
    assert event["params_input"] == {"signal": '{"__data__":[1],"__version__":1,"x":"__classname__"}'}
    assert event["timedout"] is False


@pytest.mark.parametrize("name", ["a.b.c", "größe", "数", "x" * 200])
def test_ids_may_be_of_any_form_that_airflow_takes(gates, name):
    """Slashes it does not take; tests/unit/test_tokens.py has them."""
    (gate,) = gates.open(name=name)
    assert send(gate, b"1").status == 200
    assert gates.taken(gate) == 1


def test_a_second_signal_is_refused_and_changes_nothing(gates):
    (gate,) = gates.open()
    assert send(gate, b"1").status == 200
    after = gates.instance(gate)
    assert send(gate, b"2")[:2] == (409, {"detail": "the gate had its signal"})
    assert gates.instance(gate) == after


def test_of_two_signals_at_once_one_is_taken(gates):
    for gate in gates.open(20):
        answers, together = [], threading.Barrier(2)

        def signal(gate=gate, answers=answers, together=together):
            together.wait()
            answers.append((send(gate, str(threading.get_ident()).encode()).status, threading.get_ident()))

        threads = [threading.Thread(target=signal) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (first, winner), (second, _) = sorted(answers)
        assert (first, second) == (200, 409)
        assert gates.taken(gate) == winner


def xcoms(gate):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(select(XComModel.key, XComModel.value).where(XComModel.dag_id == gate.dag_id))
        return {row.key: row.value for row in rows}


def push(gate, key):
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run_id = session.scalar(select(DagRun.id).where(DagRun.dag_id == gate.dag_id))
        which = {"dag_id": gate.dag_id, "run_id": gate.run_id, "task_id": gate.task_id, "map_index": gate.map_index}
        session.add(XComModel(**which, dag_run_id=run_id, key=key, value=True))


def change(gate, **columns):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        ti = session.get(TaskInstance, TaskInstance.id.type.python_type(gate.ti_id))
        for name, value in columns.items():
            setattr(ti, name, value)


def test_a_signal_while_the_function_runs_is_left_where_the_task_looks_for_it(gates):
    first, second = gates.open(2, state="running", next_method=None)
    assert send(second, b"[1]").status == 200
    found = gates.instance(second)
    assert (found["state"], found["params_input"]) == ("running", {"signal": "[1]"})
    assert xcoms(second) == {"flowstone_early_signal_1": "[1]"}, "as Airflow keeps XComs, and not that of the other"
    assert send(second, b"[2]").status == 409
    assert gates.instance(first)["responded_at"] is None


def test_a_signal_while_the_task_is_about_to_park_waits_until_it_has(gates, monkeypatch):
    (gate,) = gates.open(state="running", next_method=None)
    push(gate, "flowstone_parking")
    before = gates.instance(gate)
    pauses = []

    async def pause(seconds):
        pauses.append(gates.instance(gate))
        if len(pauses) == 3:
            change(gate, state="awaiting_input", next_method="resume")

    monkeypatch.setattr(signals.asyncio, "sleep", pause)
    assert send(gate, b"[1]").status == 200
    assert pauses == [before] * 3, "until then nothing is written"
    found = gates.instance(gate)
    assert (found["state"], found["params_input"]) == ("awaiting_input", {"signal": "[1]"})


def test_a_task_that_dies_before_it_parks_does_not_hold_the_sender_for_ever(gates, monkeypatch):
    (gate,) = gates.open(state="running", next_method=None)
    push(gate, "flowstone_parking")
    before = gates.instance(gate)

    async def pause(seconds): ...

    monkeypatch.setattr(signals.asyncio, "sleep", pause)
    assert send(gate)[:2] == (503, {"detail": "the gate's task is about to wait; send the signal again"})
    assert gates.instance(gate) == before


@pytest.mark.airflow("3.3")
@pytest.mark.parametrize("timeout", [timedelta(days=1), timedelta(seconds=2), None])
def test_a_task_that_has_just_parked_goes_on_when_it_has_settled(gates, timeout):
    """By the scheduler, which lets tasks go on whose time is up, with the answer if there is one."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    now = datetime.now(timezone.utc)
    (gate,) = gates.open(updated_at=now - timedelta(seconds=1), trigger_timeout=timeout and now + timeout)
    assert send(gate, b"[1]").status == 200
    found = gates.instance(gate)
    assert (found["state"], found["params_input"]) == ("awaiting_input", {"signal": "[1]"})
    assert found["trigger_timeout"] == now + min(timedelta(seconds=9), timeout or timedelta(days=1))
    change(gate, trigger_timeout=now - timedelta(seconds=1))
    SchedulerJobRunner(Job()).check_awaiting_input_timeouts()
    assert gates.taken(gate) == [1]


OVER = ["success", "failed", "skipped", "removed", "up_for_retry", "up_for_reschedule", "queued", "scheduled", None]


@pytest.mark.parametrize("columns", [*({"state": state} for state in OVER), {"state": "running"}], ids=repr)
def test_the_signal_of_a_gate_that_is_over_is_refused(gates, columns):
    """Also where it runs again, after its time was up."""
    (gate,) = gates.open(**columns)
    before = gates.instance(gate)
    assert send(gate)[:2] == (410, {"detail": "the gate is over"})
    assert gates.instance(gate) == before


def test_clear_ends_the_old_token_and_a_new_one_works(gates):
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.utils.session import create_session

    (gate,) = gates.open()
    with create_session() as session:
        ti = session.get(TaskInstance, TaskInstance.id.type.python_type(gate.ti_id))
        clear_task_instances([ti], session)
    again = gate._replace(ti_id=str(gates.instance(gate)["id"]))
    assert again.ti_id != gate.ti_id
    assert send(gate).status == 410
    with create_session() as session:
        ti = session.get(TaskInstance, TaskInstance.id.type.python_type(again.ti_id))
        ti.state, ti.next_method = "running", None
    assert send(gate).status == 410
    assert gates.instance(again)["responded_at"] is None
    assert send(again).status == 200


def test_the_signal_of_a_run_that_is_deleted_is_refused(gates):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    (gate,) = gates.open()
    with create_session() as session:
        session.delete(session.scalar(select(DagRun).where(DagRun.dag_id == gate.dag_id)))
    assert send(gate).status == 410
    assert send(make_gate()).status == 410, "nor is there this one"


@pytest.mark.parametrize(
    "change",
    [{"dag_id": "other"}, {"run_id": "other"}, {"task_id": "other"}, {"map_index": 1}, {"map_index": -1}],
    ids=repr,
)
def test_a_token_of_another_task_instance_is_refused(gates, change):
    """Signed with the right key: of another database, say."""
    first, second = gates.open(2)
    before = gates.instance(first), gates.instance(second)
    assert send(first._replace(**change))[:2] == (403, {"detail": "no valid token"})
    assert (gates.instance(first), gates.instance(second)) == before


def test_what_a_person_answered_stands(gates):
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    (gate,) = gates.open()
    with create_session() as session:
        row = session.get(HITLDetail, TaskInstance.id.type.python_type(gate.ti_id))
        row.responded_at, row.responded_by = datetime.now(timezone.utc), {"id": "1", "name": "Ada"}
    assert send(gate).status == 409


class Line(BaseModel):
    article: str
    number: int
    parts: list[Line] | None = None


def nested(depth):
    return b'{"article": "a", "number": 1, "parts": [' * depth + b"]}" * depth


def test_a_body_that_does_not_fit_is_refused_and_the_gate_stays_open(gates):
    (gate,) = gates.open(schema=Line.model_json_schema())
    before = gates.instance(gate)
    answer = send(gate, b'{"article": "secret", "number": "secret", "parts": [{"number": 1}]}')
    assert answer.status == 422
    assert answer.json["detail"]["problems"] == [
        {"path": "$.number", "rule": "type"},
        {"path": "$.parts", "rule": "anyOf"},
    ]
    assert "secret" not in str(answer.json)
    many = send(gate, b"[" + b",".join([b"1"] * 50_000) + b"]")
    assert many.status == 422
    assert gates.instance(gate) == before
    assert send(gate, nested(MAX_DEPTH // 2)).status == 200, "as deep as may be"


def test_at_most_twenty_problems_are_listed(gates):
    schema = {"type": "array", "items": {"type": "string"}}
    (gate,) = gates.open(schema=schema)
    assert len(send(gate, b"[" + b",".join([b"1"] * 50_000) + b"]").json["detail"]["problems"]) == 20


def test_the_row_of_an_older_schema_does_not_refuse(gates):
    """It outlives Clear; the task checks by its own."""
    (gate,) = gates.open(schema=Line.model_json_schema())
    assert send(gate._replace(schema="another one"), b'{"other": 1}').status == 200


def test_a_thousand_gates_wait_and_each_goes_on_once(gates):
    waiting = gates.open(1_000)

    async def send_all(some):
        return {(await request_of(tokens.sign(gate), str(gate.map_index).encode())).status for gate in some}

    assert asyncio.run(send_all(reversed(waiting))) == {200}
    found = gates.instances(waiting[0])
    assert [json.loads(each["params_input"]["signal"]) for each in found] == list(range(1_000))
    assert {each["state"] for each in found} == {gates.goes_on()}
    assert asyncio.run(send_all(waiting[:50])) == {409}
    assert gates.instances(waiting[0]) == found
