"""How statements for PostgreSQL are composed: by psycopg, which quotes the names and values in them."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from flowstone_provider.errors import MissingExtraError


def psycopg_sql() -> Any:
    """The module ``psycopg.sql``.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from psycopg import sql
    except ImportError as error:
        raise missing("psycopg") from error
    return sql


def missing(library: str) -> MissingExtraError:
    """The error of a library that is not installed."""
    return MissingExtraError(
        f"the IO manager postgres needs {library}: pip install 'airflow-provider-flowstone[postgres]'", extra="postgres"
    )


@lru_cache(maxsize=1)
def any_connection() -> Any:
    """What stands for the connection when a statement becomes text for a driver other than psycopg 3.

    The text is for a session with the client encoding UTF-8, whatever its other settings are. It takes a quoting of
    texts of our own: without a connection libpq quotes for the encoding of the one that the process has opened last
    (PostgreSQL's manual, "PQescapeString"), and with GBK or BIG5 it takes a quote for a part of the character before.
    """
    from psycopg import adapters
    from psycopg.adapt import AdaptersMap
    from psycopg.types.string import StrDumperUnknown

    class Text(StrDumperUnknown):
        def quote(self, obj: str) -> bytes:
            # To dump it refuses what is no text of PostgreSQL.
            data = bytes(self.dump(obj) or b"")
            return b" E'" + data.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"'"

    ours = AdaptersMap(adapters)
    ours.register_dumper(str, Text)
    return SimpleNamespace(adapters=ours, connection=None)
