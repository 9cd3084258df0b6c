"""DynamoDB's attribute values, such as ``{"N": "1"}``, from and to Python.

Source: the DynamoDB API reference, "AttributeValue". Binary values are bytes here, as in boto3's clients.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from flowstone_provider.contracts.item_reader import Json

Attributes = dict[str, dict[str, Any]]
"""Names to attribute values: an item, or its key."""


def to_items(found: list[Attributes]) -> list[dict[str, Json]]:
    """Items as `to_item` makes them.

    Takes the list apart, so that each item is let go when it is converted: the garbage collector looks through
    everything there is, and a tenth of the time of reading was its.
    """
    found.reverse()
    return [to_item(found.pop()) for _ in range(len(found))]


def to_item(attributes: Attributes) -> dict[str, Json]:
    """An item as a dict of Python values; takes its values apart, which is quicker than to look at them.

    Sets become sorted lists. Numbers become what holds them exactly: an int of 64 bits, a float, or else a `Decimal`.
    """
    return {
        # The usual type, without a call.
        name: typed["S"] if "S" in typed else _to_value(typed)
        for name, typed in attributes.items()
    }


def from_value(value: Json) -> dict[str, Any]:
    """A JSON value as an attribute value.

    Raises:
        ValueError: It is no JSON.
    """
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return {"N": repr(value)}
    if isinstance(value, list):
        return {"L": [from_value(element) for element in value]}
    if isinstance(value, dict):
        return {"M": {str(name): from_value(element) for name, element in value.items()}}
    raise ValueError(f"{value!r:.80} is no JSON value: text, a number, true, false, null, a list or an object")


def to_json_key(key: Attributes) -> Attributes:
    """A key as JSON: bytes, which keys have at their top level only, as base64."""
    return _converted(key, lambda binary: b64encode(binary).decode())


def from_json_key(key: Attributes) -> Attributes:
    """What `to_json_key` was given."""
    return _converted(key, b64decode)


def _converted(key: Attributes, convert: Callable[[Any], Any]) -> Attributes:
    return {
        name: {kind: convert(value) if kind == "B" else value for kind, value in typed.items()}
        for name, typed in key.items()
    }


def _to_value(typed: dict[str, Any]) -> Json:
    kind, value = typed.popitem()
    return _FROM[kind](value)


# A float holds every number of 15 digits exactly (C's DBL_DIG); with them goes a sign or a point.
_SHORT = 16


def _number(text: str) -> int | float | Decimal:
    if len(text) <= _SHORT and "E" not in text and "e" not in text:
        return float(text) if "." in text else int(text)
    number = Decimal(text)
    if -(1 << 63) <= number < 1 << 63 and number == number.to_integral_value():
        return int(number)
    inexact = float(text)
    return inexact if Decimal(repr(inexact)) == number else number


def _same(value: Any) -> Any:
    return value


_FROM: dict[str, Callable[[Any], Json]] = {
    "S": _same,
    "N": _number,
    "BOOL": _same,
    "NULL": lambda _: None,
    "B": bytes,
    "M": to_item,
    "L": lambda values: list(map(_to_value, values)),
    "SS": sorted,
    "NS": lambda texts: sorted(map(_number, texts)),
    "BS": lambda values: sorted(map(bytes, values)),
}
