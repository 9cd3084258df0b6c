"""The IO manager ``postgres``: tables in PostgreSQL, and JSON values in a ``jsonb`` column."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import quote

import orjson
from pydantic import Field

from flowstone_provider.contracts.io_manager import AssetKey, Condition, Kind, StoredAsset
from flowstone_provider.contracts.options import Options
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import AssetDamagedError, StorageError
from flowstone_provider.hooks._postgres_connection import (
    LOCK_NOT_AVAILABLE,
    UNDEFINED_TABLE,
    BulkTransaction,
    Server,
    Transaction,
)
from flowstone_provider.hooks._postgres_sql import psycopg_sql
from flowstone_provider.hooks._postgres_tables import Tables, child_of, chosen_columns, table_of
from flowstone_provider.hooks._postgres_transfer import Incoming, Outgoing, Record, SourceFailed
from flowstone_provider.hooks._postgres_types import form_of
from flowstone_provider.hooks.io_manager import IOManagerHook
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.values import arrow, schema_of

if TYPE_CHECKING:
    from psycopg.sql import Composable

T = TypeVar("T", bound=Transaction)

# How often a store makes the tables that it needs, when others drop them at once.
_ATTEMPTS = 5

_FIND = """
    SELECT kind, bytes, rows, CAST(schema AS text), checksum, stored_at, CAST(columns AS text), arrow_schema
    FROM {}"""


class PostgresOptions(Options):
    """Options of the ``postgres`` IO manager."""

    title: ClassVar[str] = "postgres"

    conn_id: str = Field(default="postgres_default", description="The Airflow connection to PostgreSQL.")
    schema_name: str = Field(
        default="public",
        min_length=1,
        max_length=63,
        description="The schema of PostgreSQL in which the tables are; it must exist.",
    )


class PostgresIOManager(IOManagerHook):
    """Keeps tables in PostgreSQL, each asset in a table of its name, and JSON values in the table `flowstone_assets`.

    A value is replaced in one transaction. Whoever loads sees one moment, also while others store. The rows of a table
    are the same when it is loaded, and their types, but their order is the server's.
    """

    conn_type = "flowstone_postgres"
    hook_name = "FlowStone PostgreSQL"
    options: ClassVar[type[Options]] = PostgresOptions
    kinds: ClassVar[tuple[Kind, ...]] = ("json", "table")

    _latest: tuple[AssetKey, Record] | None = None

    @cached_property
    def _server(self) -> Server:
        return Server(self.opts.conn_id)

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.opts.schema_name)

    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """See `IOManagerHook.put_blob`."""
        given = b"".join(chunks).decode()

        def put(transaction: Transaction, _: list[str]) -> StoredAsset:
            # jsonb writes keys and numbers in its own way: the checksum is that of the server's text.
            sql = psycopg_sql()
            query = sql.SQL("SELECT CAST(CAST({} AS jsonb) AS text)").format(sql.Literal(given))
            ((text,),) = transaction.rows(query)
            data = text.encode()
            receipt = self._made(key, kind, len(data), None, None, f"sha256:{hashlib.sha256(data).hexdigest()}")
            self._keep(transaction, key, receipt, value=text)
            return receipt

        return self._replace(key, self._server.transaction, [], [], put)

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        schema = reader.schema
        forms = [form_of(field) for field in schema]

        def put(transaction: BulkTransaction, columns: list[str]) -> StoredAsset:
            stream = Outgoing(reader, columns, forms)
            stream.ingest(transaction, self._tables.schema, child_of(key))
            # That the rows are those that were stored, the server sees to; which value they are, this says.
            checksum = f"version:{uuid.uuid4().hex}"
            receipt = self._made(key, "table", stream.bytes, stream.rows, schema_of(schema), checksum)
            self._keep(transaction, key, receipt, columns=columns, arrow_schema=schema.serialize().to_pybytes())
            return receipt

        try:
            return self._replace(key, self._server.bulk, schema.names, [form.sql for form in forms], put)
        except SourceFailed as failed:
            raise failed.problem from None

    def _replace(
        self,
        key: AssetKey,
        begin: Callable[[str], AbstractContextManager[T]],
        names: list[str],
        types: list[str],
        put: Callable[[T, list[str]], StoredAsset],
    ) -> StoredAsset:
        about = f"cannot store {key}"
        for _ in range(_ATTEMPTS):
            with begin(about) as transaction:
                self._tables.lock(transaction, key)
                ready, there = self._tables.columns(transaction, child_of(key))
                columns = chosen_columns(names, types, there)
                if ready and all(column in there for column in columns):
                    if there:
                        self._tables.clear(transaction, key)
                    return put(transaction, columns)
            with self._server.transaction(about) as making:
                self._tables.make(making, key, names, types)
        raise StorageError(f"{about}: others drop its table as soon as it is made; see who does, or try again")

    def _made(
        self, key: AssetKey, kind: Kind, size: int, rows: int | None, schema: dict[str, str] | None, checksum: str
    ) -> StoredAsset:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return StoredAsset(self.uri(key), kind, size, rows, schema, checksum, now)

    def _keep(
        self,
        transaction: Transaction,
        key: AssetKey,
        receipt: StoredAsset,
        *,
        value: str | None = None,
        columns: list[str] | None = None,
        arrow_schema: bytes | None = None,
    ) -> None:
        fields = {
            "asset": key.asset,
            "partition": key.text or "",
            "kind": receipt.kind,
            "value": value,
            "table_name": None if columns is None else child_of(key),
            "columns": None if columns is None else orjson.dumps(columns).decode(),
            "arrow_schema": None if arrow_schema is None else base64.b64encode(arrow_schema).decode(),
            "schema": None if receipt.schema is None else orjson.dumps(receipt.schema).decode(),
            "rows": receipt.rows,
            "bytes": receipt.bytes,
            "checksum": receipt.checksum,
            "stored_at": receipt.stored_at,
        }
        sql = psycopg_sql()
        names = [sql.Identifier(name) for name in fields]
        insert = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (asset, partition) DO UPDATE SET {}")
        transaction.execute(
            insert.format(
                self._tables.receipts,
                sql.SQL(", ").join(names),
                sql.SQL(", ").join(map(sql.Literal, fields.values())),
                sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in names),
            )
        )

    def receipt(self, key: AssetKey) -> StoredAsset | None:
        """See `IOManager.receipt`."""
        record = self._find(key)
        # A load asks for the receipt and then for the table.
        self._latest = None if record is None else (key, record)
        return None if record is None else record.receipt

    def _find(self, key: AssetKey, transaction: Transaction | None = None) -> Record | None:
        query = psycopg_sql().SQL(_FIND).format(self._tables.of_key(key))
        if transaction is None:
            found = self._asked(f"cannot look for {key}", query)
        else:
            found = transaction.rows(query)
        if not found:
            return None
        kind, size, rows, schema, checksum, stored_at, columns, arrow_schema = found[0]
        types = None if schema is None else dict(orjson.loads(schema))
        receipt = StoredAsset(self.uri(key), kind, size, rows, types, checksum, stored_at)
        if kind != "table":
            return Record(receipt, [], b"")
        return Record(receipt, orjson.loads(columns), base64.b64decode(arrow_schema))

    def _asked(self, about: str, query: Composable) -> list[tuple[Any, ...]]:
        """The rows of a query about receipts: none, when nothing was ever stored."""
        try:
            with self._server.transaction(about) as transaction:
                return transaction.rows(query)
        except StorageError as error:
            if error.data.get("code") == UNDEFINED_TABLE:
                return []
            raise

    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """See `IOManagerHook.get_blob`."""
        query = psycopg_sql().SQL("SELECT checksum, CAST(value AS text) FROM {}").format(self._tables.of_key(key))
        found = self._asked(f"cannot load {key}", query)
        if not found or found[0][0] != receipt.checksum:
            raise _replaced(key)
        data = str(found[0][1]).encode()
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != receipt.checksum:
            raise AssetDamagedError(f"{key} is not what was stored: it was changed in {receipt.uri}; store it again")
        return [data]

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        known = self._latest
        record = known[1] if known and known[0] == key else self._find(key)
        if record is None or record.receipt.checksum != receipt.checksum:
            raise _replaced(key)
        incoming = Incoming(self._tables, key, record, columns, where)

        def batches() -> Iterator[Any]:
            with self._server.bulk(f"cannot load {key}", snapshot=True) as transaction:
                found = self._find(key, transaction)
                if found is None or found.receipt.checksum != receipt.checksum:
                    raise _replaced(key)
                yield from incoming.batches(transaction)

        return arrow().RecordBatchReader.from_batches(incoming.schema, batches())

    def delete(self, key: AssetKey) -> None:
        """See `IOManager.delete`."""
        with self._server.transaction(f"cannot delete {key}") as transaction:
            self._tables.lock(transaction, key)
            ready, there = self._tables.columns(transaction, child_of(key))
            if ready:
                transaction.execute(psycopg_sql().SQL("DELETE FROM {}").format(self._tables.of_key(key)))
            if ready and there:
                self._tables.clear(transaction, key)
        if ready and there:
            self._drop(table_of(key.asset), child_of(key))

    def _drop(self, table: str, child: str | None) -> bool:
        try:
            with self._server.transaction(f"cannot drop {child}") as transaction:
                return self._tables.drop(transaction, table, child)
        except StorageError as error:
            # It is empty, and somebody reads it or stores to its neighbours: `clean` finds it again.
            if error.data.get("code") == LOCK_NOT_AVAILABLE:
                return False
            raise

    def clean(self, before: datetime) -> int:
        """See `IOManager.clean`. Tables know no age: all that no receipt names are dropped, unless they are in use."""
        with self._server.transaction("cannot clean") as transaction:
            unused = self._tables.unused(transaction)
        return sum(size for table, child, size in unused if self._drop(table, child))

    def list_assets(self) -> Iterator[str]:
        """See `IOManager.list_assets`."""
        query = psycopg_sql().SQL("SELECT DISTINCT asset FROM {} ORDER BY asset").format(self._tables.receipts)
        return (asset for (asset,) in self._asked("cannot list assets", query))

    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """See `IOManager.list_partitions`."""
        sql = psycopg_sql()
        query = sql.SQL("SELECT partition FROM {} WHERE asset = {} AND partition <> '' ORDER BY partition").format(
            self._tables.receipts, sql.Literal(AssetKey(asset).asset)
        )
        return (decode(text) for (text,) in self._asked(f"cannot list partitions of {asset}", query))

    def uri(self, key: AssetKey) -> str:
        """See `IOManager.uri`. It is that of Airflow's postgres provider, with the partition in the query."""
        address = f"{self._address}/{quote(table_of(key.asset), safe='')}"
        return address if key.text is None else f"{address}?partition={quote(key.text, safe='')}"

    @cached_property
    def _address(self) -> str:
        connection = AirflowResources().connection(self.opts.conn_id)
        database = connection.schema or connection.login or "postgres"
        path = f"{quote(database, safe='')}/{quote(self._tables.schema, safe='')}"
        return f"postgres://{connection.host or 'localhost'}:{connection.port or 5432}/{path}"


def _replaced(key: AssetKey) -> StorageError:
    return StorageError(f"{key} was replaced or deleted while it was loaded; load it again")
