"""DynamoDB tables and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flowstone_provider.contracts.item_reader import (
    Checkpoint,
    ItemReader,
    Page,
    ReaderOptions,
    ReaderSpec,
    Resources,
    limited,
)
from flowstone_provider.contracts.options import is_deferred, nearest
from flowstone_provider.errors import ReaderError, SourceNotFoundError, SourceUnavailableError
from flowstone_provider.readers._attributes import from_json_key, from_value, to_items, to_json_key
from flowstone_provider.readers._aws import aws_errors

# Items that DynamoDB looks at for a page, at most. It ends a page at 1 MB anyway, so this bounds pages of small items.
_PAGE_ITEMS = 4_000

# API reference of DynamoDB, "Scan": TotalSegments.
_MOST_SEGMENTS = 1_000_000

# Developer guide of DynamoDB, "Expression attribute names" and "… values". Expressions have no quoted texts, so that
# all of these are placeholders.
_PLACEHOLDER = re.compile(r"[#:]\w+")


def _names(names: dict[str, str]) -> dict[str, str]:
    _check_placeholders("#", names)
    return names


def _values(values: dict[str, Any]) -> dict[str, Any]:
    _check_placeholders(":", values)
    for name, value in values.items():
        if not is_deferred(value):
            try:
                from_value(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return values


def _check_placeholders(mark: str, given: dict[str, Any]) -> None:
    for name in given:
        if name[:1] != mark or not _PLACEHOLDER.fullmatch(name):
            raise ValueError(f"the name {name!r} must be {mark!r} and letters, digits or '_'")


class Segment(BaseModel):
    """One of the segments of a parallel scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment: int = Field(description="Which one, from 0 on. `Segment` in DynamoDB's API.")
    of: int = Field(description="How many there are. `TotalSegments` in DynamoDB's API.")


class DynamodbOptions(ReaderOptions):
    """Options of the ``dynamodb`` reader. Expressions are DynamoDB's own."""

    title: ClassVar[str] = "dynamodb"

    table: Annotated[str, Field(min_length=1)] = Field(description="The table's name or ARN. `TableName` in the API.")
    index: str | None = Field(default=None, description="Read this index of the table. `IndexName` in the API.")
    query: str | None = Field(
        default=None,
        description="A condition on the key: read only what meets it, in the order of the sort key. Without it the "
        "whole table or index is scanned. `KeyConditionExpression` in the API.",
    )
    filter: str | None = Field(
        default=None,
        description="A condition on other attributes. What does not meet it is read, and paid for, and left out. "
        "`FilterExpression` in the API.",
    )
    projection: str | None = Field(
        default=None,
        description="The attributes that items shall have, separated by commas. `ProjectionExpression` in the API.",
    )
    names: Annotated[dict[str, str], AfterValidator(_names)] | None = Field(
        default=None,
        description="What `#name` stands for in the expressions: an attribute whose name is reserved or has special "
        "characters. `ExpressionAttributeNames` in the API.",
    )
    values: Annotated[dict[str, Any], AfterValidator(_values)] | None = Field(
        default=None,
        description="What `:value` stands for in the expressions, as a JSON value. `ExpressionAttributeValues` in "
        "the API.",
    )
    consistent_read: bool = Field(
        default=False,
        description="Whether each page has all that was written before it was asked for, at twice the price; not on "
        "a global index. `ConsistentRead` in the API.",
    )
    forward: bool = Field(
        default=True,
        description="Whether a query goes up the sort key; if not, the greatest comes first. `ScanIndexForward` in "
        "the API.",
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection; by default `aws_default`.")
    part: Segment | None = Field(default=None, description="Which segment of a scan to read: set by splits.")

    @model_validator(mode="after")
    def _fit_together(self) -> DynamodbOptions:
        if self.query is None and self.forward is False:
            raise ValueError("`forward=False` needs a `query`: a scan has no order")
        expressions = [text for text in (self.query, self.filter, self.projection) if text is not None]
        if any(map(is_deferred, [*expressions, self.names, self.values])):
            return self
        used = set(_PLACEHOLDER.findall(" ".join(expressions)))
        given = {**(self.names or {}), **(self.values or {})}
        for name in sorted(used - given.keys()):
            known = [other for other in given if other[0] == name[0]]
            raise ValueError(f"`{_option(name)}` does not say what {name} in an expression is{nearest(name, known)}")
        for name in sorted(given.keys() - used):
            raise ValueError(f"`{_option(name)}` has {name}, which no expression uses: DynamoDB refuses that")
        return self


def _option(placeholder: str) -> str:
    return "names" if placeholder.startswith("#") else "values"


class DynamodbReader(ItemReader):
    """Items are those of a table or an index, as dicts.

    Numbers become what holds them exactly: an int of 64 bits, a float, or else a ``Decimal``. Sets become sorted
    lists, binary values bytes.

    A scan reads every item once that is there all the time and keeps its key; one that is written or deleted
    meanwhile may be read or not (developer guide, "Scanning tables").
    """

    options: ClassVar[type[ReaderOptions]] = DynamodbOptions

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._client: Any = None

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield what DynamoDB answers, page by page; a page that the filter empties is an empty one.

        Raises:
            SourceNotFoundError: There is no such table or index.
            SourceAccessError: The credentials are missing or wrong, or give no permission.
            SourceUnavailableError: Throttled, unreachable or cut off, also after the client's own retries.
            ReaderError: DynamoDB refuses an expression.
        """
        after = after or {"taken": 0}
        if not after.get("ended"):
            yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        request = self._request()
        taken = after["taken"]
        key = after.get("key")
        while True:
            start = {"ExclusiveStartKey": from_json_key(key)} if key else {}
            answer = self._ask({**request, **start, "Limit": self._limit(taken)})
            items = to_items(answer["Items"])
            taken += len(items)
            if not (last := answer.get("LastEvaluatedKey")):
                yield Page(items, {"taken": taken, "ended": True})
                return
            key = to_json_key(last)
            yield Page(items, {"taken": taken, "key": key})

    def _request(self) -> dict[str, Any]:
        opts = self.opts
        values = {name: from_value(value) for name, value in (opts.values or {}).items()}
        request = {
            "TableName": opts.table,
            "IndexName": opts.index,
            "KeyConditionExpression": opts.query,
            "FilterExpression": opts.filter,
            "ProjectionExpression": opts.projection,
            "ExpressionAttributeNames": opts.names or None,
            "ExpressionAttributeValues": values or None,
            "ConsistentRead": opts.consistent_read,
            "ScanIndexForward": None if opts.query is None else opts.forward,
            "Segment": opts.part and opts.part.segment,
            "TotalSegments": opts.part and opts.part.of,
        }
        return {name: value for name, value in request.items() if value is not None}

    def _limit(self, taken: int) -> int:
        if self.opts.max_items is None or self.opts.filter is not None:
            return _PAGE_ITEMS
        # What is looked at is what is paid for.
        left: int = self.opts.max_items - taken
        return min(_PAGE_ITEMS, left)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._errors():
            if self._client is None:
                self._client = self.resources.client("dynamodb", self.opts.conn_id)
            ask = self._client.scan if self.opts.query is None else self._client.query
            answer: dict[str, Any] = ask(**request)
        # What was cut off, and is no JSON, botocore takes for an answer without members once its retries are used up.
        if "Items" not in answer:
            raise SourceUnavailableError(
                f"cannot read the DynamoDB table {self.opts.table}: an answer was cut off; check the network",
                table=self.opts.table,
            )
        return answer

    @contextmanager
    def _errors(self) -> Iterator[None]:
        table = self.opts.table
        try:
            with aws_errors(f"the DynamoDB table {table}", table=table):
                yield
        except ReaderError as error:
            if error.data.get("code") != "ValidationException":
                raise
            # One code for all that is wrong with a request; only the message tells what.
            if "does not have the specified index" in error.message:
                raise SourceNotFoundError(
                    f"the DynamoDB table {table} has no index {self.opts.index!r}", **error.data
                ) from error
            raise ReaderError(error.message + _remedy(error.message), **error.data) from error

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """The segments of a parallel scan; they differ in size, and some may hold no item. A query has none."""
        # Nobody knows in which segment the last of `max_items` items lies.
        if self.opts.part is not None or self.opts.query is not None or self.opts.max_items is not None:
            return None
        cls = type(self)
        of = min(at_most, _MOST_SEGMENTS)
        # The class, not a registered name: an alias of that name may mean another one.
        return [
            ReaderSpec(
                reader=f"{cls.__module__}:{cls.__qualname__}",
                options={**self.opts.dump(), "part": {"segment": segment, "of": of}},
            )
            for segment in range(of)
        ]

    def close(self) -> None:
        """Close the client's connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _remedy(message: str) -> str:
    if reserved := re.search(r"reserved keyword: (\w+)", message):
        name = reserved[1]
        return f"; write #{name.lower()} in its place, with names={{'#{name.lower()}': '{name}'}}"
    if "Filter Expression can only contain non-primary key attributes" in message:
        return "; a condition on the key belongs to `query`"
    if "key condition" in message.lower() or "key schema" in message:
        return "; `query` is the condition on the key of the table or index, any other condition belongs to `filter`"
    return ""
