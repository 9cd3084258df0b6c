"""The reader of S3: odd keys, how much it asks for, what a scatter makes of it. More is in ``tests/contract``."""

from __future__ import annotations

import io
import json
import math
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.errors import (
    SourceChangedError,
    SourceUnavailableError,
)
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.readers import _s3_objects
from flowstone_provider.scatter.options import Batching
from tests.support.processes import wait_until
from tests.support.proxy import cutting_proxy
from tests.support.s3_faults import requests_of
from tests.support.s3_inventories import listed, write_inventory
from tests.support.s3_reading import client_of, items_of, keys_of, lines, numbers_of, reader_of
from tests.support.s3_suites import OfContents
from tests.support.scatters import Scatter

pytestmark = pytest.mark.s3


# The emulator knows no key with a line end.
REAL_SERVER = bool(os.environ.get("FLOWSTONE_TEST_S3_URL"))

KEYS = [
    "a b", "a+b", "a%20b", "a//b", "/a", "a/../b", "a?b#c", "a[1]*", "a&<b>'\"", "Grüße 🌍", "日本", "tab\tend",
    "a\x7fb", "a\\b", " a ", *(["line\nend"] if REAL_SERVER else []),
]  # fmt: skip


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("flowstone-s3")]


class TestKeys:
    @pytest.mark.parametrize("contents", [None, "jsonl"])
    def test_any_character_may_be_in_one(self, client, s3, monkeypatch, contents):
        keys = sorted(f"in/{key}" for key in KEYS)
        for number, key in enumerate(keys):
            s3.put(key, lines(number))
        monkeypatch.setattr("flowstone_provider.readers.s3._KEYS", 2)
        options = {"prefix": "in/", **({"contents": contents} if contents else {})}
        pages = list(reader_of(client, s3, **options).pages())
        if contents is None:
            assert [item["key"] for page in pages for item in page.items] == keys
        else:
            assert [item["n"] for page in pages for item in page.items] == [*range(len(keys))]
            assert [page.source for page in pages] == [f"s3://{s3.bucket}/{key}" for key in keys]
        done = 0
        for page in pages:
            done += len(page.items)
            left = items_of(reader_of(client, s3, **options), json.loads(json.dumps(page.checkpoint)))
            assert left == [item for page in pages for item in page.items][done:]

    def test_a_control_character_may_be_in_one(self, client, s3):
        # XML cannot hold it. Ceph 16.2 fails when a listing is to start after it, so it does not end a page here.
        s3.put("a\x01b", "")
        s3.put("b", "")
        assert keys_of(reader_of(client, s3)) == ["a\x01b", "b"]
        s3.client().delete_object(Bucket=s3.bucket, Key="a\x01b")

    def test_a_prefix_is_the_beginning_of_a_key(self, client, s3):
        for key in ("a/1", "ab/2", "folder1/3", "folder10/4"):
            s3.put(key, "x")
        assert keys_of(reader_of(client, s3, prefix="a/")) == ["a/1"]
        assert keys_of(reader_of(client, s3, prefix="folder1")) == ["folder1/3", "folder10/4"]
        assert keys_of(reader_of(client, s3, start_after="ab/2")) == ["folder1/3", "folder10/4"]
        assert keys_of(reader_of(client, s3, prefix="nothing/")) == []

    def test_folders_are_no_items_but_empty_objects_are(self, client, s3):
        for key, body in [("a/", ""), ("a/b/", ""), ("a/b/full/", "x"), ("a/empty", "")]:
            s3.put(key, body)
        assert keys_of(reader_of(client, s3)) == ["a/b/full/", "a/empty"]

    @pytest.mark.parametrize("contents", ["csv", "json", "jsonl", "parquet"])
    def test_empty_objects_have_no_items(self, client, s3, contents):
        s3.put("a/", "")
        s3.put("a/1.x", "")
        made = requests_of(client)
        pages = list(reader_of(client, s3, contents=contents).pages())
        assert [page.items for page in pages] == [[]]
        assert list(reader_of(client, s3, contents=contents).pages(pages[-1].checkpoint)) == []
        assert {operation for operation, _ in made} == {"ListObjectsV2"}


class TestRequests:
    def test_a_small_object_takes_one(self, client, s3):
        for number in range(7):
            s3.put(f"{number}.jsonl", lines(number))
        made = requests_of(client)
        assert numbers_of(reader_of(client, s3, contents="jsonl")) == [*range(7)]
        assert [operation for operation, _ in made].count("ListObjectsV2") == 1
        assert [operation for operation, _ in made].count("GetObject") == 7
        assert len(made) == 8
        assert all(headers["If-Match"] for operation, headers in made if operation == "GetObject")

    def test_no_more_is_fetched_than_said(self, client, s3):
        for number in range(9):
            s3.put(f"{number}.jsonl", lines(number))
        made = requests_of(client)
        reader = reader_of(client, s3, contents="jsonl", concurrency=2)
        pages = reader.pages()
        next(pages)
        reader.close()
        assert [operation for operation, _ in made].count("GetObject") <= 3
        assert threads() == []

    def test_without_concurrency_there_is_no_thread(self, client, s3):
        s3.put("a.jsonl", lines(1))
        s3.put("b.jsonl", lines(2))
        pages = reader_of(client, s3, contents="jsonl", concurrency=1).pages()
        next(pages)
        assert threads() == []

    def test_threads_end_although_a_server_keeps_cutting(self, s3_server, s3):
        for number in range(9):
            s3.put(f"{number}.jsonl", lines(*range(20_000)))
        with cutting_proxy(s3_server.endpoint, 100_000, math.inf) as proxy:
            reader = reader_of(client_of(s3_server, proxy.url), s3, contents="jsonl")
            with pytest.raises(SourceUnavailableError):
                next(reader.pages())
            reader.close()
        assert threads() == []

    def test_of_a_large_parquet_object_only_some_columns_are_fetched(self, client, s3, monkeypatch):
        monkeypatch.setattr(_s3_objects, "_WHOLE", 10_000)
        table = pa.table({"n": range(5_000), "fat": [os.urandom(100) for _ in range(5_000)]})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        s3.put("a.parquet", buffer.getvalue())
        made = requests_of(client)
        options = {"contents": "parquet", "contents_options": {"columns": ["n"]}}
        assert numbers_of(reader_of(client, s3, **options)) == [*range(5_000)]
        ranges = [headers["Range"][6:].split("-") for operation, headers in made if operation == "GetObject"]
        assert sum(int(end) - int(start) + 1 for start, end in ranges) < len(buffer.getvalue()) / 5


class TestInAScatter:
    """With the connection ``flowstone_s3`` of Airflow."""

    @pytest.fixture
    def scatter_on(self, s3):
        def make(reader, folder, **options):
            spec = ReaderSpec(reader=reader, options=options)
            scatter = Scatter("unused", spec)
            scatter.resources = AirflowResources()
            scatter.storage = scatter.resources.path(s3.url(folder))
            return scatter

        return make

    def test_a_listing_and_an_inventory(self, s3, scatter_on):
        for number in range(30):
            s3.put(f"in/{number:02}.csv", "x")
        scatter = scatter_on("s3", "ledger/a", bucket=s3.bucket, prefix="in/", conn_id="flowstone_s3")
        items = [item for batch in scatter.batches() for item in batch]
        assert [item["key"] for item in items] == [f"in/{number:02}.csv" for number in range(30)]
        assert isinstance(items[0]["last_modified"], str)

        files = [[listed(f"{file}-{number}") for number in range(3)] for file in range(2)]
        manifest = write_inventory(s3, "daily", files, "Parquet")
        scatter = scatter_on("s3_inventory", "ledger/b", manifest=manifest, conn_id="flowstone_s3")
        assert all(batch.reader is not None for batch in scatter.plan().batches)
        items = [item["key"] for batch in scatter.batches() for item in batch]
        assert items == [item["key"] for file in files for item in file]

    def test_contents_are_read_by_the_batches(self, s3, scatter_on):
        for number in range(4):
            s3.put(f"in/{number:02}.csv", f"n\n{number}\n{number}\n")
        options = {"bucket": s3.bucket, "prefix": "in/", "contents": "csv", "conn_id": "flowstone_s3"}
        scatter = scatter_on("s3", "ledger", **options)
        plan = scatter.plan()
        assert len(plan.batches) > 1
        assert all(batch.reader is not None for batch in plan.batches)
        seen = []
        scatter.run_all(lambda item: seen.append(item["n"]))
        assert seen == [str(number) for number in range(4) for _ in "12"]
        s3.put("in/03.csv", "n\n7\n")
        with pytest.raises(SourceChangedError, match="some were written anew"):
            scatter.run(seen.append, plan.batches[-1].number)

    def test_contents_are_planned_in_batches_of_a_size(self, s3, scatter_on):
        for number in range(5):
            s3.put(f"in/{number:02}.jsonl", lines(*range(7)))
        options = {"bucket": s3.bucket, "prefix": "in/", "contents": "jsonl", "conn_id": "flowstone_s3"}
        scatter = scatter_on("s3", "ledger", **options)
        scatter.options = scatter.options.model_copy(update={"batching": Batching(max_items=10)})
        batches = list(scatter.batches())
        assert [len(batch) for batch in batches] == [10, 10, 10, 5]
        wait_until(lambda: not threads(), timeout=5, what="the plan's threads end")


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
