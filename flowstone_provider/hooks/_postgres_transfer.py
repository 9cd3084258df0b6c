"""Tables on their way to PostgreSQL and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flowstone_provider.contracts.io_manager import AssetKey, Condition, StoredAsset
from flowstone_provider.errors import AssetDamagedError
from flowstone_provider.hooks._postgres_connection import BulkTransaction
from flowstone_provider.hooks._postgres_sql import psycopg_sql
from flowstone_provider.hooks._postgres_tables import PARTITION, Tables, table_of
from flowstone_provider.hooks._postgres_types import (
    Form,
    condition,
    form_of,
    restored,
    selected_as,
    travelling,
)
from flowstone_provider.hooks.values import arrow, check_selection

# Bytes of a record batch that a load gives, about.
_BATCH_BYTES = 4 << 20


class Record(NamedTuple):
    """A row of the table of receipts."""

    receipt: StoredAsset
    columns: list[str]
    """The columns of the asset's table that keep those of the value."""
    arrow_schema: bytes
    """As ``pyarrow.Schema.serialize`` writes it."""


class SourceFailed(Exception):  # noqa: N818  (it carries the error to tell)
    """The record batches to store raised: maybe what drivers raise, but it is no error of this server."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


class Outgoing:
    """A table on its way to the server.

    Args:
        reader: A record batch reader.
        columns: The names of the columns there.
        forms: Their forms.
    """

    def __init__(self, reader: Any, columns: list[str], forms: list[Form]) -> None:
        self._reader = reader
        self._columns = columns
        self._forms = forms
        self._problem: Exception | None = None
        self.rows = 0
        self.bytes = 0

    def ingest(self, transaction: BulkTransaction, schema: str, table: str) -> None:
        """Move it.

        Raises:
            SourceFailed: Its record batches raised, or cannot travel.
        """
        pa = arrow()
        names = zip(self._columns, self._forms, strict=True)
        types = pa.schema([(name, form.arrow) for name, form in names])
        try:
            transaction.ingest(schema, table, pa.RecordBatchReader.from_batches(types, self._batches()))
        except Exception:
            # ADBC only says that its source failed, and nothing of how.
            if self._problem is not None:
                raise SourceFailed(self._problem) from None
            raise

    def _batches(self) -> Iterator[Any]:
        try:
            for batch in self._reader:
                self.rows += batch.num_rows
                self.bytes += batch.nbytes
                yield travelling(batch, self._columns, self._forms)
        except Exception as error:
            self._problem = error
            raise


class Incoming:
    """A table on its way from the server.

    Args:
        tables: Where it is.
        key: Which.
        record: What is known of it.
        columns: Only these.
        where: Only the rows that meet all of these.

    Raises:
        ValueKindError: There is no such column or operator, or SQL has not the value of a condition.
    """

    def __init__(
        self,
        tables: Tables,
        key: AssetKey,
        record: Record,
        columns: Sequence[str] | None,
        where: Sequence[Condition],
    ) -> None:
        pa = arrow()
        stored = pa.ipc.read_schema(pa.py_buffer(record.arrow_schema))
        check_selection(stored.names, columns, where)
        self._tables = tables
        self._key = key
        self._names = dict(zip(stored.names, record.columns, strict=True))
        self._types = {field.name: form_of(field).sql for field in stored}
        names = stored.names if columns is None else columns
        self.schema = pa.schema([stored.field(name) for name in names], metadata=stored.metadata)
        sql = psycopg_sql()
        partition = sql.SQL("IS NULL") if key.text is None else sql.SQL("= {}").format(sql.Literal(key.text))
        self._conditions = [sql.SQL("{} {}").format(sql.Identifier(PARTITION), partition)]
        for each in where:
            self._conditions.append(condition(self._names[each[0]], self._types[each[0]], each))

    def batches(self, transaction: BulkTransaction) -> Iterator[Any]:
        """Its record batches."""
        pa = arrow()
        table = table_of(self._key.asset)
        _, there = self._tables.columns(transaction, table)
        selected = []
        for field in self.schema:
            column = self._names[field.name]
            if column not in there:
                raise AssetDamagedError(f"{self._key} has lost its column {column!r} in {table!r}: store it again")
            selected.append(selected_as(column, self._types[field.name], there[column]))
        sql = psycopg_sql()
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
            sql.SQL(", ").join(selected), self._tables.table(table), sql.SQL(" AND ").join(self._conditions)
        )
        for batch in transaction.stream(query, _BATCH_BYTES):
            arrays = [
                restored(array, field, there[self._names[field.name]])
                for array, field in zip(batch.columns, self.schema, strict=True)
            ]
            if batch.num_rows:
                yield pa.record_batch(arrays, schema=self.schema)
