"""The endpoint of signal gates: an HTTP POST of JSON to a gate's URL ends the gate.

Airflow's API server mounts it without authentication (see `flowstone_provider.plugin`): the token in the URL is all
that a caller needs to have. Until its signature holds, nothing else of a request is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime, timezone
from typing import Any

import orjson
from fastapi import FastAPI, HTTPException, Request
from jsonschema import Draft202012Validator
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from flowstone_provider import __version__, telemetry, tokens
from flowstone_provider.errors import SignalKeyError, TokenError
from flowstone_provider.gates import OPTION, PARKING, SETTLE, SIGNAL, early_key, fingerprint, schema_of
from flowstone_provider.tokens import Gate

log = logging.getLogger(__name__)

# What AWS Step Functions takes as the output of a task, in bytes:
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_BODY = 256 * 1024
# Deeper than data is; Airflow and the schema's validator walk it by recursion.
MAX_DEPTH = 64
MAX_PROBLEMS = 20
# Airflow's serialiser takes an object with one of them for an instance of a class (airflow.sdk._shared.serialization).
RESERVED_KEYS = frozenset({"__classname__", "__id__", "__type", "__var"})

_PARKED = ("awaiting_input", "deferred")

# Between its last look for an early signal and its parking, a task needs some tenths of a second.
_PAUSE = 0.2
_TRIES = 75

app = FastAPI(
    title="FlowStone signals",
    version=__version__,
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    redirect_slashes=False,
)

_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is no JSON, or is JSON that an XCom cannot hold"},
    403: {"description": "No valid token"},
    409: {"description": "The gate had its signal"},
    410: {"description": "The gate is over: its time is up, or its task was cleared, retried, ended or deleted"},
    413: {"description": f"The body is larger than {MAX_BODY} bytes"},
    415: {"description": "The body is not application/json"},
    422: {"description": "The body does not fit the gate's schema; the gate stays open"},
    503: {"description": "Not now: there is no signing key, or a task takes long to park"},
}


@app.post(
    "/signals/{token}",
    responses=_ANSWERS,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
)
async def signal(token: str, request: Request) -> dict[str, str]:
    """End the gate that the token is of; the body becomes the output of its task."""
    try:
        gate = await run_in_threadpool(tokens.read, token)
    except SignalKeyError as error:
        log.error("a signal cannot be taken: %s", error)
        raise HTTPException(503, "signal gates are not set up here") from None
    except TokenError:
        raise HTTPException(403, "no valid token") from None
    if gate.deadline <= time.time():
        raise _gone()
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON, with the header Content-Type: application/json")
    payload = parse(await _body(request))
    for _ in range(_TRIES):
        if await run_in_threadpool(deliver, gate, payload):
            return {"detail": "accepted"}
        await asyncio.sleep(_PAUSE)
    raise HTTPException(503, "the gate's task is about to wait; send the signal again", {"Retry-After": "5"})


async def _body(request: Request) -> bytes:
    """The body, of which no more is read than is allowed."""
    length = request.headers.get("content-length", "")
    body = bytearray()
    try:
        if not (length.isdecimal() and int(length[:20]) > MAX_BODY):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    break
            else:
                return bytes(body)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the end of the body") from None
    raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes; send a reference to what is large")


def parse(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        HTTPException: 400: it is no JSON, or holds what Airflow or its database cannot keep as it is.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is no JSON: {error.msg} (at character {error.pos})") from None
    level, depth = [payload], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise HTTPException(400, f"the body is nested more than {MAX_DEPTH} levels deep")
        below: list[Any] = []
        for value in level:
            if isinstance(value, str) and "\0" in value:
                raise HTTPException(400, "the body holds a NUL character, which databases cannot keep")
            if isinstance(value, dict):
                if not RESERVED_KEYS.isdisjoint(value):
                    reserved = ", ".join(sorted(RESERVED_KEYS))
                    raise HTTPException(400, f"the body has a key that Airflow keeps for itself: one of {reserved}")
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
        level = below
    return payload


def deliver(gate: Gate, payload: Any) -> bool:
    """Write the answer into the gate's row, and let its task go on.

    Returns:
        Whether it was done. If not, nothing was changed, since the task is just about to park: try again.

    Raises:
        HTTPException: 403, 409, 410 or 422, and nothing was changed.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        ti, row = _locked(gate, session)
        _check_schema(gate, schema_of(row.params), payload)
        text = orjson.dumps(payload).decode()
        answer = {
            "responded_at": datetime.now(timezone.utc),
            "responded_by": {"id": "flowstone-signal", "name": "signal"},
            "chosen_options": [OPTION],
            # As text: Airflow gives what stands here to its serialiser.
            "params_input": {SIGNAL: text},
        }
        # The condition decides between two signals at once where the database locks no rows.
        first = update(HITLDetail).where(HITLDetail.ti_id == ti.id, HITLDetail.responded_at.is_(None)).values(answer)
        if session.execute(first.execution_options(synchronize_session=False)).rowcount != 1:
            raise _answered()
        session.refresh(ti)
        session.refresh(row)
        if not _is_open(ti):
            raise _gone()
        if ti.state in _PARKED:
            _resume(ti, row, session)
        elif not _take_early(ti, text, session):
            session.rollback()
            return False
    log.info("signal taken for %s of %s, run %s, map index %s", gate.task_id, gate.dag_id, gate.run_id, gate.map_index)
    about = {"dag_id": gate.dag_id, "run_id": gate.run_id, "task_id": gate.task_id, "map_index": gate.map_index}
    telemetry.emit("flowstone.gate.signal", {}, about)
    return True


def _locked(gate: Gate, session: Any) -> tuple[Any, Any]:
    """The task instance of a gate that is open, and its row."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    ti_id = TaskInstance.id.type.python_type(gate.ti_id)  # a text in Airflow 3.1, later a UUID
    # Locked in the order in which Airflow does, first the task instance: as it parks, as somebody answers under
    # Required Actions, as it is cleared.
    ti = session.get(TaskInstance, ti_id, with_for_update={"of": TaskInstance})
    row = session.scalar(select(HITLDetail).where(HITLDetail.ti_id == ti_id))
    if ti is None or row is None:
        raise _gone()
    if (ti.dag_id, ti.run_id, ti.task_id, ti.map_index) != gate[:4]:
        raise HTTPException(403, "no valid token")
    if row.responded_at is not None:
        raise _answered()
    if not _is_open(ti):
        raise _gone()
    return ti, row


def _is_open(ti: Any) -> bool:
    """Whether a task instance waits, or its function runs or has just returned."""
    return ti.state in _PARKED or (ti.state == "running" and ti.next_method is None)


def _take_early(ti: Any, text: str, session: Any) -> bool:
    """Leave the signal where the task looks for it before it parks; not if it has looked already."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    which = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    # The task cannot say so meanwhile: its XCom refers to the row of the task instance, which is locked.
    if session.scalar(select(XComModel.key).filter_by(**which, key=PARKING)) is not None:
        return False
    session.add(XComModel(**which, dag_run_id=ti.dag_run.id, key=early_key(ti.map_index), value=text))
    return True


def _resume(ti: Any, row: Any, session: Any) -> None:
    """Let a parked task go on, now or once it has settled."""
    if not hasattr(row, "as_resume_event_payload"):
        return  # before Airflow 3.3 the trigger looks for the answer
    if ti.updated_at is not None and (settled := ti.updated_at + SETTLE) > datetime.now(timezone.utc):
        # The scheduler lets tasks go on whose time is up, with the answer if there is one.
        ti.trigger_timeout = min(ti.trigger_timeout or settled, settled)
        return
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent

    handle_event_submit(TriggerEvent(row.as_resume_event_payload()), task_instance=ti, session=session)


def _check_schema(gate: Gate, schema: Any, payload: Any) -> None:
    # The row outlives Clear, with the schema that it was made with. The task itself checks with its own in any case.
    if fingerprint(schema) != gate.schema:
        return
    problems = [
        {"path": problem.json_path, "rule": problem.validator}
        for problem, _ in zip(Draft202012Validator(schema).iter_errors(payload), range(MAX_PROBLEMS), strict=False)
    ]
    if problems:
        raise HTTPException(422, {"message": "the body does not fit the gate's schema", "problems": problems})


def _gone() -> HTTPException:
    return HTTPException(410, "the gate is over")


def _answered() -> HTTPException:
    return HTTPException(409, "the gate had its signal")
