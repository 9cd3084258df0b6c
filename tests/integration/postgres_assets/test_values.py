"""What the ``postgres`` IO manager keeps, under which names, and what others see of it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import (
    AssetError,
    StorageAccessError,
    StorageError,
    ValueKindError,
)
from flowstone_provider.hooks.postgres import PostgresIOManager
from tests.support.postgres import airflow_connection
from tests.support.postgres_assets import KEY, numbers

pytestmark = pytest.mark.postgres


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
