"""Tokens of signal gates: what is signed, what is refused, and with which keys."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import subprocess
import sys

import pytest
from itsdangerous import URLSafeSerializer

from flowstone_provider import tokens
from flowstone_provider.errors import SignalKeyError, TokenError
from tests.support.signals import KEY, make_gate

OTHER = secrets.token_urlsafe(32)


@pytest.fixture(autouse=True)
def _key(configure):
    configure("signal_key", KEY)


@pytest.mark.parametrize(
    "name", ["a.b.c", "a/b\\c", "größe ☃ 数", "x" * 250, "☃" * 250, "{{ ds }}", "a&b=c#d?e%20", "'\"\n"]
)
def test_ids_of_any_form_come_back(name):
    gate = make_gate(dag_id=name, run_id=f"manual__{name}", task_id=f"group.{name}", map_index=7)
    token = tokens.sign(gate)
    assert tokens.read(token) == gate
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def test_a_token_with_any_byte_changed_is_refused():
    token = tokens.sign(make_gate())
    for at, byte in enumerate(token):
        changed = token[:at] + ("A" if byte != "A" else "B") + token[at + 1 :]
        with pytest.raises(TokenError):
            tokens.read(changed)
    # The last character of the signature has bits to spare: base64 would decode it to the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet.replace(token[-1], ""):
        with pytest.raises(TokenError):
            tokens.read(token[:-1] + last)


FORMS = ["", ".", "..", "a", "a.b", "a" * 10_000, "%%%.!!!", "☃.☃", "\ud800.x", "a.b.c.d", "\0.\0", ".eJw=.x"]


@pytest.mark.parametrize("form", FORMS)
def test_every_signature_is_compared_in_constant_time_before_anything_is_decoded(form, monkeypatch, configure):
    configure("signal_key", f"{OTHER},{KEY}")
    compared, decoded = [], []
    compare, load = hmac.compare_digest, URLSafeSerializer.load_payload
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b))
    monkeypatch.setattr(URLSafeSerializer, "load_payload", lambda *a, **k: decoded.append(a) or load(*a, **k))
    token = tokens.sign(make_gate())
    signature = token.rpartition(".")[2]
    for wrong in (form, f"{form}.{signature}", f"{token.rpartition('.')[0]}.{form.replace('.', '')}"):
        compared.clear()
        with pytest.raises(TokenError):
            tokens.read(wrong)
        assert len(compared) == 2, "with each key, whatever the form"
        assert decoded == []
    assert tokens.read(token).dag_id == "orders"
    assert len(decoded) == 1


def test_keys_are_exchanged_one_after_the_other(configure):
    old = tokens.sign(make_gate())
    configure("signal_key", f" {KEY} , {OTHER} ")
    new = tokens.sign(make_gate())
    assert tokens.read(old) == tokens.read(new)
    configure("signal_key", OTHER)
    assert tokens.read(new)
    with pytest.raises(TokenError):
        tokens.read(old)


def test_what_is_signed_for_something_else_is_refused(configure):
    gate = make_gate()
    for other in (URLSafeSerializer(KEY), URLSafeSerializer(KEY, salt="flowstone.signal.v0")):
        with pytest.raises(TokenError):
            tokens.read(other.dumps(gate))
    with pytest.raises(TokenError, match="of this version"):
        tokens.read(tokens._serializer(KEY).dumps({"dag_id": "orders"}))
    with pytest.raises(TokenError, match="of this version"):
        tokens.read(tokens._serializer(KEY).make_signer().sign(b"no base64 of JSON").decode())


def test_without_a_key_it_is_said_how_to_make_one(configure):
    configure("signal_key", "")
    for call in (lambda: tokens.sign(make_gate()), lambda: tokens.read("a.b")):
        with pytest.raises(SignalKeyError, match="there is no key") as caught:
            call()
        assert "AIRFLOW__FLOWSTONE__SIGNAL_KEY" in str(caught.value)
        assert "'flowstone_signals'" in str(caught.value)


def test_a_key_that_is_made_as_the_message_says_will_do(configure):
    configure("signal_key", "")
    with pytest.raises(SignalKeyError) as caught:
        tokens.keys()
    command = re.search(r'`python -c "(.*?)"`', str(caught.value))[1]
    made = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    configure("signal_key", made)
    assert tokens.keys() == (made,)


@pytest.mark.parametrize("keys", ["short", f"{KEY},{'x' * 31}", f"short,{KEY}"], ids=["one", "last", "first"])
def test_a_short_key_is_refused_and_not_shown(configure, keys):
    configure("signal_key", keys)
    with pytest.raises(SignalKeyError, match=r"has (5|31) characters; it needs 32") as caught:
        tokens.sign(make_gate())
    assert not any(key in str(caught.value) for key in keys.split(","))


def test_the_key_may_be_the_password_of_a_connection(configure, monkeypatch):
    configure("signal_key", "")
    with pytest.raises(SignalKeyError):
        tokens.keys()
    connection = {"conn_type": "generic", "password": OTHER}
    monkeypatch.setenv("AIRFLOW_CONN_FLOWSTONE_SIGNALS", json.dumps(connection))
    assert tokens.keys() == (OTHER,), "that there was none is not kept"
    monkeypatch.setenv("AIRFLOW_CONN_FLOWSTONE_SIGNALS", json.dumps({"conn_type": "generic"}))
    tokens.keys.cache_clear()
    with pytest.raises(SignalKeyError, match="there is no key"):
        tokens.keys()


@pytest.mark.airflow("3.3")
def test_the_key_may_come_from_a_command_as_all_secrets_of_airflow(configure, monkeypatch):
    monkeypatch.delenv("AIRFLOW__FLOWSTONE__SIGNAL_KEY")
    monkeypatch.setenv("AIRFLOW__FLOWSTONE__SIGNAL_KEY_CMD", f"""{sys.executable} -c "print('{OTHER}')\"""")
    configure("emitters", "metrics")
    assert tokens.keys() == (OTHER,)
