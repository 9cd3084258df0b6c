"""The readers of S3 pass the suite, against an S3 server."""

from __future__ import annotations

import gzip
import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone_provider.readers import _s3_objects, _streams, csv, jsonl, parquet, s3
from flowstone_provider.readers.s3 import S3Reader
from flowstone_provider.readers.s3_inventory import S3InventoryReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.services.s3 import fresh_bucket
from tests.support.resources import ServiceResources
from tests.support.s3_inventories import listed, write_inventory

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True, scope="class")
def bucket(request, s3_server):
    """Objects are written once for all tests of a class: no test writes."""
    client = s3_server.client()
    with fresh_bucket(s3_server) as bucket:
        cls = request.cls
        cls.bucket, cls.sources, cls.resources = bucket, {}, ServiceResources(aws=lambda service: client)
        yield


class OnS3(ItemReaderContract):
    count = 12
    many = 600

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch):
        monkeypatch.setattr(s3, "_KEYS", 8)
        monkeypatch.setattr(_streams, "_CHUNK", 2_048)
        for module in (csv, jsonl):
            monkeypatch.setattr(module, "PAGE_ITEMS", 5)
        monkeypatch.setattr(parquet, "_PAGE_ROWS", 5)

    def make_source(self, folder, count):
        if count not in self.sources:
            self.sources[count] = self.write(str(count), count)
        return self.sources[count]


class TestListing(OnS3):
    """Of a folder beside another, with a page that the suffix empties, and with a folder as consoles draw it."""

    reader = S3Reader
    many = 200

    def write(self, folder, count):
        keys = [f"{folder}/{number:03}.csv" for number in range(count)]
        for size, key in enumerate(keys):
            self.bucket.put(key, "x" * size)
        if count == self.count:
            for number in range(16):
                self.bucket.put(f"{folder}/007.txt-{number:02}", "x")
            self.bucket.put(f"{folder}b/000.csv", "x")
        self.bucket.put(f"{folder}/", "")
        listed = self.bucket.client().list_objects_v2(Bucket=self.bucket.bucket, Prefix=f"{folder}/")["Contents"]
        times = {entry["Key"]: entry["LastModified"] for entry in listed}
        items = [
            {
                "bucket": self.bucket.bucket,
                "key": key,
                "size": size,
                "etag": hashlib.md5(b"x" * size).hexdigest(),
                "last_modified": times[key],
                "storage_class": "STANDARD",
            }
            for size, key in enumerate(keys)
        ]
        return {"bucket": self.bucket.bucket, "prefix": f"{folder}/", "suffix": ".csv"}, items


class OfContents(OnS3):
    reader = S3Reader
    splittable = True

    def options_of(self, folder, **options):
        return {"bucket": self.bucket.bucket, "prefix": f"{folder}/", **options}


class TestContentsOfLines(OfContents):
    """With objects that hold nothing, a compressed one, and one that is read as a stream."""

    @pytest.fixture(autouse=True)
    def _streamed(self, monkeypatch):
        monkeypatch.setattr(_s3_objects, "_WHOLE", 150)
        monkeypatch.setattr(_s3_objects, "_CHUNK", 100)

    def write(self, folder, count):
        items = [{"n": number, "text": "Grüße 🌍"} for number in range(count)]
        self.bucket.put(f"{folder}/", "")
        at = 0
        for number, some in enumerate([3, 0, 2, count]):
            lines = b"".join(json.dumps(item).encode() + b"\n" for item in items[at : at + some])
            at += some
            name, body = (".jsonl.gz", gzip.compress(lines)) if number == 2 else (".jsonl", lines)
            self.bucket.put(f"{folder}/{number} ü+{name}", body)
        self.bucket.put(f"{folder}/other.txt", "no json")
        return self.options_of(folder, contents="jsonl", suffix=[".jsonl", ".jsonl.gz"]), items


class TestContentsOfParquet(OfContents):
    """Of two objects, one is read piece by piece."""

    @pytest.fixture(autouse=True)
    def _pieces(self, monkeypatch):
        monkeypatch.setattr(_s3_objects, "_WHOLE", 1_000)

    def write(self, folder, count):
        items = [{"n": number, "text": f"text {number}"} for number in range(count)]
        schema = pa.schema({"n": pa.int64(), "text": pa.string()})
        for number, some in enumerate([items[:3], items[3:]]):
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(some, schema), buffer, row_group_size=30)
            self.bucket.put(f"{folder}/{number}.parquet", buffer.getvalue())
        return self.options_of(folder, contents="parquet", concurrency=1), items


class Inventory(OnS3):
    """With folders, the size that a delete marker does not have, and a data file without items."""

    reader = S3InventoryReader
    splittable = True

    def write(self, folder, count):
        items = [listed(f"a b/{number}+ü//%20.csv", number) for number in range(count)]
        if count:
            items[7] = listed("a b/7/", None, etag=None, storage_class=None, is_delete_marker=True)
        files = [[listed("a b/", 0), *items[:3]], [listed("a b/c/", 0)], items[3:]]
        return {"manifest": write_inventory(self.bucket, folder, files, self.form)}, items


class TestInventoryOfCsv(Inventory):
    many = 1_200
    form = "CSV"


class TestInventoryOfParquet(Inventory):
    form = "Parquet"
