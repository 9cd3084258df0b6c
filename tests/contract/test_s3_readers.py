"""The readers of S3 pass the suite, against an S3 server. With Parquet they do in ``tests/integration``."""

from __future__ import annotations

import hashlib

import pytest

from flowstone_provider.readers.s3 import S3Reader
from flowstone_provider.readers.s3_inventory import S3InventoryReader
from tests.support.s3_suites import ContentsOfLines, Inventory, OnS3

pytestmark = pytest.mark.s3


class TestListing(OnS3):
    """Of a folder beside another, with a page that the suffix empties, and with a folder as consoles draw it."""

    reader = S3Reader
    many = 320

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


class TestContentsOfLines(ContentsOfLines):
    reader = S3Reader


class TestInventoryOfCsv(Inventory):
    reader = S3InventoryReader
    many = 1_200
    form = "CSV"
