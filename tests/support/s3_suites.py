"""What the suites of the readers of S3 read, against an S3 server."""

from __future__ import annotations

import gzip
import json

import pytest

from flowstone_provider import s3_objects
from flowstone_provider.readers import _s3_objects, _streams, csv, jsonl, parquet, s3
from flowstone_provider.readers.s3 import S3Reader
from flowstone_provider.readers.s3_inventory import S3InventoryReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.services.s3 import fresh_bucket
from tests.support.resources import ServiceResources
from tests.support.s3_inventories import listed, write_inventory


class OnS3(ItemReaderContract):
    """Small sources in small pages: a request to moto takes ten milliseconds."""

    count = 12
    many = 600

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _bucket(cls, s3_server):
        # Objects are written once for all tests of a class: no test writes.
        client = s3_server.client()
        with fresh_bucket(s3_server) as bucket:
            cls.bucket, cls.sources, cls.resources = bucket, {}, ServiceResources(aws=lambda service: client)
            yield

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


class OfContents(OnS3):
    reader = S3Reader
    splittable = True

    def options_of(self, folder, **options):
        return {"bucket": self.bucket.bucket, "prefix": f"{folder}/", **options}


class ContentsOfLines(OfContents):
    """With objects that hold nothing, a compressed one, and one that is read as a stream."""

    @pytest.fixture(autouse=True)
    def _streamed(self, monkeypatch):
        monkeypatch.setattr(_s3_objects, "_WHOLE", 150)
        monkeypatch.setattr(s3_objects, "_CHUNK", 100)

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


class Inventory(OnS3):
    """With folders as consoles draw them, and a delete marker, which has no size."""

    reader = S3InventoryReader
    splittable = True

    def write(self, folder, count):
        items = [listed(f"a b/{number}+ü//%20.csv", number) for number in range(count)]
        if count:
            items[7] = listed("a b/7/", None, etag=None, storage_class=None, is_delete_marker=True)
        files = [[listed("a b/", 0), *items[:3]], [listed("a b/c/", 0), *items[3:]]]
        return {"manifest": write_inventory(self.bucket, folder, files, self.form)}, items
