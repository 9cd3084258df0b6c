"""The ``postgres`` reader passes the suite, whatever the cursor and the driver."""

from __future__ import annotations

from typing import Any, ClassVar

import psycopg
import psycopg2
import pytest

from flowstone_provider.readers import _postgres_pages
from flowstone_provider.readers.postgres import PostgresReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.services.postgres import execute, fresh_database
from tests.support.resources import ServiceResources

pytestmark = pytest.mark.postgres

TEXTS = ["plain", "", 'quoted "word"', "back\\slash", "it's", "Grüße 🌍", "two\nlines", "\x01\x02\ttab", None]

NUMBERS = "CREATE FUNCTION numbers(int) RETURNS SETOF int LANGUAGE sql AS 'SELECT generate_series(0, $1 - 1)'"


class Psycopg2Resources(ServiceResources):
    def client(self, service, conn_id=None):
        return psycopg2.connect(self._postgres)


class Postgres(ItemReaderContract):
    """Tables are made once for each number of rows: the tests only read them."""

    reader = PostgresReader
    count = 40
    many = 2_000
    splittable = True
    resources_class: ClassVar[type] = ServiceResources
    database: ClassVar[str]
    tables: ClassVar[dict[int, tuple[dict[str, Any], list[Any]]]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def own_database(cls, postgres_url):
        with fresh_database(postgres_url) as url:
            cls.database, cls.tables = url, {}
            execute(url, NUMBERS)
            cls.resources = cls.resources_class(postgres=url)
            yield

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch):
        monkeypatch.setattr(_postgres_pages, "PAGE_ITEMS", 5)

    def make_source(self, folder, count):
        if count not in self.tables:
            with psycopg.connect(self.database) as connection:
                self.tables[count] = self.make_table(connection, f"rows_{count}", count)
        return self.tables[count]

    def make_table(self, connection, table, count):
        raise NotImplementedError


class TestUniqueCursor(Postgres):
    def make_table(self, connection, table, count):
        items = [{"id": n, "text": TEXTS[n % len(TEXTS)]} for n in range(count)]
        connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, text text)")
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES (%(id)s, %(text)s)", items[::-1])
        return {"query": f"SELECT * FROM {table}", "cursor": "id"}, items


class Ordered(Postgres):
    """The items come as is promised: in the order of the cursor, then of the digests of their JSON."""

    rows: ClassVar[str]
    """SQL of a row's columns, from its number n."""
    cursor: ClassVar[tuple[str, ...]]
    order: ClassVar[str]
    projected: ClassVar[str] = "*"

    def make_table(self, connection, table, count):
        connection.execute(f"SET TimeZone = 'UTC'; CREATE TABLE {table} AS SELECT {self.rows} FROM numbers({count}) n")
        digest = "sha256(convert_to(row_to_json(r)::text, 'UTF8'))"
        found = connection.execute(
            f"SELECT row_to_json(r) FROM {table} t, LATERAL (SELECT {self.projected} FROM (SELECT t.*) t) r "
            f"ORDER BY {self.order}, {digest}"
        )
        return {"query": f"SELECT * FROM {table}", "cursor": list(self.cursor)}, [row[0] for row in found]


class TestLongTies(Ordered):
    """Longer than a block of 25 rows; some rows of a tie are equal in everything."""

    rows = "date '2024-02-28' + n / 30 AS day, (n / 20)::text AS text"
    cursor = ("day",)
    order = "t.day"


class TestShortTiesWithPsycopg2(Ordered):
    """Equal numbers may have different texts: 1.0 and 1.00."""

    resources_class = Psycopg2Resources

    rows = "n / 8 + CASE WHEN n % 3 = 0 THEN 0.0 ELSE 0.00 END AS price, n AS id"
    cursor = ("price",)
    order = "t.price, t.price::text"
    projected = "price::text, id"


class TestNullsInTwoColumns(Ordered):
    rows = """
        nullif(chr(97 + n % 4), 'd') AS kind,
        CASE WHEN n % 3 > 0 THEN timestamptz '2024-01-01 00:00:00.000001Z' + n / 20 * interval '1 hour' END AS at,
        n AS id"""
    cursor = (
        "kind",
        "at",
    )
    order = "t.kind, t.at"
