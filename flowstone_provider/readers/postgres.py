"""Rows of a PostgreSQL query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from flowstone_provider.contracts.item_reader import (
    Checkpoint,
    ItemReader,
    Json,
    Page,
    ReaderOptions,
    ReaderSpec,
    Resources,
    limited,
)
from flowstone_provider.errors import BadRecordError, ReaderError
from flowstone_provider.readers._postgres_connection import Connection
from flowstone_provider.readers._postgres_errors import postgres_errors
from flowstone_provider.readers._postgres_order import Key
from flowstone_provider.readers._postgres_pages import Place, Row, Walk
from flowstone_provider.readers._postgres_query import Query

# A semicolon at the end, and what may follow it. A comment with a quote in it may be no comment but the end of a text.
_SEMICOLON = re.compile(r";(?:[\s;]|--[^'\"$\n]*(?:\n|\Z)|/\*[^'\"$]*?\*/)*\Z")

# A checkpoint is kept after every page, and splits travel through XCom: bytes of the cursor's values as JSON.
_KEY_BYTES = 3_000


def _query(value: str) -> str:
    if not _SEMICOLON.sub("", value).strip():
        raise ValueError("is empty")
    return value


def _cursor(value: str | list[str] | None) -> str | list[str] | None:
    if value is None:
        raise ValueError(
            "is missing: the rows of a query have no order of their own, so a reading that was interrupted could not "
            "go on; name the column or columns to read along, best those of a unique index"
        )
    names = [value] if isinstance(value, str) else value
    if not names or "" in names:
        raise ValueError("must name a column")
    if len(set(names)) < len(names):
        raise ValueError("names a column twice")
    return value


class PostgresPart(BaseModel):
    """The rows between two places in the order of the cursor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: list[str | None] | None = Field(
        description="The first rows' cursor values, each as PostgreSQL writes it as text; `None` is the beginning."
    )
    end: list[str | None] | None = Field(description="Those of the first rows that are out; `None` is the end.")


class PostgresOptions(ReaderOptions):
    """Options of the ``postgres`` reader."""

    title: ClassVar[str] = "postgres"

    query: Annotated[str, AfterValidator(_query)] = Field(description="The query; it must only read.")
    cursor: Annotated[str | list[str] | None, AfterValidator(_cursor)] = Field(
        default=None,
        validate_default=True,
        description="Required: the column of the query to read along, or several, best those of a unique index.",
    )
    parameters: dict[str, Any] | list[Any] | None = Field(
        default=None,
        description="Values for placeholders in the query: a dict for `%(name)s`, a list for `%s`.",
    )
    conn_id: str | None = Field(
        default=None, description="The Airflow connection of the database; `postgres_default` if it is not given."
    )
    part: PostgresPart | None = Field(default=None, description="Which rows to read: set by splits.")


class PostgresReader(ItemReader):
    """Items are dicts, one for each row, in the order of the cursor, nulls last.

    The server makes them JSON. Numerics are text, with all digits; bytes are base64; times are in UTC and, like dates,
    in ISO 8601, intervals too; a float that is no number is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``; JSON is as it
    is; types that JSON does not know are text as PostgreSQL writes it. Within composite values and ``jsonb`` a number
    is a JSON number, of which Python keeps 64 bits.

    A reading sees one snapshot of the database. One that goes on, and each split, sees a snapshot of its own time: it
    has the rows behind the checkpoint, or in the split, as they are then.

    Args:
        options: An instance of `PostgresOptions`.
        resources: Makes the connections.
    """

    options: ClassVar[type[ReaderOptions]] = PostgresOptions

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._open: set[Connection] = set()

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the rows, or those behind the checkpoint.

        Raises:
            OptionsError: The query has no such cursor column, or the parameters are not those of the query.
            SourceNotFoundError: The database or a table does not exist.
            SourceAccessError: Login, password or a permission is missing or wrong.
            SourceUnavailableError: The server cannot be reached, or ended the connection.
            BadRecordError: A row holds JSON that Python cannot read.
            ReaderError: The server refuses the query, e.g. because it writes.
        """
        after = after or {"taken": 0}
        yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        taken = after["taken"]
        place = Place(after.get("key"), after.get("digest"), after.get("done", 0))
        with self._reading() as (connection, query):
            walk = Walk(connection, query, *self._bounds(), place, self._items)
            for items in walk.pages():
                taken += len(items)
                place = walk.place
                checkpoint: Checkpoint = {"key": self._small(place.key), "taken": taken}
                if place.digest is not None:
                    checkpoint |= {"digest": place.digest, "done": place.done}
                yield Page(items, checkpoint)

    def _items(self, rows: list[Row]) -> list[Json]:
        try:
            return orjson.loads(f"[{','.join([row[0] for row in rows])}]")  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:
            return [self._item(row) for row in rows]

    def _item(self, row: Row) -> Json:
        try:
            return orjson.loads(row[0])
        except orjson.JSONDecodeError as error:
            raise BadRecordError(
                f"{self._server()}: a row has JSON that cannot be read: {error}; cast the column to text in the query. "
                f"The row begins with {row[0][:200]}"
            ) from error

    def count(self) -> int:
        """The number of rows now, up to ``max_items``; the server counts them."""
        with self._reading() as (connection, query):
            rows = self._count(connection, query)
        return rows if self.opts.max_items is None else min(rows, self.opts.max_items)

    def _count(self, connection: Connection, query: Query) -> int:
        start, end = (None if key is None else query.key(key) for key in self._bounds())
        ((rows,),) = connection.fetch(query.count(query.order().ranges(start, end, inclusive=True)))
        return int(rows)

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """Ranges of the cursor with about the same number of rows; the server finds them, and sends no other row.

        Rows with equal cursor values are in one split, so there are no more splits than such values.
        """
        # Nobody knows in which split the last of `max_items` rows will lie when it is read.
        if self.opts.part is not None or self.opts.max_items is not None:
            return None
        with self._reading() as (connection, query):
            step = max(1, -(-self._count(connection, query) // at_most))
            borders = [self._small(key) for key in connection.fetch(query.borders(step))[1:]]
        if len(borders) + 1 < min(at_most, 2):
            return None
        cls = type(self)
        # The class, not a registered name: an alias of that name may mean another one.
        return [
            ReaderSpec(
                reader=f"{cls.__module__}:{cls.__qualname__}",
                options={**self.opts.dump(), "part": PostgresPart(start=start, end=end).model_dump()},
            )
            for start, end in zip([None, *borders], [*borders, None], strict=True)
        ]

    def _small(self, key: Key | None) -> list[str | None]:
        values = list(key or [])
        if len(json.dumps(values)) > _KEY_BYTES:
            raise ReaderError(
                f"{self._server()}: a value of the cursor {', '.join(self._columns())} is too long for a checkpoint, "
                f"which has {_KEY_BYTES:,} bytes for it; choose a shorter column",
            )
        return values

    def _bounds(self) -> tuple[Key | None, Key | None]:
        part: PostgresPart | None = self.opts.part
        return (None, None) if part is None else (part.start, part.end)

    def _columns(self) -> list[str]:
        return [self.opts.cursor] if isinstance(self.opts.cursor, str) else list(self.opts.cursor)

    def _server(self) -> str:
        return "PostgreSQL" if self.opts.conn_id is None else f"PostgreSQL, connection {self.opts.conn_id!r}"

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, Query]]:
        """A connection of its own with a transaction, and the query in it."""
        with postgres_errors(self._server()):
            client = self.resources.client("postgres", self.opts.conn_id)
        connection = Connection(client, self._server())
        self._open.add(connection)
        try:
            connection.begin()
            query = connection.query(_SEMICOLON.sub("", self.opts.query), self.opts.parameters, self._columns())
            yield connection, query
        finally:
            self._open.discard(connection)
            connection.close()

    def close(self) -> None:
        """End the readings that are not at their end."""
        while self._open:
            self._open.pop().close()
