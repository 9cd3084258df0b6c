"""The endpoint of signal gates, up to the database: what it refuses, in which order, and how much of it it reads."""

from __future__ import annotations

import json
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone_provider import signals, tokens
from flowstone_provider.signals import MAX_BODY, MAX_DEPTH, RESERVED_KEYS
from tests.support.signals import JSON, KEY, make_gate, post


@pytest.fixture(autouse=True)
def delivered(configure, monkeypatch):
    """What got as far as the database."""
    configure("signal_key", KEY)
    found = []
    monkeypatch.setattr(signals, "deliver", lambda gate, payload: found.append(payload) is None)
    return found


def token(**changes):
    return tokens.sign(make_gate(**changes))


@pytest.mark.parametrize(
    "value", [{"ok": True}, [], "text", 1, 2.5, None, False, {"": {"deep": [None]}}, {"__data__": 1, "__version__": 2}]
)
def test_any_json_value_is_taken(delivered, value):
    assert post(token(), json.dumps(value).encode()).status == 200
    assert delivered == [value]


def test_a_body_may_come_in_pieces_and_be_as_large_as_the_bound(delivered):
    body = json.dumps("x" * (MAX_BODY - 2)).encode()
    assert len(body) == MAX_BODY
    assert post(token(), [body[:1000], b"", body[1000:]]).status == 200
    assert delivered == ["x" * (MAX_BODY - 2)]


def test_of_fifty_megabytes_no_more_is_read_than_the_bound(delivered):
    chunk = b"x" * 65_536
    fifty = [chunk] * 800
    answer = post(token(), fifty)
    assert (answer.status, answer.chunks) == (413, MAX_BODY // len(chunk) + 1)
    answer = post(token(), fifty, {**JSON, "content-length": str(50 * 1024 * 1024)})
    assert (answer.status, answer.chunks) == (413, 0), "it says beforehand that it is too large"
    assert post(token(), fifty, {**JSON, "content-length": "9" * 5_000}).status == 413
    assert post(token(), fifty, {**JSON, "content-length": "5"}).status == 413, "it lies"
    assert post("a.b", fifty).chunks == 0, "without a token nothing is read"
    assert delivered == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"{'a': 1}", "no JSON"),
        (b"NaN", "no JSON"),
        (b'{"a": Infinity}', "no JSON"),
        (b"1e999", "no JSON"),
        (b'"\xff"', "no JSON"),
        (b'"\\ud800"', "no JSON"),
        ("{}".encode("utf-16"), "no JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "no JSON"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "64 levels"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        *((json.dumps([{key: 1}]).encode(), key) for key in sorted(RESERVED_KEYS)),
    ],
    ids=repr,
)
def test_what_is_no_json_or_cannot_be_kept_is_refused(delivered, body, message):
    answer = post(token(), body)
    assert answer.status == 400
    assert message in answer.json["detail"]
    assert delivered == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": ""}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}],
    ids=repr,
)
def test_another_content_type_is_refused(delivered, headers):
    assert post(token(), b"{}", headers)[::2] == (415, 0)
    assert delivered == []


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x"])
def test_json_is_json_with_whatever_parameters(delivered, kind):
    assert post(token(), b"1", {"content-type": kind}).status == 200


def test_without_a_valid_token_nothing_else_is_looked_at_and_all_get_the_same_answer(delivered):
    valid = token()
    wrong = ["x", "a.b", valid[:-1], valid + "A", valid.swapcase(), token()[1:], f"{valid}.{valid}", "☃", "%00", " "]
    answers = {
        (answer.status, answer.json["detail"], answer.chunks)
        for each in wrong
        for answer in (post(each, b"{", {}), post(each, b"{}"), post(each, [b"x" * 65_536] * 10))
    }
    assert answers == {(403, "no valid token", 0)}
    assert delivered == []


def test_a_token_is_over_at_its_deadline(delivered, monkeypatch):
    deadline = int(time.time()) + 100
    its = token(deadline=deadline)
    monkeypatch.setattr(signals.time, "time", lambda: deadline - 0.001)
    assert post(its).status == 200
    for late in (0, 1, 1e6):
        monkeypatch.setattr(signals.time, "time", lambda late=late: deadline + late)
        assert post(its)[::2] == (410, 0)
    assert delivered == [{}]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
def test_other_methods_are_refused(delivered, method):
    assert post(token(), method=method).status == 405
    assert delivered == []


@pytest.mark.parametrize("path", ["", "/", "x/y", "../docs"])
def test_there_is_nothing_else(delivered, path):
    assert post(path).status in (403, 404)
    assert {route.path for route in signals.app.routes} == {"/signals/{token}"}, "no page of documentation either"


def test_without_a_key_nothing_is_taken_and_nothing_is_told(delivered, configure, caplog):
    its = token()
    configure("signal_key", "")
    assert post(its)[:2] == (503, {"detail": "signal gates are not set up here"})
    configure("signal_key", "too-short")
    assert post(its)[:2] == (503, {"detail": "signal gates are not set up here"})
    assert "has 9 characters" in caplog.text
    assert "too-short" not in caplog.text
    assert its not in caplog.text


def test_a_caller_who_goes_away_is_no_error_of_ours(delivered):
    def body():
        yield b"{"
        raise signals.ClientDisconnect

    assert post(token(), body()).status == 400
    assert delivered == []


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # What means something to Airflow's serialisers, among others.
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(["__classname__", "builtins.tuple", "dict", "\0"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8"))
            | st.sampled_from(["__classname__", "__version__", "__data__", "__id__", "__type", "__var", "__source"]),
            inner,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_what_is_taken_comes_through_airflows_serialisers_as_it_is(value):
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.serialization.serialized_objects import BaseSerialization

    try:
        taken = signals.parse(json.dumps(value).encode())
    except signals.HTTPException:
        return
    assert taken == value
    stored = json.loads(json.dumps(BaseXCom.serialize_value(taken)))
    assert BaseXCom.deserialize_value(type("Result", (), {"value": stored})) == value
    # The answer in the task's next_kwargs, in Airflow 3.1.
    event = {"params_input": {"signal": json.dumps(taken)}}
    assert BaseSerialization.deserialize(BaseSerialization.serialize(event)) == event
    assert sys.getrecursionlimit() > MAX_DEPTH * 12
