"""A connection to PostgreSQL, of psycopg 2 or 3, as the ``postgres`` reader needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import OptionsError, ReaderError
from flowstone_provider.readers._postgres_errors import postgres_errors
from flowstone_provider.readers._postgres_query import BEFORE_QUERY, Column, Query, describe, types_of

# All of a reading sees one snapshot, and the server refuses what writes. Texts are the same whatever the settings of
# server, database and user are: times in UTC, dates and intervals in ISO 8601, floats with every digit.
_BEGIN = """
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL DateStyle = 'ISO';
    SET LOCAL IntervalStyle = 'iso_8601';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL client_encoding = 'UTF8';
"""

_CURSOR = "flowstone_rows"


class Connection:
    """One transaction on a connection; it ends when that is closed.

    The driver is what the Airflow provider has chosen: psycopg, or psycopg2 where Airflow runs on SQLAlchemy 1.4.

    Args:
        connection: Of psycopg or psycopg2, with no transaction begun.
        server: What messages call the server.
    """

    def __init__(self, connection: Any, server: str) -> None:
        packages = {cls.__module__.partition(".")[0] for cls in type(connection).__mro__}
        self._is_2 = "psycopg2" in packages
        self._driver = import_module("psycopg2" if self._is_2 else "psycopg")
        self.sql = import_module(f"{self._driver.__name__}.sql")
        self._server = server
        self._connection = connection
        self._cursor: Any = None

    def begin(self) -> None:
        """Begin the transaction."""
        # An Airflow connection may ask for rows as dicts, or for transactions of one statement.
        if self._is_2:
            plain = {"cursor_factory": import_module("psycopg2.extensions").cursor}
        else:
            plain = {"row_factory": import_module("psycopg.rows").tuple_row}
            # What is prepared would outlive the transaction, behind a PgBouncer.
            self._connection.prepare_threshold = None
        with postgres_errors(self._server):
            self._connection.autocommit = False
            if self._is_2:
                self._connection.set_client_encoding("UTF8")
            self._cursor = self._connection.cursor(**plain)
            self._cursor.execute(_BEGIN)

    def query(self, text: str, parameters: Any, cursor: list[str]) -> Query:
        """Let the server look at a query.

        Args:
            text: The query.
            parameters: A list or a dict of values for its placeholders, if it has any.
            cursor: The names of the columns to read along.

        Raises:
            OptionsError: There is no such column; the parameters are not those of the query.
            ReaderError: The server does not accept the query, or two columns have one name.
        """
        if parameters:
            text = self._bound(text, parameters)
        statement = describe(self.sql, text)
        with postgres_errors(self._server, text, len(BEFORE_QUERY)):
            if self._is_2:
                self._cursor.execute(statement)
            else:
                # Only the protocol of binary results refuses a second statement that hides in the query's text.
                self._cursor.execute(statement, binary=True)
            found = [(column[0], column[1]) for column in self._cursor.description or []]
        names = [name for name, _ in found]
        for name in names:
            if names.count(name) > 1:
                raise ReaderError(
                    f"{self._server}: the query has {names.count(name)} columns named {name!r}, and an item can have "
                    "one: rename them with AS",
                    column=name,
                )
        types = {oid: (name, element) for oid, name, element in self.fetch(types_of(self.sql, [o for _, o in found]))}
        columns = {name: Column(name, types[oid][0], oid, types[oid][1]) for name, oid in found}
        for name in cursor:
            if name not in columns:
                raise OptionsError(
                    f"{self._server}: the query has no column {name!r} to be its cursor{nearest(name, names)}",
                    column=name,
                )
        return Query(self.sql, text, list(columns.values()), [columns[name] for name in cursor])

    def _bound(self, text: str, parameters: Any) -> str:
        # The drivers raise these where placeholders and values do not fit.
        problems = (self._driver.Error, TypeError, ValueError, LookupError)
        try:
            if self._is_2:
                return self._cursor.mogrify(text, parameters).decode("utf-8")  # type: ignore[no-any-return]
            return self._driver.ClientCursor(self._connection).mogrify(text, parameters)  # type: ignore[no-any-return]
        except problems as error:
            raise OptionsError(
                f"postgres: the parameters do not fit the query: {type(error).__name__}: {error}; with parameters, a "
                "percent sign that is none of a placeholder is written %%"
            ) from error

    def fetch(self, statement: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement that has few."""
        with postgres_errors(self._server):
            self._cursor.execute(statement)
            return self._cursor.fetchall()  # type: ignore[no-any-return]

    def stream(self, statement: Any, size: Callable[[], int]) -> Iterator[tuple[list[tuple[Any, ...]], bool]]:
        """The rows of a query, block by block, and whether a block is the last. It ends a stream before it.

        Args:
            statement: The query.
            size: Says how many rows to ask for, each time anew.
        """
        sql, name = self.sql, self.sql.Identifier(_CURSOR)
        with postgres_errors(self._server):
            self._cursor.execute(sql.SQL("CLOSE ALL; DECLARE {} NO SCROLL CURSOR FOR {}").format(name, statement))
        last = False
        while not last:
            asked = size()
            block = self.fetch(sql.SQL("FETCH FORWARD {} FROM {}").format(sql.Literal(asked), name))
            last = len(block) < asked
            yield block, last

    def close(self) -> None:
        """End the transaction and close the connection. It may be closed already."""
        self._connection.close()
