"""Our readers of files pass the suite that we give to plugin authors, also with files that zstd has compressed."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from flowstone_provider.readers.csv import CsvReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.support.sources import InMemory, csv_bytes, rows

pytestmark = pytest.mark.zstd


class TestCsvZstd(InMemory, ItemReaderContract):
    reader = CsvReader
    splittable = True

    def make_source(self, folder, count):
        items = rows(count)
        folder = self.folder(folder)
        (folder / "1.csv.gz").write_bytes(gzip.compress(csv_bytes(items[: count // 2])))
        (folder / "2.csv.zst").write_bytes(zstandard.compress(csv_bytes(items[count // 2 :])))
        return {"path": [f"{folder}/1.csv.gz", f"{folder}/2.csv.zst"]}, items
