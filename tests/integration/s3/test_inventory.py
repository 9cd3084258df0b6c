"""The reader of S3 Inventories."""

from __future__ import annotations

import gzip

import pytest

from flowstone_provider.errors import (
    BadRecordError,
    ReaderError,
    SourceChangedError,
    SourceNotFoundError,
)
from flowstone_provider.readers.s3_inventory import S3InventoryReader
from flowstone_provider.registry import create_reader
from tests.support.resources import ServiceResources
from tests.support.s3_inventories import listed, write_inventory
from tests.support.s3_reading import items_of, reader_of
from tests.support.s3_suites import Inventory

pytestmark = pytest.mark.s3


class TestInventories:
    def read(self, client, s3, manifest, **options):
        return items_of(reader_of(client, s3, S3InventoryReader, manifest=manifest, **options))

    @pytest.mark.parametrize("form", ["CSV", "Parquet"])
    def test_a_data_file_is_missing(self, client, s3, form):
        manifest = write_inventory(s3, "daily", [[listed("a")], [listed("b")]], form)
        key = next(key for key in s3.keys("daily/data/1"))
        specs = reader_of(client, s3, S3InventoryReader, manifest=manifest).splits(2)
        s3.client().delete_object(Bucket=s3.bucket, Key=key)
        with pytest.raises(SourceNotFoundError, match=rf"{key}.* which the inventory {manifest} names"):
            self.read(client, s3, manifest)
        with pytest.raises(SourceChangedError, match=key):
            items_of(create_reader(specs[1], ServiceResources(lambda _: client)))

    def test_a_data_file_changed_since_it_was_split(self, client, s3):
        manifest = write_inventory(s3, "daily", [[listed("a")], [listed("b")]], "CSV")
        specs = reader_of(client, s3, S3InventoryReader, manifest=manifest).splits(2)
        s3.put("daily/data/1.csv.gz", gzip.compress(b""))
        assert [item["key"] for item in items_of(create_reader(specs[0], ServiceResources(lambda _: client)))] == ["a"]
        with pytest.raises(SourceChangedError, match=r"1\.csv\.gz was written anew"):
            items_of(create_reader(specs[1], ServiceResources(lambda _: client)))

    def test_the_manifest_changed_since_the_checkpoint(self, client, s3):
        manifest = write_inventory(s3, "daily", [[listed("a")], [listed("b")]], "CSV")
        page = next(reader_of(client, s3, S3InventoryReader, manifest=manifest).pages())
        write_inventory(s3, "daily", [[listed("a")], [listed("c")], [listed("d")]], "CSV")
        with pytest.raises(SourceChangedError, match=r"manifest\.json changed"):
            items_of(reader_of(client, s3, S3InventoryReader, manifest=manifest), page.checkpoint)

    @pytest.mark.parametrize("form", ["CSV", "Parquet"])
    def test_a_data_file_is_damaged(self, client, s3, form):
        manifest = write_inventory(s3, "daily", [[listed(f"{n}") for n in range(500)]], form)
        (key,) = s3.keys("daily/data/")
        s3.put(key, s3.get(key)[:-50])
        with pytest.raises(BadRecordError, match=key):
            self.read(client, s3, manifest)

    def test_a_value_is_none(self, client, s3):
        manifest = write_inventory(s3, "daily", [[listed("a", "many")]], "CSV")
        with pytest.raises(BadRecordError, match=r"0\.csv\.gz: a value is not .*many"):
            self.read(client, s3, manifest)

    def test_orc(self, client, s3):
        manifest = write_inventory(s3, "daily", [], "ORC")
        with pytest.raises(ReaderError, match=r"written as ORC; configure it to be written as CSV or Parquet"):
            self.read(client, s3, manifest)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": []}', "no json", '{"fileFormat": "CSV", "files": 3}'])
    def test_no_manifest_of_an_inventory(self, client, s3, text):
        s3.put("a/manifest.json", text)
        with pytest.raises(ReaderError, match=r"a/manifest\.json is no manifest of an S3 Inventory"):
            self.read(client, s3, f"s3://{s3.bucket}/a/manifest.json")

    def test_no_manifest(self, client, s3):
        with pytest.raises(SourceNotFoundError, match=r"there is no file s3://.*/a/manifest\.json"):
            self.read(client, s3, f"s3://{s3.bucket}/a/manifest.json")

    def test_without_the_columns_that_name_an_object(self, client, s3):
        manifest = write_inventory(s3, "daily", [], "CSV", fileSchema="Bucket, Size")
        with pytest.raises(ReaderError, match="its fileSchema has no key"):
            self.read(client, s3, manifest)

    def test_without_data_files_there_are_no_items(self, client, s3):
        manifest = write_inventory(s3, "daily", [], "Parquet")
        assert self.read(client, s3, manifest) == []
        assert reader_of(client, s3, S3InventoryReader, manifest=manifest).splits(3) is None

    def test_a_manifest_that_lies_elsewhere(self, client, s3, s3_server):
        from tests.services.s3 import fresh_bucket

        manifest = write_inventory(s3, "daily", [[listed("a")]], "CSV")
        with fresh_bucket(s3_server) as copy:
            # A copy of the manifest alone: the data files are where it says.
            copy.put("manifest.json", s3.get(manifest.split("/", 3)[3]))
            assert [item["key"] for item in self.read(client, s3, f"s3://{copy.bucket}/manifest.json")] == ["a"]
            # A copy of all: they are beside it, whatever became of the first.
            write_inventory(copy, "daily", [[listed("b")]], "CSV")
            assert [item["key"] for item in self.read(client, s3, f"s3://{copy.bucket}/manifest.json")] == ["b"]

    def test_both_formats_give_the_same_items(self, client, s3):
        items = [
            listed("a b+c/ü.csv", 0, is_latest=False),
            listed("gone", None, etag=None, storage_class=None, is_delete_marker=True, version_id=None),
        ]
        for form in ("CSV", "Parquet"):
            assert self.read(client, s3, write_inventory(s3, form, [items], form)) == items
        listing = reader_of(client, s3, prefix="CSV/")
        assert {"bucket", "key", "size", "etag", "last_modified", "storage_class"} == items_of(listing)[0].keys()


class TestInventoryOfParquet(Inventory):
    form = "Parquet"
