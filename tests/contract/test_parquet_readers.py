"""Our readers of Parquet pass the suite that we give to plugin authors."""

from __future__ import annotations

import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone_provider.readers.parquet import ParquetReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.support.sources import InMemory, OnDisk

pytestmark = pytest.mark.parquet


class Parquet(ItemReaderContract):
    reader = ParquetReader
    splittable = True

    def make_source(self, folder, count):
        items = [{"id": n, "price": Decimal(n) / 4, "tags": {"x": [n, None]}} for n in range(count)]
        schema = pa.schema(
            {
                "id": pa.int64(),
                "price": pa.decimal128(12, 2),
                "tags": pa.struct({"x": pa.list_(pa.int64())}),
            }
        )
        folder = self.folder(folder)
        for name, some in [("a", items[:2_000]), ("b", items[2_000:])]:
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(some, schema=schema), buffer, row_group_size=600)
            (folder / f"{name}.parquet").write_bytes(buffer.getvalue())
        return {"path": f"{folder}/*.parquet"}, items


class TestParquetOnDisk(OnDisk, Parquet):
    def test_counts_are_known(self, source):
        options, expected = source
        reader = self.make_reader(options)
        assert reader.count() == len(expected)
        # Of a split not even the footer is read.
        (self.folder(options["path"]).parent / "a.parquet").unlink()
        counts = [self.make_split(spec).count() for spec in self.make_reader(options).splits(2)]
        assert sum(counts) == len(expected) - 2_000


class TestParquetInMemory(InMemory, Parquet):
    pass
