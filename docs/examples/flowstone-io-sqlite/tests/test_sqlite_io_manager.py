"""The IO manager passes the suite of flowstone_provider, and says what SQLite cannot keep."""

from __future__ import annotations

import sqlite3
from datetime import date, datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from flowstone_io_sqlite import SqliteIOManager

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import StorageError, ValueKindError
from flowstone_provider.registry import create_io_manager
from flowstone_provider.testing.io_manager import IOManagerContract


# [START contract]
class TestSqlite(IOManagerContract):
    manager = SqliteIOManager
    kinds = ("json", "table")

    @pytest.fixture
    def options(self, tmp_path):
        return {"path": f"{tmp_path}/assets.db"}


# [END contract]


@pytest.fixture
def sqlite(tmp_path):
    return create_io_manager("sqlite", path=f"{tmp_path}/assets.db")


# [START faults]
def test_types_that_sqlite_lacks_come_back_as_they_were(sqlite):
    table = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "flag": [True, None],
            "day": [date(2026, 1, 15), None],
            "at": pa.array([datetime(2026, 1, 15, 9, 30, tzinfo=timezone.utc), None], pa.timestamp("us", "UTC")),
            "exact": pa.array([Decimal("0.10"), None], pa.decimal128(5, 2)),
            "data": [b"\x00", None],
            'with "quotes"; drop': ["x", None],
        }
    )
    sqlite.store(AssetKey("types"), table)
    assert sqlite.load(AssetKey("types")).equals(table)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pa.table({"l": [[1]]}), r"type list<.*which the column 'l' has"),
        (pa.table({"n": pa.array([2**63], pa.uint64())}), "cannot keep all values of type uint64"),
        (pa.table({"n": [float("nan")]}), "would keep NaN as null"),
        (b"bytes", "keeps json and table"),
    ],
)
def test_what_it_cannot_keep_is_named(sqlite, value, message):
    with pytest.raises(ValueKindError, match=message):
        sqlite.store(AssetKey("a"), value)
    assert not sqlite.exists(AssetKey("a"))


def test_other_programs_read_the_tables(sqlite, tmp_path):
    sqlite.store(AssetKey("flights", "2026-01"), pa.table({"n": [1, 2]}))
    with sqlite3.connect(tmp_path / "assets.db") as database:
        assert database.execute('select sum(n) from "assets/flights 2026-01"').fetchone() == (3,)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "assets.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError, match=r"assets\.db: file is not a database"):
        create_io_manager("sqlite", path=f"{tmp_path}/assets.db").load(AssetKey("a"))


def test_a_reader_sees_one_state_while_another_task_writes(sqlite):
    key = AssetKey("numbers")
    sqlite.store(key, pa.table({"n": range(50_000)}))
    stream = sqlite.load(key, pa.RecordBatchReader)
    seen = stream.read_next_batch().num_rows
    sqlite.store(key, pa.table({"n": [1]}))
    assert seen + stream.read_all().num_rows == 50_000
    assert sqlite.load(key).num_rows == 1


# [END faults]
