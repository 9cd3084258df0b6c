"""Calling the endpoint of signal gates in this process."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from flowstone_provider import tokens
from flowstone_provider.gates import ANY_JSON, fingerprint
from flowstone_provider.signals import app

KEY = secrets.token_urlsafe(32)
JSON = {"content-type": "application/json"}


class Answer(NamedTuple):
    """What the endpoint answered, and how many chunks of the body it has asked for."""

    status: int
    json: Any
    chunks: int


def make_gate(**changes: Any) -> tokens.Gate:
    """What the token of a gate says that is open for an hour."""
    gate = tokens.Gate(
        dag_id="orders",
        run_id="manual__2026-01-01T00:00:00+00:00",
        task_id="pay",
        map_index=-1,
        ti_id="01890a5d-ac96-774b-bcce-b302099a8057",
        deadline=int(time.time()) + 3600,
        schema=fingerprint(ANY_JSON),
    )
    return gate._replace(**changes)


def post(*args: Any, **options: Any) -> Answer:
    """Send a request; see `request_of`."""
    return asyncio.run(request_of(*args, **options))


async def request_of(
    token: str, body: bytes | Iterable[bytes] = b"{}", headers: dict[str, str] = JSON, *, method: str = "POST"
) -> Answer:
    """Send a request whose body arrives chunk by chunk."""
    chunks = iter([body] if isinstance(body, bytes) else body)
    sent: list[dict[str, Any]] = []
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        chunk = next(chunks, None)
        if chunk is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path = f"/signals/{token}"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    return Answer(sent[0]["status"], json.loads(answer), asked)
