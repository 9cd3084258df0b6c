"""The ``postgres`` IO manager over time: changing schemas, faults, deletion, connections."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

import psycopg
import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import (
    AssetDamagedError,
    AssetNotFoundError,
    FlowstoneError,
    SourceAccessError,
    StorageAccessError,
    StorageError,
    ValueKindError,
)
from flowstone_provider.hooks import _postgres_tables
from flowstone_provider.hooks.postgres import PostgresIOManager
from tests.services.postgres import execute
from tests.support.postgres import airflow_connection
from tests.support.postgres_assets import KEY, many_batches, numbers
from tests.support.processes import free_port

pytestmark = pytest.mark.postgres


# Schemas that change


def test_new_columns_and_new_types_leave_old_partitions_as_they_were(manager, run):
    tables = [
        pa.table({"n": [1], "old": ["x"]}),
        pa.table({"new": [1.5], "n": [2]}),
        pa.table({"n": ["text"]}),
        pa.table({"n~text": [7], "n": ["both"]}),
    ]
    keys = [AssetKey("flights", f"{number}") for number in range(len(tables))]
    for key, table in zip(keys, tables, strict=True):
        manager.store(key, table)
    for key, table in zip(keys, tables, strict=True):
        assert manager.load(key).equals(table)
    manager.store(keys[0], tables[2])
    assert manager.load(keys[0]).equals(tables[2])
    assert run("SELECT n, \"n~text\" FROM flights WHERE _partition = '0'").fetchall() == [(None, "text")]


def test_columns_that_were_altered_by_hand(manager, run):
    manager.store(KEY, pa.table({"n": [1, 2], "m": [3, 4], "text": ["a", "b"]}))
    run("CREATE TYPE letter AS ENUM ('a', 'b')")
    run('ALTER TABLE "flights/enriched" ALTER n TYPE numeric, ALTER text TYPE letter USING text::letter')
    assert manager.load(KEY, list) == [{"n": 1, "m": 3, "text": "a"}, {"n": 2, "m": 4, "text": "b"}]
    run('ALTER TABLE "flights/enriched" ALTER n TYPE money, ALTER m TYPE int4range USING int4range(0, m::int)')
    for name, kind in (("n", "money"), ("m", "int4range")):
        with pytest.raises(AssetDamagedError, match=f"column '{name}' was stored as int64 and is {kind} in PostgreSQL"):
            manager.load(KEY, columns=[name])
    assert manager.load(KEY, columns=["text"]).num_rows == 2
    run('ALTER TABLE "flights/enriched" DROP m')
    with pytest.raises(AssetDamagedError, match="has lost its column 'm' in 'flights/enriched'"):
        manager.load(KEY)
    manager.store(KEY, numbers())
    assert manager.load(KEY).equals(numbers())


def test_rows_and_values_that_were_changed_by_hand(manager, run):
    manager.store(KEY, numbers())
    run('DELETE FROM "flights/enriched" WHERE n = 1')
    with pytest.raises(AssetDamagedError, match="has 2 rows, but 3 were stored"):
        manager.load(KEY)
    manager.store(KEY, {"a": 1})
    run("UPDATE flowstone_assets SET value = '{\"a\": 2}'")
    with pytest.raises(AssetDamagedError, match="is not what was stored"):
        manager.load(KEY)


# Whole or not at all


def terminate(run, state="true"):
    return run(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        f"WHERE application_name = 'assets' AND pid <> pg_backend_pid() AND {state}"
    ).fetchone()[0]


def test_a_connection_that_drops_in_the_middle_of_a_store(manager, run):
    manager.store(KEY, numbers())
    with pytest.raises(StorageError, match="cannot store flights/enriched, partition 2026-01-15: connection 'assets'"):
        manager.store(KEY, many_batches(20, lambda: terminate(run)))
    assert manager.load(KEY).equals(numbers())
    assert manager.receipt(KEY).rows == 3


def test_an_error_of_another_database_that_the_value_comes_from_is_no_error_of_this_one(manager):
    def fails():
        yield from numbers().to_batches()
        raise psycopg.OperationalError("the other server is gone")

    with pytest.raises(psycopg.OperationalError, match=r"^the other server is gone$"):
        manager.store(KEY, fails())
    assert not manager.exists(KEY)


def test_a_connection_that_drops_in_the_middle_of_a_load(manager, run):
    manager.store(KEY, many_batches(100))
    reader = manager.load(KEY, Iterator[pa.RecordBatch])
    next(reader)
    assert terminate(run, "query LIKE 'COPY%'") == 1
    with pytest.raises(StorageError, match="the server stopped in the middle: .*load it again"):
        list(reader)
    assert sum(batch.num_rows for batch in manager.load(KEY, Iterator[pa.RecordBatch])) == 2_000_000


def connections(run):
    return run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'assets'").fetchone()[0]


def test_a_load_that_is_given_up_leaves_no_connection(manager, run):
    manager.store(KEY, many_batches(100))
    for take in (0, 1):
        reader = manager.load(KEY, pa.RecordBatchReader)
        for _ in range(take):
            reader.read_next_batch()
        del reader
        while connections(run):  # the server needs a moment; the test has a timeout
            pass


def test_an_asset_is_made_of_itself_while_it_streams(manager):
    manager.store(KEY, many_batches(20))
    stream = manager.load(KEY, Iterator[pa.RecordBatch])
    manager.store(KEY, (batch.filter(pa.compute.equal(batch["n"], 7)) for batch in stream))
    assert manager.load(KEY).num_rows == 20_000


def test_a_new_column_waits_for_readers_but_not_for_ever(manager, monkeypatch):
    monkeypatch.setattr(_postgres_tables, "_PATIENCE", "100ms")
    manager.store(KEY, many_batches(20))
    stream = manager.load(KEY, Iterator[pa.RecordBatch])
    next(stream)
    with pytest.raises(StorageError, match="others read or store the asset, and its table cannot change.*later"):
        manager.store(KEY, pa.table({"another": [1]}))
    assert sum(batch.num_rows for batch in stream) > 0
    manager.store(KEY, pa.table({"another": [1]}))
    assert manager.load(KEY, list) == [{"another": 1}]


def test_what_is_replaced_between_receipt_and_load_is_said(manager):
    manager.store(KEY, numbers())
    stream = manager.load(KEY, Iterator[pa.RecordBatch])
    manager.store(KEY, numbers(4))
    with pytest.raises(StorageError, match="replaced or deleted while it was loaded; load it again"):
        next(stream)


def test_stores_of_an_asset_that_is_new_to_all_of_them(url):
    start = threading.Barrier(8)
    problems = []

    def write(number):
        try:
            start.wait()
            PostgresIOManager(conn_id="assets").store(
                AssetKey("flights", f"{number % 4}"), pa.table({f"c{number}": [number]})
            )
        except FlowstoneError as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert problems == []
    manager = PostgresIOManager(conn_id="assets")
    assert [manager.load(AssetKey("flights", f"{number}")).num_rows for number in range(4)] == [1] * 4


# Delete, list, clean


def tables(run):
    names = run("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')")
    return {name for (name,) in names.fetchall()}


def test_delete_drops_the_tables(manager, run):
    for number in (1, 2):
        manager.store(AssetKey("flights", f"{number}"), numbers())
    manager.delete(AssetKey("flights", "1"))
    assert tables(run) == {"flowstone_assets", "flights", "flights|2"}
    manager.delete(AssetKey("flights", "2"))
    assert tables(run) == {"flowstone_assets"}


def test_what_is_deleted_while_somebody_reads_it_is_dropped_by_clean(manager, run, monkeypatch):
    monkeypatch.setattr(_postgres_tables, "_PATIENCE", "100ms")
    manager.store(KEY, many_batches(20))
    manager.store(AssetKey("kept"), numbers())
    stream = manager.load(KEY, Iterator[pa.RecordBatch])
    next(stream)
    manager.delete(KEY)
    assert not manager.exists(KEY)
    assert manager.clean(datetime.now(timezone.utc)) == 0
    assert sum(batch.num_rows for batch in stream) > 0, "who reads a value has all of it"
    assert manager.clean(datetime.now(timezone.utc)) > 0
    assert tables(run) == {"flowstone_assets", "kept", "kept|"}
    assert manager.load(AssetKey("kept")).equals(numbers())


def test_nothing_was_ever_stored(manager, run):
    assert list(manager.list_assets()) == []
    assert list(manager.list_partitions("flights")) == []
    assert not manager.exists(KEY)
    manager.delete(KEY)
    assert manager.clean(datetime.now(timezone.utc)) == 0
    with pytest.raises(AssetNotFoundError, match="the IO manager postgres has no value of flights/enriched"):
        manager.load(KEY)
    assert tables(run) == set(), "to ask makes no table"


def test_ten_thousand_partitions(manager, run):
    manager.store(AssetKey("flights", "p0"), numbers())
    run(
        "INSERT INTO flowstone_assets (asset, partition, kind, bytes, checksum, stored_at) "
        "SELECT 'flights', 'p' || n, 'json', 1, 'x:y', 'now' FROM generate_series(1, 9999) n"
    )
    found = list(manager.list_partitions("flights"))
    assert len(found) == 10_000
    assert found == sorted(found)
    assert manager.load(AssetKey("flights", "p0")).equals(numbers())


# Connections


def test_no_server(monkeypatch):
    connection = json.loads(airflow_connection(f"postgresql://me:hush@127.0.0.1:{free_port()}/db"))
    monkeypatch.setenv("AIRFLOW_CONN_ASSETS", json.dumps(connection))
    with pytest.raises(StorageError, match="Connection refused.*check the connection and the server") as raised:
        PostgresIOManager(conn_id="assets").store(KEY, numbers())
    assert "hush" not in str(raised.value)


def test_a_role_that_may_not_connect(url, run, monkeypatch):
    run("DROP ROLE IF EXISTS barred; CREATE ROLE barred NOLOGIN")
    for role, message in (("barred", "is not permitted to log in"), ("stranger", 'role "stranger" does not exist')):
        monkeypatch.setenv("AIRFLOW_CONN_ASSETS", airflow_connection(url.replace("postgres@", f"{role}@")))
        with pytest.raises(StorageAccessError, match=f"{message}; check the connection's login") as raised:
            PostgresIOManager(conn_id="assets").store(KEY, numbers())
        assert not raised.value.retryable
    run("DROP ROLE barred")


def test_no_connection(airflow_db):
    with pytest.raises(SourceAccessError, match="no Airflow connection 'missing'"):
        PostgresIOManager(conn_id="missing").receipt(KEY)


@pytest.mark.parametrize(
    "extra",
    [
        {"cursor": "dictcursor"},
        {"options": "-c standard_conforming_strings=off"},
        # Libraries that took UTF-8 for it would read a quote as a part of the character before.
        {"client_encoding": "GBK"},
    ],
)
def test_the_settings_of_a_connection(url, monkeypatch, extra):
    monkeypatch.setenv("AIRFLOW_CONN_ASSETS", airflow_connection(url, **extra))
    manager = PostgresIOManager(conn_id="assets")
    table = pa.table({"text": ["back\\slash", "it's", "\\' OR 1=1 --", "ü名表\\'", "表", "名'"]})
    manager.store(AssetKey("flights", "\\'"), table)
    assert manager.load(AssetKey("flights", "\\'")).equals(table)
    for text in table.column("text").to_pylist():
        assert manager.load(AssetKey("flights", "\\'"), list, where=[("text", "=", text)]) == [{"text": text}]
    manager.store(KEY, "\\' it's")
    assert manager.load(KEY) == "\\' it's"


def test_the_other_driver(url, monkeypatch):
    """As Airflow's hook connects where Airflow runs on SQLAlchemy 1.4."""
    import psycopg2

    from flowstone_provider.hooks.resources import AirflowResources

    monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id: psycopg2.connect(url))
    manager = PostgresIOManager(conn_id="assets")
    manager.store(AssetKey("Grüße", "é"), numbers())
    assert manager.load(AssetKey("Grüße", "é")).equals(numbers())
    assert list(manager.list_partitions("Grüße")) == ["é"]
    with pytest.raises(ValueKindError, match="Unicode escape sequence"):
        manager.store(KEY, "a\0b")
    monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id: psycopg2.connect(url + "x"))
    with pytest.raises(StorageError, match="does not exist; check the connection"):
        manager.receipt(KEY)


def test_a_database_of_another_encoding(postgres_url, monkeypatch):
    execute(postgres_url, "DROP DATABASE IF EXISTS latin")
    execute(postgres_url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        monkeypatch.setenv("AIRFLOW_CONN_ASSETS", airflow_connection(postgres_url.rpartition("/")[0] + "/latin"))
        manager = PostgresIOManager(conn_id="assets")
        table = pa.table({"é": ["über"]})
        manager.store(AssetKey("Grüße"), table)
        assert manager.load(AssetKey("Grüße")).equals(table)
        with pytest.raises(ValueKindError, match="one that the database's encoding has not"):
            manager.store(AssetKey("Grüße"), pa.table({"é": ["名前"]}))
        assert manager.load(AssetKey("Grüße")).equals(table)
    finally:
        execute(postgres_url, "DROP DATABASE latin WITH (FORCE)")
