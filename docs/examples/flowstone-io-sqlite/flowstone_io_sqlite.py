"""Assets in a SQLite file: ``io_manager="sqlite"``, or an alias of it that says which file."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from typing import Any, ClassVar

import orjson
from pydantic import Field

from flowstone_provider.contracts.io_manager import AssetKey, Condition, Kind, StoredAsset
from flowstone_provider.contracts.options import Options
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import StorageError, ValueKindError
from flowstone_provider.hooks.io_manager import IOManagerHook
from flowstone_provider.hooks.values import schema_of, selected

# Rows that are read at once.
_ROWS = 20_000

_RECEIPTS = """
create table if not exists flowstone_assets (
    asset text not null,
    partition text not null,  -- empty for an asset without partitions
    receipt text not null,    -- JSON
    arrow_schema blob,        -- of a table
    value blob,               -- of anything else
    primary key (asset, partition)
)
"""


# [START options]
class SqliteOptions(Options):
    """Options of the ``sqlite`` IO manager."""

    title: ClassVar[str] = "sqlite"

    path: str = Field(description="The file; it is made when it is not there.")
    timeout: float = Field(default=60, gt=0, description="Seconds to wait while another task writes.")


# [END options]


# [START manager]
class SqliteIOManager(IOManagerHook):
    """Keeps JSON values and tables in a SQLite file; a table of it for each table."""

    conn_type = "flowstone_sqlite"
    hook_name = "FlowStone SQLite"
    contract_version: ClassVar[str] = "1.0"
    options: ClassVar[type[Options]] = SqliteOptions
    kinds: ClassVar[tuple[Kind, ...]] = ("json", "table")

    # [END manager]

    # [START store]
    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """See `IOManagerHook.put_blob`."""
        value = b"".join(chunks)
        with self._transaction() as database:
            return self._replace(database, key, kind, size=len(value), value=value)

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        kinds = [_stored_as(field, key) for field in reader.schema]
        marks = ", ".join("?" * len(kinds))
        rows = size = 0
        with self._transaction() as database:
            database.execute(f"drop table if exists {_table(key)}")
            database.execute(f"create table {_table(key)} ({', '.join(map(_quoted, reader.schema.names))})")
            for batch in reader:
                columns = [_values(column, kind, key) for column, kind in zip(batch.columns, kinds, strict=True)]
                database.executemany(f"insert into {_table(key)} values ({marks})", zip(*columns, strict=True))
                rows, size = rows + batch.num_rows, size + batch.nbytes
            return self._replace(database, key, "table", size=size, rows=rows, schema=reader.schema)

    def _replace(
        self,
        database: Any,
        key: AssetKey,
        kind: Kind,
        size: int,
        rows: Any = None,
        schema: Any = None,
        value: Any = None,
    ) -> StoredAsset:
        """Write the receipt, in the transaction that writes the value."""
        receipt = StoredAsset(
            uri=self.uri(key),
            kind=kind,
            bytes=size,
            rows=rows,
            schema=None if schema is None else schema_of(schema),
            checksum=f"version:{uuid.uuid4().hex}",
            stored_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        )
        if kind != "table":
            database.execute(f"drop table if exists {_table(key)}")
        database.execute(
            "insert or replace into flowstone_assets values (?, ?, ?, ?, ?)",
            (*_where(key), orjson.dumps(receipt.dump()).decode(), schema and schema.serialize().to_pybytes(), value),
        )
        return receipt

    # [END store]

    # [START load]
    def receipt(self, key: AssetKey) -> StoredAsset | None:
        """See `IOManager.receipt`."""
        with self._snapshot() as database:
            found = self._row(database, key)
        return None if found is None else StoredAsset(**orjson.loads(found["receipt"]))

    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """See `IOManagerHook.get_blob`."""
        with self._snapshot() as database:
            return [self._same(database, key, receipt)["value"]]

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        import pyarrow as pa

        with self._snapshot() as database:
            schema = pa.ipc.read_schema(pa.py_buffer(self._same(database, key, receipt)["arrow_schema"]))

        def batches() -> Iterator[Any]:
            kinds = [_stored_as(field, key) for field in schema]
            with self._snapshot() as database:
                self._same(database, key, receipt)
                cursor = database.execute(f"select * from {_table(key)}")
                while rows := cursor.fetchmany(_ROWS):
                    arrays = [
                        pa.array(column, kind).cast(field.type)
                        for column, kind, field in zip(zip(*rows, strict=True), kinds, schema, strict=True)
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        return selected(pa.RecordBatchReader.from_batches(schema, batches()), columns, where)

    def _same(self, database: Any, key: AssetKey, receipt: StoredAsset) -> Any:
        """The row of the value that a receipt is of."""
        found = self._row(database, key)
        if found is None or orjson.loads(found["receipt"])["checksum"] != receipt.checksum:
            raise StorageError(f"{key} was replaced or deleted while it was loaded; load it again")
        return found

    def _row(self, database: Any, key: AssetKey) -> Any:
        query = "select * from flowstone_assets where asset = ? and partition = ?"
        return database.execute(query, _where(key)).fetchone()

    # [END load]

    # [START rest]
    def delete(self, key: AssetKey) -> None:
        """See `IOManager.delete`."""
        with self._transaction() as database:
            database.execute(f"drop table if exists {_table(key)}")
            database.execute("delete from flowstone_assets where asset = ? and partition = ?", _where(key))

    def list_assets(self) -> Iterator[str]:
        """See `IOManager.list_assets`."""
        with self._snapshot() as database:
            return iter(
                [asset for (asset,) in database.execute("select distinct asset from flowstone_assets order by 1")]
            )

    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """See `IOManager.list_partitions`."""
        query = "select partition from flowstone_assets where asset = ? and partition != '' order by 1"
        with self._snapshot() as database:
            return iter([decode(text) for (text,) in database.execute(query, (asset,))])

    def uri(self, key: AssetKey) -> str:
        """See `IOManager.uri`."""
        return f"sqlite://{self.opts.path}/{key.asset}" + (f"?partition={key.text}" if key.text else "")

    # [END rest]

    # [START database]
    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A connection for one transaction that writes: all of it, or nothing. Writers wait for each other."""
        with self._database() as database:
            database.execute("begin immediate")
            database.execute(_RECEIPTS)
            yield database
            database.execute("commit")  # without it, closing rolls back

    @contextmanager
    def _snapshot(self) -> Iterator[Any]:
        """A connection that sees one state of the file, also while others write."""
        with self._database() as database:
            if not database.execute("select 1 from sqlite_master where name = 'flowstone_assets'").fetchone():
                with self._transaction():
                    pass
            database.execute("begin")
            yield database

    @contextmanager
    def _database(self) -> Iterator[Any]:
        try:
            with closing(sqlite3.connect(self.opts.path, timeout=self.opts.timeout, isolation_level=None)) as database:
                with suppress(sqlite3.OperationalError):  # another connection sets it now: the file keeps the mode
                    database.execute("pragma journal_mode = wal")
                database.row_factory = sqlite3.Row
                yield database
        except sqlite3.Error as error:
            raise StorageError(f"{self.opts.path}: {error}") from error

    # [END database]


# [START types]
def _stored_as(field: Any, key: AssetKey) -> Any:
    """The type in which SQLite keeps the values of a column, and from which they are cast back as they were."""
    import pyarrow as pa

    kind, types = field.type, pa.types
    if types.is_integer(kind) or types.is_boolean(kind):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if any(test(kind) for test in (types.is_string, types.is_date, types.is_timestamp, types.is_decimal)):
        return pa.string()
    if types.is_binary(kind) or types.is_null(kind):
        return kind
    raise ValueKindError(f"{key}: SQLite keeps no values of type {kind}, which the column {field.name!r} has")


def _values(column: Any, kind: Any, key: AssetKey) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(kind) and pc.any(pc.is_nan(column)).as_py():
        raise ValueKindError(
            f"{key}: SQLite would keep NaN as null; make it null yourself, or choose another io_manager"
        )
    try:
        return list(column.cast(kind).to_pylist())
    except pa.ArrowInvalid as error:
        raise ValueKindError(f"{key}: SQLite cannot keep all values of type {column.type}: {error}") from error


# [END types]


# [START names]
def _table(key: AssetKey) -> str:
    name = f"assets/{key.asset} {key.text or ''}".rstrip()
    # SQLite takes "eu" and "EU" for one name.
    return _quoted(name if name == name.lower() else f"{name} #{hashlib.sha256(name.encode()).hexdigest()[:8]}")


def _quoted(name: str) -> str:
    """A name in SQL: never as it is, whatever is in it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _where(key: AssetKey) -> tuple[str, str]:
    return key.asset, key.text or ""


# [END names]
