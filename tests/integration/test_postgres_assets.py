"""The ``postgres`` IO manager on bad input, under faults, and what others see of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import (
    AssetDamagedError,
    AssetError,
    AssetNotFoundError,
    FlowstoneError,
    SourceAccessError,
    StorageAccessError,
    StorageError,
    ValueKindError,
)
from flowstone_provider.hooks import _postgres_tables
from flowstone_provider.hooks.postgres import PostgresIOManager
from tests.services.postgres import execute, fresh_database
from tests.support.postgres import airflow_connection
from tests.support.processes import free_port

pytestmark = pytest.mark.postgres

KEY = AssetKey("flights/enriched", "2026-01-15")


@pytest.fixture
def url(postgres_url, monkeypatch):
    with fresh_database(postgres_url) as url:
        monkeypatch.setenv("AIRFLOW_CONN_ASSETS", airflow_connection(url, application_name="assets"))
        yield url


@pytest.fixture
def manager(url):
    return PostgresIOManager(conn_id="assets")


@pytest.fixture
def run(url):
    """Execute statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection.execute


def numbers(count=3, first=0):
    return pa.table({"n": list(range(first, first + count))})


def many_batches(count, then=None):
    """Record batches of some megabytes; between two of them something happens."""
    for number in range(count):
        if then is not None and number == count // 2:
            then()
        yield pa.record_batch({"n": [number] * 20_000, "text": ["x" * 100] * 20_000})


# What others see


def test_an_asset_is_a_table_that_anybody_can_query(manager, run):
    for day in (15, 16):
        manager.store(AssetKey("flights/enriched", date(2026, 1, day)), numbers(day))
    found = run('SELECT _partition, count(*) FROM "flights/enriched" GROUP BY 1 ORDER BY 1').fetchall()
    assert found == [("2026-01-15", 15), ("2026-01-16", 16)]
    plan = run("EXPLAIN SELECT * FROM \"flights/enriched\" WHERE _partition = '2026-01-16'").fetchall()
    assert "2026-01-16" in str(plan)
    assert "2026-01-15" not in str(plan)


def test_a_role_that_may_read_the_asset_loads_it(manager, run, url, monkeypatch):
    run("DROP ROLE IF EXISTS analyst; CREATE ROLE analyst LOGIN")
    monkeypatch.setenv("AIRFLOW_CONN_ANALYST", airflow_connection(url.replace("postgres@", "analyst@")))
    analyst = PostgresIOManager(conn_id="analyst")
    manager.store(KEY, numbers())
    with pytest.raises(
        StorageAccessError, match="permission denied for table flowstone_assets; grant it to the connection's"
    ):
        analyst.load(KEY)
    run('GRANT SELECT ON flowstone_assets, "flights/enriched" TO analyst')
    assert analyst.load(KEY).equals(numbers())
    with pytest.raises(StorageAccessError, match="cannot store flights/enriched.*permission denied"):
        analyst.store(KEY, numbers(9))
    assert manager.load(KEY).equals(numbers())
    run("DROP OWNED BY analyst; DROP ROLE analyst")


def test_the_uri_is_that_of_airflows_postgres_provider(manager, url):
    from airflow.sdk import Asset

    place = url.partition("@")[2].partition("/")
    uri = manager.store(KEY, numbers()).uri
    assert uri == f"postgres://{place[0]}/{place[2]}/public/flights%2Fenriched?partition=2026-01-15"
    assert Asset(uri=manager.uri(AssetKey("flights/enriched"))).uri == uri.partition("?")[0]


def test_a_table_of_others_is_left_alone(manager, run):
    run("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
    with pytest.raises(AssetError, match="a relation 'orders' that FlowStone did not make.*another schema"):
        manager.store(AssetKey("orders"), numbers())
    assert run("SELECT * FROM orders").fetchall() == [(1,)]


def test_a_schema_of_its_own(manager, run, url):
    other = PostgresIOManager(conn_id="assets", schema_name='le "lac"; DROP')
    with pytest.raises(
        StorageError, match="schema .* does not exist; make the schema, or choose another with the option"
    ):
        other.store(KEY, numbers())
    assert other.receipt(KEY) is None
    run('CREATE SCHEMA "le ""lac""; DROP"')
    other.store(KEY, numbers())
    manager.store(KEY, numbers(5))
    assert other.load(KEY).num_rows == 3
    assert manager.load(KEY).num_rows == 5


# Names and values


@pytest.mark.parametrize(
    "asset",
    [
        "x" * 200,
        "X" * 200,
        "Über/名前/Straße" * 6,
        "UPPER/lower",
        "flowstone_assets",
        "flowstone_assets_pkey",
        "a@b+c.d-e",
    ],
)
def test_any_name_of_an_asset(manager, asset):
    keys = [AssetKey(asset), AssetKey(asset, "x" * 250), AssetKey(asset[:-1] + "_", "quo\"te's; DROP TABLE x --")]
    for number, key in enumerate(keys):
        manager.store(key, numbers(2, number))
        manager.store(key, numbers(2, number + 1))
    for number, key in enumerate(keys):
        assert manager.load(key).equals(numbers(2, number + 1))
        assert manager.receipt(key).uri.startswith("postgres://")
    for key in keys:
        manager.delete(key)
    assert list(manager.list_assets()) == []


COLUMNS = [
    'quo"te', "semi;colon", "it's", "UPPER", "upper", "名前", "", " ", "a.b", "%s", "$1", "{}", "ctid", "xmin",
    "_partition", "x" * 63, "x" * 64, "x" * 65, "line\nbreak", "select", "back\\slash",
]  # fmt: skip


def test_any_name_of_a_column(manager):
    table = pa.table({name: [f"{number}"] for number, name in enumerate(COLUMNS)})
    manager.store(KEY, table)
    assert manager.load(KEY).equals(table)
    for number, name in enumerate(COLUMNS):
        assert manager.load(KEY, list, columns=[name], where=[(name, "=", f"{number}")]) == [{name: f"{number}"}]


def column(values, kind=None):
    return pa.array([*values, None], kind)


MOMENT = datetime(2026, 1, 15, 9, 30, 0, 123456)
AWARE = MOMENT.replace(tzinfo=timezone.utc)

TYPES = [
    column([True, False]),
    *[column([0, 1, 127], kind()) for kind in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32)],
    column([-(2**63), 2**63 - 1], pa.int64()),
    column([0, 2**64 - 1], pa.uint64()),
    column([1.5, float("inf"), -0.0], pa.float32()),
    column([1.1, float("-inf"), 5e-324, 1.7976931348623157e308]),
    column([1.5], pa.float16()),
    *[column(["", "ü🌍", "it's \\ \"x\"\n"], kind()) for kind in (pa.string, pa.large_string, pa.string_view)],
    *[column([b"", b"\0\xff"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())],
    column([b"ab"], pa.binary(2)),
    *[column([date(1, 1, 1), date(2026, 1, 15), date(9999, 12, 31)], kind()) for kind in (pa.date32, pa.date64)],
    *[column([datetime(2026, 1, 15)], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")],
    column([MOMENT, datetime(1, 1, 1), datetime(9999, 12, 31)], pa.timestamp("us")),
    *[column([AWARE], pa.timestamp("us", zone)) for zone in ("UTC", "Asia/Tokyo", "+02:00")],
    column([time(0), time(23, 59, 59, 999999)], pa.time64("us")),
    column([time(1, 2, 3)], pa.time32("s")),
    column([time(1, 2, 3)], pa.time64("ns")),
    column([Decimal("12.340"), Decimal("-0.001"), Decimal("0.000")], pa.decimal128(10, 3)),
    column([Decimal("9" * 38), Decimal(-1), Decimal("1" + "0" * 37)], pa.decimal128(38, 0)),
    column([Decimal("1200")], pa.decimal128(10, -2)),
    column([Decimal("9" * 70 + ".5")], pa.decimal256(71, 1)),
    pa.nulls(2),
    column(["a", "b", "a"]).dictionary_encode(),
    column(["a", "b"], pa.dictionary(pa.int8(), pa.string())),
    column([1, 2, 1]).dictionary_encode(),
    *[column([[1, None], [], None], kind(pa.int32())) for kind in (pa.list_, pa.large_list)],
    column([[1, 2]], pa.list_(pa.int64(), 2)),
    column([["ü", None], []], pa.list_(pa.string())),
    column([[Decimal("1.50")]], pa.list_(pa.decimal128(10, 2))),
    column([[MOMENT]], pa.list_(pa.timestamp("us", "UTC"))),
    column([[2**64 - 1]], pa.list_(pa.uint64())),
]  # fmt: skip


def test_every_type_comes_back_as_it_was(manager):
    fields = {f"{number} {array.type}": array for number, array in enumerate(TYPES)}
    longest = max(map(len, TYPES))
    table = pa.table({name: pa.concat_arrays([a, pa.nulls(longest - len(a), a.type)]) for name, a in fields.items()})
    table = table.replace_schema_metadata({"pandas": "kept"})
    manager.store(KEY, table)
    loaded = manager.load(KEY)
    assert loaded.schema.equals(table.schema, check_metadata=True)
    for name in table.column_names:
        assert loaded.column(name).to_pylist() == table.column(name).to_pylist(), name
    assert (
        manager.load(KEY, columns=[f"{len(TYPES) - 1} list<item: uint64>"]).schema
        == table.select([-1 + len(TYPES)]).schema
    )


def test_not_a_number(manager):
    manager.store(KEY, pa.table({"x": [float("nan"), 1.0, None]}))
    assert str(manager.load(KEY, list)) == "[{'x': nan}, {'x': 1.0}, {'x': None}]"


@pytest.mark.parametrize(
    "array",
    [
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[[1]]]),
        pa.array([timedelta(1)]),
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.array(["a"]).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string(), ordered=True)),
    ],
    ids=lambda array: str(array.type),
)
def test_a_type_that_would_not_come_back_is_refused(manager, array):
    with pytest.raises(ValueKindError, match=r"the column 'odd' is of type .*cannot give back.*IO manager parquet"):
        manager.store(KEY, pa.table({"odd": array}))
    assert not manager.exists(KEY)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            pa.array([1], pa.timestamp("ns")),
            "column 'odd' of type timestamp.ns. has a value that PostgreSQL's timestamp",
        ),
        (pa.array([1], pa.time64("ns")), "column 'odd' of type time64"),
        (pa.array(["a\0b"]), "the character NUL"),
    ],
)
def test_a_value_that_would_lose_something_is_refused(manager, array, message):
    manager.store(KEY, numbers())
    with pytest.raises(ValueKindError, match=message):
        manager.store(KEY, pa.table({"odd": array}))
    assert manager.load(KEY).equals(numbers())


@pytest.mark.parametrize("value", ["it's", {"a b": [1, 2.5, None, True, "ü\\"]}, 2**63 - 1, -1e300, "", [], None])
def test_json(manager, value):
    manager.store(KEY, value)
    assert manager.load(KEY) == value
    manager.store(KEY, numbers())
    manager.store(KEY, value)
    assert manager.load(KEY) == value


def test_json_that_jsonb_cannot_hold(manager):
    manager.store(KEY, {"n": 1})
    with pytest.raises(ValueKindError, match="cannot store flights/enriched.*Unicode escape sequence"):
        manager.store(KEY, {"text": "a\0b"})
    assert manager.load(KEY) == {"n": 1}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("n", "in", [1, 3]), [1, 3]),
        (("n", "in", []), []),
        (("n", "!=", 1), [0, 2, 3]),
        (("n", ">", 1.5), [2, 3]),
        (("text", "=", "it's; --"), [1]),
        (("text", ">=", "a"), [2, 3]),
        (("day", "<", date(2026, 1, 3)), [0, 1]),
        (("day", "<", "2026-01-03"), [0, 1]),
        (("at", ">=", datetime(2026, 1, 3, tzinfo=timezone(timedelta(hours=2)))), [2, 3]),
        (("price", "=", Decimal("1.50")), [1]),
        (("data", "=", b"\x01"), [1]),
        (("clock", ">", time(2)), [3]),
        (("flag", "=", True), [1, 3]),
        (("n", "=", None), []),
    ],
)
def test_conditions(manager, where, expected):
    days = [date(2026, 1, day) for day in range(1, 5)]
    table = pa.table(
        {
            "n": list(range(4)),
            # Collations of languages sort letters of both cases together, bytes do not.
            "text": ["Z", "it's; --", "a", "é"] if where[:2] != ("text", ">=") else ["Z", "B", "a", "é"],
            "day": days,
            "at": pa.array([datetime(day.year, 1, day.day) for day in days], pa.timestamp("us", "UTC")),
            "price": [Decimal(n) * Decimal("1.50") for n in range(4)],
            "data": [bytes([n]) for n in range(4)],
            "clock": [time(n) for n in range(4)],
            "flag": [bool(n % 2) for n in range(4)],
        }
    )
    manager.store(KEY, table)
    assert [row["n"] for row in manager.load(KEY, list, where=[where])] == expected


@pytest.mark.parametrize(
    "condition",
    [
        ("n", "=", "x"),
        ("n", "=", object()),
        ("n", "=", [1]),
        ("n", "=", "a\0"),
        ("n", "=", "\ud800"),
        ("n", "=", date(2026, 1, 1)),
    ],
)
def test_a_condition_that_makes_no_sense(manager, condition):
    manager.store(KEY, numbers())
    with pytest.raises(ValueKindError):
        manager.load(KEY, where=[condition])


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
    with pytest.raises(AssetNotFoundError, match="FlowStone PostgreSQL has no value of flights/enriched"):
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
