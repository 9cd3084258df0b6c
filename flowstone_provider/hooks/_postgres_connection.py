"""Transactions in PostgreSQL.

psycopg composes the statements. Values stand in them as literals, as COPY needs it, which takes no parameters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowstone_provider.errors import (
    FlowstoneError,
    StorageAccessError,
    StorageError,
    ValueKindError,
)
from flowstone_provider.hooks._postgres_sql import any_connection, missing, psycopg_sql
from flowstone_provider.hooks.resources import AirflowResources

if TYPE_CHECKING:
    from psycopg.sql import Composable

UNDEFINED_TABLE = "42P01"
LOCK_NOT_AVAILABLE = "55P03"

_DRIVERS = {"adbc_driver_manager", "psycopg", "psycopg2"}

# What SQLSTATE codes, or classes of them, mean (PostgreSQL's manual, "Appendix A. PostgreSQL Error Codes"); the first
# that fits counts.
_MEANINGS: list[tuple[type[FlowstoneError], str, tuple[str, ...]]] = [
    (StorageAccessError, "{said}; grant it to the connection's user", ("42501",)),
    (StorageAccessError, "{said}; check the connection's login and password", ("28",)),
    (StorageError, "{said}; make the schema, or choose another with the option `schema_name`", ("3F000",)),
    (
        ValueKindError,
        "{said}: a text has the character NUL, or one that the database's encoding has not; remove it, or store the "
        "value as bytes",
        ("22021", "22P05"),
    ),
    (ValueKindError, "{said}", ("22", "42804", "42883")),
    (
        StorageError,
        "{said}: others read or store the asset, and its table cannot change meanwhile; try again later, and load as a "
        "whole what you read to store it again",
        (LOCK_NOT_AVAILABLE,),
    ),
]

# A server that refuses a connection says why, but no driver gives the code of it.
_REFUSED = re.compile(
    r"authentication failed|no password supplied|role \"[^\"]*\" does not exist|no pg_hba\.conf entry"
    r"|not permitted to (log in|connect)|permission denied for database"
)


class Server:
    """The server of an Airflow connection.

    Args:
        conn_id: The connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id

    @contextmanager
    def transaction(self, about: str) -> Iterator[Transaction]:
        """A transaction on a connection of its own, which is committed at the end of the block.

        Args:
            about: What it is for, for messages.

        Raises:
            StorageError: The server cannot be reached, or refuses.
            StorageAccessError: The connection's user may not do it.
            ValueKindError: The server cannot hold a value.
        """
        utf8 = psycopg_sql().SQL("SET LOCAL client_encoding = 'UTF8'")
        with self._errors(about), closing(self._connect()) as connection:
            transaction = _plain(connection)
            transaction.execute(utf8)
            yield transaction
            connection.commit()

    @contextmanager
    def bulk(self, about: str, *, snapshot: bool = False) -> Iterator[BulkTransaction]:
        """As `transaction`, over ADBC, which moves Arrow's data. To begin it costs several times as much.

        Args:
            about: What it is for, for messages.
            snapshot: It only reads, and all of it sees one moment.
        """
        sql = psycopg_sql()
        with self._errors(about), closing(_adbc(self._conninfo())) as connection:
            transaction = BulkTransaction(connection.cursor)
            if snapshot:
                transaction.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                # Both would mix the rows, which come in the order of the table otherwise.
                transaction.execute(sql.SQL("SET LOCAL max_parallel_workers_per_gather = 0"))
                transaction.execute(sql.SQL("SET LOCAL synchronize_seqscans = off"))
            yield transaction
            connection.commit()

    def _connect(self) -> Any:
        return AirflowResources().client("postgres", self._conn_id)

    def _conninfo(self) -> str:
        """What libpq is to connect with: what Airflow's hook connects with, which knows of tokens and certificates."""
        from psycopg.conninfo import make_conninfo

        with closing(self._connect()) as connection:
            info = connection.info
            # The first is psycopg's name, the second that of psycopg2, which Airflow takes without SQLAlchemy 2.
            get = getattr(info, "get_parameters", None)
            found = {**(get() if get else info.dsn_parameters), "password": info.password}
        # Arrow's texts are UTF-8.
        found["client_encoding"] = "UTF8"
        return make_conninfo(**{name: value for name, value in found.items() if value})

    @contextmanager
    def _errors(self, about: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not {cls.__module__.partition(".")[0] for cls in type(error).__mro__} & _DRIVERS:
                raise
            code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
            said = f"{about}: connection {self._conn_id!r}: {_said(error)}"
            for meaning, text, codes in _MEANINGS:
                if code.startswith(codes):
                    raise meaning(text.format(said=said), code=code) from error
            if not code and _REFUSED.search(_said(error)):
                raise StorageAccessError(f"{said}; check the connection's login and password", code=code) from error
            remedy = "" if code else "; check the connection and the server, and try again"
            raise StorageError(said + remedy, code=code) from error


class Transaction:
    """Statements of one transaction.

    Args:
        cursor: Makes a cursor.
        psycopg: Whether it is one of psycopg 3, which quotes for its connection.
    """

    def __init__(self, cursor: Callable[[], Any], *, psycopg: bool = False) -> None:
        self._cursor = cursor
        self._psycopg = psycopg

    def execute(self, statement: Composable) -> None:
        """A statement without an answer that counts."""
        with self._cursor() as cursor:
            self._run(cursor, statement)

    def rows(self, query: Composable) -> list[tuple[Any, ...]]:
        """All rows of a query that has few."""
        with self._cursor() as cursor:
            self._run(cursor, query)
            return cursor.fetchall()  # type: ignore[no-any-return]

    def lock(self, name: str) -> None:
        """Wait until no other transaction has a lock of this name; it ends with the transaction."""
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        sql = psycopg_sql()
        self.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(sql.Literal(number)))

    def _run(self, cursor: Any, statement: Composable) -> None:
        cursor.execute(statement.as_string(cursor if self._psycopg else any_connection()))


class BulkTransaction(Transaction):
    """A transaction that moves Arrow's data."""

    def ingest(self, schema: str, table: str, reader: Any) -> None:
        """Append record batches to a table, as a stream."""
        with self._cursor() as cursor:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=schema)

    def stream(self, query: Composable, batch_bytes: int) -> Iterator[Any]:
        """The rows of a query as record batches of about so many bytes.

        Raises:
            StorageError: The server stopped in the middle.
        """
        import pyarrow
        from adbc_driver_postgresql import StatementOptions

        with self._cursor() as cursor:
            cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(batch_bytes)})
            self._run(cursor, query)
            try:
                yield from cursor.fetch_record_batch()
            except (pyarrow.ArrowException, OSError) as error:
                # What ADBC says comes through pyarrow here.
                raise StorageError(f"the server stopped in the middle: {_line(error)}; load it again") from error


def _plain(connection: Any) -> Transaction:
    # An Airflow connection may ask for rows as dicts, or for transactions of one statement.
    connection.autocommit = False
    if hasattr(connection, "set_client_encoding"):
        from psycopg2.extensions import cursor

        connection.set_client_encoding("UTF8")
        return Transaction(lambda: connection.cursor(cursor_factory=cursor))
    from psycopg.rows import tuple_row

    return Transaction(lambda: connection.cursor(row_factory=tuple_row), psycopg=True)


def _adbc(conninfo: str) -> Any:
    try:
        from adbc_driver_manager import AdbcConnection
        from adbc_driver_manager.dbapi import Connection
    except ImportError as error:
        raise missing("ADBC") from error
    # The connection would close its database with itself.
    return Connection(_Kept(), AdbcConnection(_database(conninfo)))


class _Kept:
    def close(self) -> None:
        """Stays for other connections."""


# A database of ADBC keeps no connection, but reads all types of the server when it is made, which takes longer than to
# connect. Few servers are used by one process; tokens are other credentials each time.
@lru_cache(maxsize=4)
def _database(conninfo: str) -> Any:
    import adbc_driver_postgresql

    return adbc_driver_postgresql.connect(conninfo)


def _said(error: Any) -> str:
    if hasattr(error, "diag") and error.diag.message_primary:
        return str(error.diag.message_primary)
    for name, text in getattr(error, "details", None) or ():
        if name in (b"PG_DIAG_MESSAGE_PRIMARY", "PG_DIAG_MESSAGE_PRIMARY"):
            return text.decode() if isinstance(text, bytes) else str(text)
    return _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
