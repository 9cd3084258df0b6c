"""What can be stored, and what is refused because it would come back as something else."""

from __future__ import annotations

import enum
import math
import uuid
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from flowstone_provider.errors import ValueKindError
from flowstone_provider.hooks.values import batches_of, json_bytes, kind_of

pytestmark = pytest.mark.parquet


class Color(enum.Enum):
    RED = "red"


class Word(str):
    __slots__ = ()


class Settings(dict):
    pass


@dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "a b")
ITSELF: list = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize("around", [lambda value: value, lambda value: [value], lambda value: {"a": [{"b": value}]}])
@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, -math.inf),
        *(datetime(2026, 1, 15, tzinfo=timezone.utc), date(2026, 1, 15), time(9)),
        *(uuid.UUID(int=1), Color.RED, Word("a"), Settings(a=1), Point(1), Pair(1, 2)),
        *(Decimal(1), {1}, {1: 2}, b"bytes", 2**70, "\ud800", ITSELF),
    ],
    ids=repr,
)
def test_what_json_would_change_is_refused(value, around):
    with pytest.raises(ValueKindError):
        json_bytes(around(value))


@pytest.mark.parametrize("value", [None, True, 7, 0.5, "ü", [], {}, [1, [2, {"a": None}]], {"a": {"b": [1.5, ""]}}])
def test_json_is_not(value):
    assert kind_of(value) == "json"
    assert json_bytes(value)


@pytest.mark.parametrize("column", [pa.array([1]), pa.chunked_array([[1], [2]])], ids=type)
def test_a_column_alone_is_no_table(column):
    with pytest.raises(ValueKindError, match=rf"{type(column).__qualname__} is no table, .*; what can be stored"):
        batches_of(column)


def test_what_a_source_of_batches_raises_passes():
    def fails() -> Iterator:
        raise pa.ArrowInvalid("of its own")
        yield

    with pytest.raises(pa.ArrowInvalid, match="^of its own$"):
        batches_of(fails())
