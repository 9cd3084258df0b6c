"""The tokens of signal gates: who holds one may end one gate, once, until the deadline.

A token is what a gate is, as JSON, in URL-safe base64, and a signature over it (HMAC-SHA256, by itsdangerous). The
gate's task makes it; the endpoint in the API server reads it. Both need the same key.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache
from typing import NamedTuple
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from flowstone_provider import config
from flowstone_provider.errors import SignalKeyError, TokenError

CONNECTION_ID = "flowstone_signals"

# The purpose and the version: a token of another format, or made for something else with the same key, is none of ours.
_SALT = "flowstone.signal.v1"
# What `secrets.token_urlsafe(24)` makes; less can be guessed.
_MIN_KEY_LENGTH = 32

_HOW_TO = (
    'Make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"` and set it as [flowstone] signal_key '
    f"(AIRFLOW__FLOWSTONE__SIGNAL_KEY), or as the password of the connection {CONNECTION_ID!r}: the same for the API "
    "servers and the workers"
)


class Gate(NamedTuple):
    """What a token says.

    Attributes:
        dag_id: With the next three, which task instance it is.
        run_id: See ``dag_id``.
        task_id: See ``dag_id``.
        map_index: -1 where the task is not mapped.
        ti_id: The id of this try. A retry and Clear give the task instance another one, and so end the token.
        deadline: When the gate ends, in seconds since 1970.
        schema: The `flowstone_provider.gates.fingerprint` of the schema that bodies are checked against.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    ti_id: str
    deadline: int
    schema: str


@cache
def keys() -> tuple[str, ...]:
    """The signing keys, the oldest first: the last one signs, and each of them is accepted.

    Raises:
        SignalKeyError: There is none, or one is too short. The next call looks for a connection again.
    """
    text = config.get("signal_key") or _password()
    found = tuple(key.strip() for key in text.split(",") if key.strip())
    if not found:
        raise SignalKeyError(f"there is no key to sign the URLs of signal gates with. {_HOW_TO}")
    for at, key in enumerate(found, 1):
        if len(key) < _MIN_KEY_LENGTH:
            raise SignalKeyError(
                f"key {at} of {len(found)} for signal gates has {len(key)} characters; it needs {_MIN_KEY_LENGTH} or "
                f"more. {_HOW_TO}"
            )
    return found


def _password() -> str:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        return BaseHook.get_connection(CONNECTION_ID).password or ""
    except AirflowNotFoundException:
        return ""


def sign(gate: Gate) -> str:
    """The token of a gate: letters, digits, ``-``, ``_`` and ``.``.

    Raises:
        SignalKeyError: There is no key, or one is too short.
    """
    value = _serializer(keys()[-1]).dumps(gate)
    return value if isinstance(value, str) else value.decode()


def read(token: str) -> Gate:
    """The gate of a token; that the token is not over is for the caller to see.

    The signature is compared as text, with each key, in a time that does not depend on where it differs, before
    anything of the token is decoded.

    Raises:
        SignalKeyError: There is no key, or one is too short.
        TokenError: We did not make this token.
    """
    value, _, signature = token.encode(errors="replace").rpartition(b".")
    # Of base64 that is decoded first, as `loads` does, the last character could be changed unnoticed.
    valid = [hmac.compare_digest(_serializer(key).make_signer().get_signature(value), signature) for key in keys()]
    if not any(valid):
        raise TokenError("this is no token of a signal gate, or one that was changed")
    try:
        gate = Gate(*_serializer(keys()[-1]).load_payload(value))
        UUID(gate.ti_id)
    except (BadData, TypeError, ValueError, AttributeError):
        gate = None
    if gate is None or [type(field) for field in gate] != [str, str, str, int, str, int, str]:
        raise TokenError("this is no token of a signal gate of this version")
    return gate


def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=_SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256})
