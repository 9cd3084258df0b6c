"""What the ``postgres`` reader says when it cannot read."""

from __future__ import annotations

import json

import psycopg
import pytest

from flowstone_provider.errors import (
    BadRecordError,
    OptionsError,
    ReaderError,
    SourceAccessError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.readers import _postgres_pages
from flowstone_provider.readers.postgres import PostgresOptions
from flowstone_provider.registry import create_reader
from tests.services.postgres import execute, running_postgres
from tests.support.postgres import Drivers, items, reader
from tests.support.processes import free_port

NUMBERS = "SELECT n AS id FROM generate_series(1, 500) n"

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "", "cursor": "id"}, "query.*is empty"),
        ({"query": " ;; ", "cursor": "id"}, "query.*is empty"),
        ({"query": "SELECT 1"}, "cursor.*is missing: .*no order of their own"),
        ({"query": "SELECT 1", "cursor": []}, "cursor.*must name a column"),
        ({"query": "SELECT 1", "cursor": ["a", ""]}, "cursor.*must name a column"),
        ({"query": "SELECT 1", "cursor": ["a", "a"]}, "names a column twice"),
        ({"query": "SELECT 1", "cursor": "id", "parameters": "x"}, "parameters"),
        ({"query": "SELECT 1", "cursors": "id"}, "did you mean 'cursor'"),
    ],
)
def test_options_that_cannot_be_right_are_refused_at_once(options, message):
    with pytest.raises(OptionsError, match=message):
        PostgresOptions(**options)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("SELECT *\nFROM nowhere", SourceNotFoundError, 'relation "nowhere" does not exist, in line 2, column 6 of'),
        ("SELECT * FROM no.where", SourceNotFoundError, 'relation "no.where" does not exist'),
        ("SELECT nothing FROM pg_class", ReaderError, 'column "nothing" does not exist, in line 1, column 8 of'),
        ("SELECT 'ä' AS id form x", ReaderError, 'syntax error at or near "form", in line 1, column 18 of the query'),
        ("SELECT 'ä' AS id;;", None, None),
        ("SELECT (1 AS id", ReaderError, "syntax error"),
        ("SELECT 'open", ReaderError, "unterminated quoted string"),
        ("SELECT 1 AS ident", OptionsError, "no column 'id' to be its cursor; there are: ident"),
        ("SELECT 1 AS ids", OptionsError, "no column 'id' to be its cursor; did you mean 'ids'"),
        ("SELECT FROM pg_class", OptionsError, "no column 'id'"),
        ("SELECT 1 AS id, 2 AS id", ReaderError, "2 columns named 'id', .* rename them with AS"),
        ("SELECT n AS id, 1 / (n - 3) AS x FROM generate_series(1, 5) n", ReaderError, "division by zero"),
        ("SELECT '{}'::json AS id", ReaderError, "could not identify an ordering operator for type json"),
        ("SELECT 1 AS id, '1e400'::jsonb AS x", BadRecordError, "a row has JSON that cannot be read"),
        ("SELECT repeat('x', 5000) AS id", ReaderError, "cursor id is too long for a checkpoint"),
        ("SELECT 1 AS id FROM pg_sleep(60)", SourceUnavailableError, "statement timeout; where a timeout did it"),
    ],
)
def test_a_query_that_fails(url, driver, query, error, message):
    server = Drivers(url, driver, options="-c statement_timeout=300")
    if error is None:
        assert len(items(server, query)) == 1
        return
    with pytest.raises(error, match=message) as raised:
        items(server, query)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("INSERT INTO written VALUES (2) RETURNING id", "the query is INSERT …; it must be one that only reads"),
        ("/* x */ -- y\n update written SET id = 3", "the query is UPDATE …"),
        ("WITH gone AS (DELETE FROM written RETURNING *) SELECT * FROM gone", "the query writes: .*data-modifying"),
        ("SELECT write() AS id", "the query writes: cannot execute INSERT in a read-only transaction"),
        ("SELECT * FROM written FOR UPDATE", "the query writes: cannot execute SELECT FOR UPDATE"),
        ("SELECT nextval('counter') AS id", r"the query writes: cannot execute nextval\(\)"),
    ],
)
def test_a_query_that_writes_is_refused(url, run, driver, query, message):
    run("DROP TABLE IF EXISTS written; CREATE TABLE written (id int); INSERT INTO written VALUES (1)")
    run("CREATE SEQUENCE IF NOT EXISTS counter")
    run("CREATE OR REPLACE FUNCTION write() RETURNS int LANGUAGE sql AS 'INSERT INTO written VALUES (2) RETURNING id'")
    with pytest.raises(ReaderError, match=message) as raised:
        items(Drivers(url, driver), query)
    assert type(raised.value) is ReaderError
    assert run("SELECT array_agg(id) FROM written").fetchone() == ([1],)


def test_a_second_statement_that_hides_in_the_query_is_refused(url, run):
    """Such as a template may bring from the configuration of a run."""
    run("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int)")
    with pytest.raises(ReaderError, match="multiple commands"):
        items(Drivers(url), "SELECT 1 AS id) q; COMMIT; DROP TABLE kept; SELECT * FROM (SELECT 1 AS id")
    assert run("SELECT count(*) FROM kept").fetchone() == (0,)


def test_no_permission(url, run, driver):
    run("DROP ROLE IF EXISTS reporter; CREATE ROLE reporter LOGIN; CREATE TABLE IF NOT EXISTS private (id int)")
    server = Drivers(url.replace("postgres@", "reporter@"), driver)
    with pytest.raises(SourceAccessError, match="permission denied for table private; grant it to the connection's"):
        items(server, "SELECT * FROM private")


def test_no_such_database(url, driver):
    with pytest.raises(SourceNotFoundError, match='database "nowhere" does not exist; check the connection\'s schema'):
        items(Drivers(url.rpartition("/")[0] + "/nowhere", driver), NUMBERS)


def test_no_server(driver):
    url = f"postgresql://me:secret@127.0.0.1:{free_port()}/db"
    with pytest.raises(SourceUnavailableError, match="Connection refused.*check the connection's host") as raised:
        items(Drivers(url, driver), NUMBERS)
    assert "secret" not in str(raised.value)


def test_a_user_who_does_not_exist_or_may_not_log_in(url, run, driver):
    run("DROP ROLE IF EXISTS nobody; CREATE ROLE nobody NOLOGIN")
    with pytest.raises(SourceAccessError, match="not permitted to log in; check the connection's login"):
        items(Drivers(url.replace("postgres@", "nobody@"), driver), NUMBERS)
    with pytest.raises(SourceAccessError, match='role "stranger" does not exist; check'):
        items(Drivers(url.replace("postgres@", "stranger@"), driver), NUMBERS)


def test_a_wrong_password_and_a_server_that_stops(driver):
    with running_postgres() as url:
        execute(url, "CREATE ROLE careful LOGIN PASSWORD 'right'")
        with psycopg.connect(url, autocommit=True) as connection:
            (path,) = connection.execute("SHOW hba_file").fetchone()
            rules = "ARRAY['host all careful 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust']"
            connection.execute(f"COPY (SELECT unnest({rules})) TO '{path}'")
            connection.execute("SELECT pg_reload_conf()")
        for login in ("careful:wr0ng", "careful"):
            with pytest.raises(SourceAccessError, match="password.*; check the connection's login") as raised:
                items(Drivers(url.replace("postgres@", f"{login}@"), driver), NUMBERS)
            assert "wr0ng" not in str(raised.value)
        right = Drivers(url.replace("postgres@", "careful:right@"), driver)
        assert len(items(right, NUMBERS)) == 500
        pages = reader(right, NUMBERS.replace("500", "5000")).pages()
        next(pages)
        # As a fast shutdown does.
        execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'careful'")
        with pytest.raises(SourceUnavailableError, match="terminat|closed"):
            list(pages)
    with pytest.raises(SourceUnavailableError, match="Connection refused"):
        items(right, NUMBERS)


def test_a_connection_that_is_cut_between_pages(url, run, driver, monkeypatch):
    monkeypatch.setattr(_postgres_pages, "PAGE_ITEMS", 10)
    server = Drivers(url, driver, application_name="cut")
    it = reader(server, NUMBERS)
    found, checkpoints = [], []

    def read() -> None:
        for page in it.pages():
            found.extend(page.items)
            checkpoints.append(json.loads(json.dumps(page.checkpoint)))
            if len(checkpoints) == 13:
                run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'")

    with pytest.raises(SourceUnavailableError, match="terminating connection|closed") as raised:
        read()
    assert raised.value.retryable
    assert 130 <= len(found) < 500
    rest = items(server, NUMBERS, after=checkpoints[-1])
    assert found + rest == [{"id": n} for n in range(1, 501)]
    # So does the same reader: it kept no broken connection.
    assert [item for page in it.pages(checkpoints[-1]) for item in page.items] == rest


def test_text_that_is_not_utf_8(postgres_url, driver):
    execute(postgres_url, "DROP DATABASE IF EXISTS bytes")
    execute(postgres_url, "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
    try:
        server = Drivers(postgres_url.rpartition("/")[0] + "/bytes", driver)
        with pytest.raises(ReaderError, match="invalid byte sequence.*SQL_ASCII.*convert_from"):
            items(server, r"SELECT 1 AS id, E'caf\xe9' AS text")
        as_bytes = r"convert_to(E'caf\xe9', 'SQL_ASCII')"
        converted = f"SELECT 1 AS id, convert_from(convert({as_bytes}, 'LATIN1', 'UTF8'), 'SQL_ASCII') AS text"
        assert items(server, converted) == [{"id": 1, "text": "café"}]
    finally:
        execute(postgres_url, "DROP DATABASE bytes WITH (FORCE)")


def test_text_of_a_database_with_another_encoding(postgres_url, driver):
    execute(postgres_url, "DROP DATABASE IF EXISTS latin")
    execute(postgres_url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        server = Drivers(postgres_url.rpartition("/")[0] + "/latin", driver)
        query = "SELECT 1 AS id, n, 'é' || n AS text FROM generate_series(1, 2000) n"
        whole = items(server, query)
        assert {item["text"] for item in whole} == {f"é{n}" for n in range(1, 2001)}
        pages = list(reader(server, query).pages())
        assert items(server, query, after=pages[3].checkpoint) == whole[sum(len(page.items) for page in pages[:4]) :]
    finally:
        execute(postgres_url, "DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize("extra", [{}, {"cursor": "dictcursor"}, {"cursor": "namedtuplecursor"}, {"autocommit": True}])
def test_an_airflow_connection(url, run, monkeypatch, extra):
    host, _, port = url.partition("@")[2].partition("/")[0].partition(":")
    connection = {
        "conn_type": "postgres",
        "host": host,
        "port": int(port),
        "login": "postgres",
        "schema": url.rpartition("/")[2],
        "extra": {**extra, "options": "-c TimeZone=Asia/Tokyo -c IntervalStyle=sql_standard -c extra_float_digits=-5"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_FLOWSTONE_PG", json.dumps(connection))
    query = "SELECT 1 AS id, timestamptz '2024-01-01 00:00Z' AS at, interval '26 hours' AS long, 1::float8 / 3 AS third"
    expected = {"id": 1, "at": "2024-01-01T00:00:00+00:00", "long": "PT26H", "third": 1 / 3}
    it = reader(AirflowResources(), query, conn_id="flowstone_pg")
    assert [item for page in it.pages() for item in page.items] == [expected]
    (spec,) = it.splits(1)
    assert [item for page in create_reader(spec, AirflowResources()).pages() for item in page.items] == [expected]
    with pytest.raises(SourceNotFoundError, match="PostgreSQL, connection 'flowstone_pg': relation"):
        items(AirflowResources(), "SELECT * FROM nowhere", conn_id="flowstone_pg")


def test_no_airflow_connection(airflow_db):
    with pytest.raises(SourceAccessError, match="no Airflow connection 'missing'"):
        items(AirflowResources(), NUMBERS, conn_id="missing")
