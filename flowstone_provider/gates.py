"""What a gate's task and the endpoint agree on: a row of Airflow's human-in-the-loop requests.

The task writes the row before it hands out its URL. The endpoint, or somebody under Required Actions, writes the answer
into it. Whoever may see Required Actions can read the row: no token, URL or key stands in it.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import orjson

# The one way to answer: what it says on the button.
OPTION = "Resume"
# Where in the answer the value is: JSON as a text, from the endpoint; a value, from a person.
SIGNAL = "signal"
PAYLOAD = "payload"

# XCom of the gate's task: it is about to park, and does not look for an early signal any more.
PARKING = "flowstone_parking"

# A scheduler fails a task that goes on before it has heard from the executor that the first part is over
# (https://github.com/apache/airflow/issues/72716). Nothing goes on sooner than this after it has parked.
SETTLE = timedelta(seconds=10)

# The first type is what Airflow's form takes it for: its field for an object is an editor for any JSON.
ANY_JSON: dict[str, Any] = {"type": ["object", "array", "string", "number", "boolean", "null"]}


def form(schema: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the row: the field that a person fills in, with the schema of its value."""
    description = "What the task returns, as JSON; usually the signal brings it."
    return {PAYLOAD: {"value": None, "description": description, "schema": schema}}


def schema_of(params: dict[str, Any]) -> dict[str, Any]:
    """The schema in the parameters of a row."""
    schema: dict[str, Any] = params[PAYLOAD]["schema"]
    return schema


def early_key(map_index: int) -> str:
    """The key of the XCom with a signal that comes while the function runs, as the text in the row.

    A key of each instance's own: Airflow lists the XComs of a key without complaint where there is none, of all
    instances alike.
    """
    return f"flowstone_early_signal_{map_index}"


def value_of(params_input: dict[str, Any]) -> Any:
    """The value in an answer; ``None`` where a person gave none."""
    if SIGNAL in params_input:
        return orjson.loads(params_input[SIGNAL])
    return params_input.get(PAYLOAD)


def fingerprint(schema: dict[str, Any]) -> str:
    """A short text that differs where a schema does."""
    return hashlib.sha256(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
