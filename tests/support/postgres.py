"""The ``postgres`` reader as tests call it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg
import psycopg2

from flowstone_provider.contracts.item_reader import Checkpoint, Json, Resources
from flowstone_provider.readers.postgres import PostgresOptions, PostgresReader
from tests.support.resources import ServiceResources


class Drivers(ServiceResources):
    """Connections of either driver; of psycopg it keeps the statements sent, and counts the rows that arrive.

    Args:
        url: The database.
        driver: ``psycopg`` or ``psycopg2``.
        **arguments: Of the driver's ``connect``.
    """

    def __init__(self, url: str, driver: str = "psycopg", **arguments: Any) -> None:
        super().__init__(postgres=url)
        self.url = url
        self.driver = driver
        self.statements: list[str] = []
        self.rows = 0
        self._arguments = arguments

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """A new connection."""
        if self.driver == "psycopg2":
            return psycopg2.connect(self.url, **self._arguments)
        return psycopg.connect(self.url, cursor_factory=self._recording(), **self._arguments)

    def _recording(self) -> type[psycopg.Cursor]:
        kept = self

        class Recording(psycopg.Cursor):
            def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
                kept.statements.append(query if isinstance(query, str) else query.as_string(self))
                return super().execute(query, *args, **kwargs)

            def fetchall(self) -> Any:
                rows = super().fetchall()
                kept.rows += len(rows)
                return rows

        return Recording

    def streamed(self) -> list[str]:
        """The queries whose rows were read."""
        return [text.partition(" CURSOR FOR ")[2] for text in self.statements if "DECLARE" in text]


def reader(resources: Resources, query: str, cursor: str | list[str] = "id", **options: Any) -> PostgresReader:
    """A reader."""
    return PostgresReader(PostgresOptions(query=query, cursor=cursor, **options), resources)


def items(
    resources: Resources,
    query: str,
    cursor: str | list[str] = "id",
    after: Checkpoint | None = None,
    **options: Any,
) -> list[Json]:
    """All that a reader yields."""
    with closing(reader(resources, query, cursor, **options)) as it:
        return [item for page in it.pages(after) for item in page.items]


def airflow_connection(url: str, **extra: Any) -> str:
    """An Airflow connection to a database, as the value of an ``AIRFLOW_CONN_`` variable.

    Args:
        url: The database.
        **extra: What else the driver is to connect with.
    """
    parts = urlsplit(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.path.removeprefix("/"),
            "extra": extra,
        }
    )
