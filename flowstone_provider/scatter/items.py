"""Items as JSON lines: conversion, selection, keys."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import orjson

from flowstone_provider.contracts.item_reader import BadRecord, Json, Page
from flowstone_provider.errors import FlowstoneError, ItemError

Selector = Callable[[Json], Json]

# A BadRecord is a dataclass, and must not pass for an item.
_ITEM_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS

# Results of data code are often numpy's numbers.
DUMP_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def to_json(value: object) -> object:
    """What JSON has no type for: decimals become text, bytes base64. orjson does dates, times and UUIDs itself.

    Raises:
        TypeError: Any other type.
    """
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):  # a subclass, such as a named tuple
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def field(name: str) -> Callable[[Json], Any]:
    """A function that takes one field of an item, with a clear error where it is missing."""

    def get(item: Json) -> Any:
        try:
            return item[name]
        except (KeyError, TypeError):
            raise _no_field(name, item) from None

    return get


def _no_field(name: str, item: Json) -> ItemError:
    has = f"has {', '.join(map(repr, item))}" if isinstance(item, dict) else f"is no object: {item!r}"[:100]
    return ItemError(f"an item has no field {name!r}; it {has}"[:500])


def selector(select: list[str] | dict[str, str] | Selector | None) -> Selector | None:
    """The ``select`` option as a function of the item."""
    if select is None or callable(select):
        return select
    fields = dict(zip(select, select, strict=True)) if isinstance(select, list) else select

    def choose(item: Json) -> Json:
        try:
            return {new: item[old] for new, old in fields.items()}
        except (KeyError, TypeError):
            missing = next(old for old in fields.values() if not isinstance(item, dict) or old not in item)
            raise _no_field(missing, item) from None

    return choose


def key_function(key: str | Callable[[Json], Any]) -> Callable[[Json], bytes]:
    """A function of the item whose value is equal exactly for equal keys."""
    get = field(key) if isinstance(key, str) else key
    return lambda item: orjson.dumps(get(item), to_json, orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def encode_page(page: Page, first: int, select: Selector | None) -> list[bytes]:
    """The item lines of a page, the first having index ``first``.

    Raises:
        ItemError: An item is not JSON, or cannot be selected from; names its index and source.
    """
    prefix = b'"source":%b,' % orjson.dumps(page.source) if page.source is not None else b""
    head = b'{"index":%%d,%b"item":%%b}\n' % prefix.replace(b"%", b"%%")
    items = page.items
    try:
        if select is not None:
            items = [item if isinstance(item, BadRecord) else select(item) for item in items]
        return [head % (index, orjson.dumps(item, to_json, _ITEM_OPTIONS)) for index, item in enumerate(items, first)]
    except Exception:  # noqa: BLE001  (one of them is special: find which)
        return [_encode_one(item, first + i, page.source, select, head) for i, item in enumerate(page.items)]


def _encode_one(item: Json, index: int, source: str | None, select: Selector | None, head: bytes) -> bytes:
    if isinstance(item, BadRecord):
        bad = {"message": item.message, "raw": item.raw}
        return orjson.dumps({"index": index, "source": source, "bad": bad}) + b"\n"
    try:
        return head % (index, orjson.dumps(item if select is None else select(item), to_json, _ITEM_OPTIONS))
    except Exception as error:
        where = f" from {source}" if source else ""
        doing = "selected from" if isinstance(error, FlowstoneError) or select else "written as JSON"
        raise ItemError(
            f"item {index}{where} cannot be {doing}: {type(error).__name__}: {error}; it is {item!r}"[:1000],
            index=index,
            source=source,
        ) from error


def item_lines(pages: Iterable[Page], first: int, select: Selector | None) -> Iterator[bytes]:
    """The item lines of all pages, one after the other."""
    for page in pages:
        yield from encode_page(page, first, select)
        first += len(page.items)
