"""JSON documents that hold an array of items somewhere."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from flowstone_provider.contracts.item_reader import Json, ReaderOptions
from flowstone_provider.errors import BadRecordError
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.readers._streams import BOM, chunks
from flowstone_provider.readers.files import PAGE_BYTES, PAGE_ITEMS, FileOptions, FileReader


def _pointer(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f"is no JSON Pointer (RFC 6901), which begins with a slash; did you mean '/{value}'?")
    if re.search("~(?![01])", value):
        raise ValueError("has a ~ that is neither ~0 (for ~) nor ~1 (for /), see RFC 6901")
    return value


class JsonOptions(FileOptions):
    """Options of the ``json`` reader."""

    title: ClassVar[str] = "json"

    items_path: Annotated[str, AfterValidator(_pointer)] = Field(
        default="",
        description="A JSON Pointer (RFC 6901) to the array of items, such as `/result/items`; the empty one "
        "means that the document is the array. An object gives items of the form `{'key': …, 'value': …}`.",
    )


class JsonReader(FileReader):
    """Items are the elements of an array, read as a stream. A number with a fraction becomes a float."""

    options: ClassVar[type[ReaderOptions]] = JsonOptions

    def read(self, file: SourceFile, start: int, end: int | None, skip: int) -> Iterator[list[Json]]:
        """Yield the elements of the array in one file.

        Raises:
            BadRecordError: The file is no JSON, or has no array at the pointer; it is damaged.
        """
        with self.open(file) as stream:
            parser = _Parser(chunks(stream, self.compression(file), file.url), file.url)
            items: list[Json] = []
            upto = PAGE_BYTES
            try:
                for item in _elements(chain.from_iterable(parser.events()), self.opts.items_path):
                    if skip:
                        skip -= 1
                        continue
                    items.append(item)
                    if len(items) == PAGE_ITEMS or parser.offset >= upto:
                        yield items
                        items = []
                        upto = parser.offset + PAGE_BYTES
            except _NotFoundError as error:
                raise BadRecordError(
                    f"{file.url}: items_path={self.opts.items_path!r} finds {error}, no array and no object",
                    url=file.url,
                    items_path=self.opts.items_path,
                ) from None
            except RecursionError:
                raise BadRecordError(f"{file.url}: an item is nested too deeply", url=file.url) from None
            if items:
                yield items


# The events of a piece of text are many times as large as the text.
_PIECE = 64 << 10

_Event = tuple[str, Any]


class _Parser:
    """The parsing events of a document.

    Args:
        pieces: The bytes of the document.
        url: The file, for messages.
    """

    def __init__(self, pieces: Iterator[bytes], url: str) -> None:
        self.offset = 0
        """How many bytes were parsed."""
        self._pieces = pieces
        self._url = url

    def events(self) -> Iterator[list[_Event]]:
        """Yield the events of some bytes at a time.

        Raises:
            BadRecordError: The document is malformed or incomplete.
        """
        import ijson  # type: ignore[import-untyped]

        found = ijson.sendable_list()
        parser = ijson.basic_parse_coro(found, use_float=True)
        try:
            for chunk in self._pieces:
                text = chunk.removeprefix(BOM) if self.offset == 0 else chunk
                for at in range(0, len(text), _PIECE):
                    piece = text[at : at + _PIECE]
                    self.offset += len(piece)
                    parser.send(piece)
                    yield found
                    found.clear()
            parser.close()
            yield found
        except ijson.JSONError as error:
            what = f"no JSON within its first {self.offset:,} bytes: {error}"
            if self.offset == 0:
                what = "an empty file is no JSON document"
            raise BadRecordError(f"{self._url}: {what}", url=self._url, offset=self.offset) from error


class _NotFoundError(Exception):
    """A pointer leads to no array or object; says what it leads to."""


def _elements(events: Iterator[_Event], pointer: str) -> Iterator[Json]:
    """Yield the elements of the array or object that a pointer names, and read the document to its end.

    ijson can select by itself, but its paths are ambiguous for names with a dot, and cannot name one element
    of an array.
    """
    event, value = next(events)
    for token in pointer.split("/")[1:]:
        event, value = _child(events, event, token.replace("~1", "/").replace("~0", "~"))
    if event == "start_array":
        for event, value in events:
            if event == "end_array":
                break
            yield _value(events, event, value)
    elif event == "start_map":
        for event, key in events:
            if event == "end_map":
                break
            yield {"key": key, "value": _value(events, *next(events))}
    else:
        raise _NotFoundError(f"{value!r:.80}")
    # What follows may be damaged: then the file is, and what was read may not be all there was.
    deque(events, maxlen=0)


def _child(events: Iterator[_Event], event: str, token: str) -> _Event:
    """The first event of a value in an object or array that was just opened."""
    if event not in _ENDS:
        raise _NotFoundError("nothing")
    index = 0
    for what, value in events:
        if what == _ENDS[event]:
            break
        if event == "start_map":
            name, first = value, next(events)
        else:
            name, first = str(index), (what, value)
            index += 1
        if name == token:
            return first
        if first[0] in _ENDS:
            _skip(events)
    raise _NotFoundError("nothing")


_ENDS = {"start_map": "end_map", "start_array": "end_array"}


def _skip(events: Iterator[_Event]) -> None:
    """Pass over an object or array that was just opened."""
    depth = 1
    for event, _ in events:
        if event in _ENDS:
            depth += 1
        elif event in ("end_map", "end_array"):
            depth -= 1
            if depth == 0:
                return


def _value(events: Iterator[_Event], event: str, value: Any) -> Json:
    """The value that an event begins."""
    if event == "start_map":
        result: dict[str, Json] = {}
        for what, key in events:
            if what == "end_map":
                return result
            event, value = next(events)
            # Most values are scalars: not to call for them saves a fifth of the time.
            result[key] = _value(events, event, value) if event in _ENDS else value
    if event == "start_array":
        elements: list[Json] = []
        for event, value in events:
            if event == "end_array":
                break
            elements.append(_value(events, event, value) if event in _ENDS else value)
        return elements
    return value
