"""Requests of all kinds, made by schemathesis from the endpoint's OpenAPI document: none breaks it or forces a gate."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone_provider import signals, tokens
from tests.support.signals import make_gate, post

CASES = settings(max_examples=700, deadline=None, database=None, suppress_health_check=[*HealthCheck])

document = schemathesis.openapi.from_dict(signals.app.openapi())
document.app = signals.app
operation = document["/signals/{token}"]["post"]


def test_the_document_names_every_answer():
    answers = signals.app.openapi()["paths"]["/signals/{token}"]["post"]["responses"]
    assert {int(status) for status in answers} == {200, 400, 403, 409, 410, 413, 415, 422, 503}


@pytest.fixture
def reached(monkeypatch):
    """What got past the token: bodies; and past the body: values."""
    found = []
    parse = signals.parse
    monkeypatch.setattr(signals, "parse", lambda body: found.append(body) or parse(body))
    monkeypatch.setattr(signals, "deliver", lambda gate, payload: found.append(payload) is None)
    return found


def test_without_a_valid_token_nothing_happens(gates, reached):
    waiting = gates.open(3)
    before = gates.instances(waiting[0])

    @CASES
    @given(case=operation.as_strategy())
    def attack(case):
        assert case.call().status_code in (403, 404)

    attack()
    assert reached == []
    assert gates.instances(waiting[0]) == before


def test_with_a_valid_token_any_json_is_answered_as_the_document_says(gates, reached):
    (gate,) = gates.open()

    @CASES
    @given(case=operation.as_strategy(path_parameters={"token": tokens.sign(gate)}))
    def call(case):
        reached.clear()
        answer = case.call()
        assert answer.status_code in (200, 400)
        assert len(reached) == (2 if answer.status_code == 200 else 1)

    call()


def test_with_a_valid_token_any_bytes_are_answered_as_the_document_says(gates, reached):
    (gate,) = gates.open()
    kinds = ["application/json", "application/json; charset=utf-16", "text/json", "", "application/json, text/plain"]
    like_json = st.lists(
        st.sampled_from([*map(str.encode, '{}[]":,\\ue-.019ntf'), b"\xff", b"\0", b"null", b'"a"'])
    ).map(b"".join)

    @CASES
    @given(body=st.binary() | like_json, kind=st.sampled_from(kinds) | st.text(st.characters(codec="ascii")))
    def call(body, kind):
        reached.clear()
        answer = post(tokens.sign(gate), body, {"content-type": kind})
        assert answer.status in (200, 400, 415)
        assert len(reached) == {200: 2, 400: 1, 415: 0}[answer.status]

    call()


def test_a_damaged_token_of_a_gate_that_waits_is_refused(gates):
    waiting = gates.open(3)
    before = gates.instances(waiting[0])
    valid = [tokens.sign(gate) for gate in waiting]
    foreign = tokens._serializer("x" * 32).dumps(waiting[0])

    @CASES
    @given(
        case=operation.as_strategy(path_parameters={"token": valid[0]}),
        token=st.sampled_from([*valid, foreign]),
        at=st.integers(0, 400),
        put=st.text(st.sampled_from("AZaz09-_.%/~\0é"), max_size=3),
        cut=st.integers(0, 3),
    )
    def attack(case, token, at, put, cut):
        at %= len(token)
        damaged = token[:at] + put + token[at + cut :]
        if damaged in valid:
            return
        # Quoted, for "./" before a token is the same URL to a client.
        case.path_parameters = {"token": quote(damaged, safe="")}
        assert case.call().status_code in (403, 404, 405)

    attack()
    assert gates.instances(waiting[0]) == before


def test_a_token_that_says_anything_is_answered_if_only_it_is_signed(gates):
    """As after a mistake of ours: of a field of another type, say."""
    (gate,) = gates.open()
    before = gates.instances(gate)
    fields = st.sampled_from([*gate, *make_gate()]) | st.integers() | st.text(max_size=5) | st.none()

    @settings(CASES, max_examples=200)
    @given(st.lists(fields, max_size=8))
    def attack(claims):
        token = tokens._serializer(tokens.keys()[-1]).dumps(claims)
        if claims[:5] != list(gate[:5]):
            answer = operation.Case(path_parameters={"token": token}, body={}, media_type="application/json").call()
            assert answer.status_code in (403, 410)

    attack()
    assert gates.instances(gate) == before
