"""Our reader of assets passes the suite that we give to plugin authors."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey, make_reference
from flowstone_provider.errors import (
    OptionsError,
    PartitionError,
    ReaderError,
    SourceChangedError,
    SourceNotFoundError,
    UnknownNameError,
)
from flowstone_provider.hooks.memory import MemoryIOManager
from flowstone_provider.readers import asset
from flowstone_provider.readers.asset import AssetReader
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.testing.item_reader import ItemReaderContract

pytestmark = pytest.mark.parquet

KEY = AssetKey("flights/enriched", ("eu", date(2026, 1, 15)))
BY_NAME = {"asset": "flights/enriched", "partition": ["eu", "2026-01-15"], "io_manager": "memory"}


@pytest.fixture(autouse=True)
def values(monkeypatch):
    monkeypatch.setattr(asset, "_PAGE_ITEMS", 20)
    monkeypatch.setattr(MemoryIOManager, "_values", {})


def table(count):
    rows = [{"n": n, "price": Decimal(n) / 4, "on": date(2026, 1, 1), "text": f"row {n}"} for n in range(count)]
    schema = pa.schema({"n": pa.int64(), "price": pa.decimal128(12, 2), "on": pa.date32(), "text": pa.string()})
    batches = [pa.RecordBatch.from_pylist(rows[at : at + 33], schema=schema) for at in range(0, count, 33)]
    return pa.Table.from_batches(batches, schema), rows


class TestAssetByName(ItemReaderContract):
    reader = AssetReader
    count = 90
    many = 4_000

    def make_source(self, folder, count):
        value, rows = table(count)
        MemoryIOManager().store(KEY, value)
        return BY_NAME, rows


class TestAssetByReference(ItemReaderContract):
    reader = AssetReader
    count = 90
    many = 4_000

    def make_source(self, folder, count):
        value, rows = table(count)
        return {"reference": make_reference(KEY, "memory", MemoryIOManager().store(KEY, value))}, rows


def reader(**options):
    return AssetReader(AssetReader.options(**options), LocalResources())


def items(**options):
    return [item for page in reader(**options).pages() for item in page.items]


def test_a_json_list_is_items_and_goes_on_where_it_was():
    MemoryIOManager().store(KEY, list(range(70)))
    assert items(**BY_NAME) == list(range(70))
    assert reader(**BY_NAME).count() is None
    first = next(reader(**BY_NAME).pages())
    assert [item for page in reader(**BY_NAME).pages(first.checkpoint) for item in page.items] == list(range(20, 70))


def test_what_has_no_json_form_is_named():
    MemoryIOManager().store(KEY, pa.table({"took": pa.array([timedelta(1)])}))
    with pytest.raises(ReaderError, match=r"column 'took' holds duration.*store it without"):
        items(**BY_NAME)
    MemoryIOManager().store(KEY, pa.table({"at": pa.array([1], pa.timestamp("ns", "UTC"))}))
    assert [item["at"][:19] for item in items(**BY_NAME)] == ["1970-01-01T00:00:00"]
    MemoryIOManager().store(KEY, pa.table({"at": [datetime(2026, 1, 1, tzinfo=timezone.utc)]}))
    assert items(**BY_NAME) == [{"at": datetime(2026, 1, 1, tzinfo=timezone.utc)}]


def test_a_partition_that_is_rendered_to_none_is_not_the_asset_without():
    MemoryIOManager().store(AssetKey("flights"), [1, 2])
    assert items(asset="flights", io_manager="memory") == [1, 2]
    with pytest.raises(PartitionError, match="the partition of flights is None: the task that it comes from found"):
        items(asset="flights", io_manager="memory", partition=None)


@pytest.mark.parametrize("value", [{"a": 1}, "text", b"bytes"])
def test_other_values_are_no_items(value):
    MemoryIOManager().store(KEY, value)
    with pytest.raises(ReaderError, match=r"flights/enriched, partition eu.*the rows of a table, or the elements"):
        items(**BY_NAME)


def test_a_value_that_was_replaced_or_deleted_is_noticed():
    receipt = MemoryIOManager().store(KEY, table(90)[0])
    reference = make_reference(KEY, "memory", receipt)
    first = next(reader(**BY_NAME).pages())
    MemoryIOManager().store(KEY, table(80)[0])
    with pytest.raises(SourceChangedError, match=r"was replaced at .* while it was read"):
        list(reader(**BY_NAME).pages(first.checkpoint))
    with pytest.raises(SourceChangedError, match="the reference means sha256:"):
        items(reference=reference)
    MemoryIOManager().delete(KEY)
    for options in (BY_NAME, {"reference": reference}):
        with pytest.raises(SourceNotFoundError, match="memory has no value of flights/enriched"):
            items(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, OptionsError, "either reference or asset"),
        ({**BY_NAME, "reference": {}}, OptionsError, "either reference or asset"),
        ({"reference": {"n": 1}}, OptionsError, "no reference to an asset"),
        ({"reference": {"flowstone": "asset", "version": 0}}, OptionsError, "run the task that stored it again"),
        ({"asset": "a", "io_manager": "memroy"}, UnknownNameError, "did you mean 'memory'"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        reader(**options)
