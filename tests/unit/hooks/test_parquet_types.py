"""What pyarrow can write to Parquet comes back as it was."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import ValueKindError
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager

pytestmark = pytest.mark.parquet

KEY = AssetKey("table")


@pytest.fixture(params=[FileIOManager, ParquetIOManager])
def manager(request, tmp_path):
    return request.param(path=f"file://{tmp_path}/assets")


TIMES = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Berlin")]
MOMENT = datetime(2026, 1, 2, 3, 4, 5)
VALUES = {
    pa.null(): [None],
    pa.bool_(): [True, False],
    **{type_: [0, 1, 127] for type_ in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{type_: [0, 1, 255] for type_ in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    **{type_: [0.5, -0.0, float("inf")] for type_ in (pa.float32(), pa.float64())},
    **{type_: ["", "Grüße 🌍", "a\0b"] for type_ in (pa.string(), pa.large_string())},
    **{type_: [b"", b"\x00\xff"] for type_ in (pa.binary(), pa.large_binary())},
    pa.binary(2): [b"ab", b"\x00\xff"],
    pa.date32(): [date(1, 1, 1), date(9999, 12, 31)],
    pa.date64(): [date(2026, 1, 2)],
    **{type_: [MOMENT if type_.tz is None else MOMENT.replace(tzinfo=timezone.utc)] for type_ in TIMES},
    **{type_: [time(23, 59, 59)] for type_ in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))},
    **{pa.duration(unit): [timedelta(days=-1, seconds=5)] for unit in ("s", "ms", "us", "ns")},
    pa.decimal128(5, 2): [Decimal("-123.45"), Decimal("0.00")],
    pa.decimal128(38, 10): [Decimal("1234567890123456789012345678.0123456789")],
    pa.decimal256(60, 5): [Decimal("1e50")],
    pa.dictionary(pa.int8(), pa.string()): ["a", "b", "a"],
    pa.dictionary(pa.int64(), pa.large_string()): ["a", "b", "a"],
    pa.dictionary(pa.int32(), pa.int64()): [5, 7, 5],
    pa.dictionary(pa.int8(), pa.string(), True): ["low", "high"],
    pa.list_(pa.int64()): [[1, None], [], [2]],
    pa.large_list(pa.string()): [["a"], []],
    pa.list_(pa.int32(), 2): [[1, 2], [3, 4]],
    pa.list_(pa.struct([("at", pa.timestamp("s", "UTC"))])): [[{"at": MOMENT.replace(tzinfo=timezone.utc)}]],
    pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]): [{"a": 1, "b": ["x"]}, {"a": None, "b": None}],
    pa.map_(pa.string(), pa.int64()): [[("a", 1), ("b", None)], []],
}


def array(values, type_):
    if pa.types.is_fixed_size_list(type_):  # older pyarrow reads none that is null
        values = [*values[:-1], values[0]]
    # Not every pyarrow makes every dictionary of Python's values.
    if pa.types.is_dictionary(type_):
        encoded = pa.array(values, type_.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            encoded.indices.cast(type_.index_type), encoded.dictionary, ordered=type_.ordered
        )
    return pa.array(values, type_)


def test_every_type_comes_back(manager):
    table = pa.table({str(type_): array([*(values * 3)[:3], None], type_) for type_, values in VALUES.items()})
    receipt = manager.store(KEY, table)
    assert list(receipt.schema.values()) == [str(type_) for type_ in VALUES]
    loaded = manager.load(KEY)
    assert loaded.schema.types == table.schema.types
    assert loaded.equals(table)
    for name in table.column_names:
        alone = manager.load(KEY, columns=[name])
        assert alone.equals(table.select([name])), name
    manager.store(KEY, table.slice(0, 0))
    assert manager.load(KEY).schema.types == table.schema.types


def test_nanoseconds_names_and_notes_stay(manager):
    moment = 1_767_323_045_123_456_789
    field = pa.field("at", pa.timestamp("ns", "UTC"), nullable=False, metadata={"unit": "utc"})
    table = pa.table([pa.array([moment], field.type)], schema=pa.schema([field], metadata={"owner": "me"}))
    manager.store(KEY, table)
    loaded = manager.load(KEY)
    assert loaded.column("at").cast(pa.int64()).to_pylist() == [moment]
    assert loaded.schema.metadata[b"owner"] == b"me"
    assert not loaded.schema.field("at").nullable
    assert loaded.schema.field("at").metadata[b"unit"] == b"utc"


def test_extension_types_stay(manager):
    numbers = [uuid.UUID(int=1).bytes, None]
    table = pa.table({"id": pa.ExtensionArray.from_storage(pa.uuid(), pa.array(numbers, pa.binary(16)))})
    manager.store(KEY, table)
    assert manager.load(KEY).equals(table)


@pytest.mark.parametrize("type_", [pa.month_day_nano_interval(), pa.run_end_encoded(pa.int32(), pa.string())], ids=str)
def test_a_type_that_parquet_lacks_is_refused_by_the_name_of_its_column(tmp_path, type_):
    manager = ParquetIOManager(path=f"file://{tmp_path}/assets")
    with pytest.raises(ValueKindError, match="the column 'strange' cannot be stored as Parquet"):
        manager.store(KEY, pa.schema([("n", pa.int64()), ("strange", type_)]).empty_table())
    assert not manager.exists(KEY)


SIMPLE = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.binary(): st.binary(),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(timezone.utc)),
    pa.timestamp("s"): st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    pa.decimal128(20, 4): st.integers(-(10**19), 10**19).map(lambda number: Decimal(number).scaleb(-4)),
}


@st.composite
def columns(draw, rows):
    type_ = draw(st.sampled_from(list(SIMPLE)))
    values = SIMPLE[type_]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            type_, values = pa.list_(type_), st.lists(st.none() | values, max_size=3)
        else:
            type_, values = pa.struct([("x", type_)]), st.fixed_dictionaries({"x": st.none() | values})
    return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_)


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 5))
    names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
    return pa.table({name: draw(columns(rows)) for name in draw(st.lists(names, min_size=1, max_size=4, unique=True))})


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=tables())
def test_any_table_comes_back(manager, table):
    manager.store(KEY, table)
    loaded = manager.load(KEY)
    assert loaded.schema.equals(table.schema)
    assert loaded.equals(table)
