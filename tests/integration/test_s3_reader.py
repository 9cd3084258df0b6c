"""The readers of S3 when things go wrong, and the suites with Parquet; the others are in ``tests/contract``."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import threading
from types import SimpleNamespace

import boto3
import botocore.endpoint
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tenacity
from botocore import UNSIGNED
from botocore.config import Config

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.errors import (
    BadRecordError,
    ReaderError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.readers import _s3_objects
from flowstone_provider.readers.s3 import S3Reader
from flowstone_provider.readers.s3_inventory import S3InventoryReader
from flowstone_provider.registry import create_reader
from flowstone_provider.scatter.options import Batching
from tests.support.processes import free_port, wait_until
from tests.support.proxy import cutting_proxy
from tests.support.resources import ServiceResources
from tests.support.s3_faults import answer_with, requests_of
from tests.support.s3_inventories import listed, write_inventory
from tests.support.s3_suites import Inventory, OfContents
from tests.support.scatters import Scatter

pytestmark = pytest.mark.s3

# The emulator lets anybody in, and knows no key with a line end.
REAL_SERVER = bool(os.environ.get("FLOWSTONE_TEST_S3_URL"))

KEYS = [
    "a b", "a+b", "a%20b", "a//b", "/a", "a/../b", "a?b#c", "a[1]*", "a&<b>'\"", "Grüße 🌍", "日本", "tab\tend",
    "a\x7fb", "a\\b", " a ", *(["line\nend"] if REAL_SERVER else []),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(_s3_objects, "_WAIT", tenacity.wait_none())


@pytest.fixture
def client(s3_server):
    return client_of(s3_server)


def client_of(server, url=None, **config):
    return boto3.client(
        "s3",
        endpoint_url=url or server.endpoint,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name=server.region,
        config=Config(s3={"addressing_style": "path"}, **config),
    )


def reader_of(client, bucket, cls=S3Reader, **options):
    if cls is S3Reader:
        options = {"bucket": bucket.bucket, **options}
    return cls(cls.options(**options), ServiceResources(aws=lambda service: client))


def items_of(reader, after=None):
    try:
        return [item for page in reader.pages(after) for item in page.items]
    finally:
        reader.close()


def keys_of(reader):
    return [item["key"] for item in items_of(reader)]


def lines(*numbers):
    return b"".join(b'{"n": %d}\n' % number for number in numbers)


def numbers_of(reader, after=None):
    return [item["n"] for item in items_of(reader, after)]


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


class TestNotAllowed:
    """A server that checks signatures is asked; in the place of the emulator's, answers are made up."""

    def assert_fails(self, client, bucket, error, message):
        bucket.put("a.jsonl", lines(1))
        for options in ({}, {"contents": "jsonl"}):
            with pytest.raises(error, match=message) as caught:
                items_of(reader_of(client, bucket, **options))
            assert "flowstone-secret" not in str(caught.value)
            assert bucket.bucket in str(caught.value)

    def test_no_permission(self, s3_server, s3):
        client = client_of(s3_server, signature_version=UNSIGNED)
        if not REAL_SERVER:
            answer_with(client, "ListObjectsV2", 403, "AccessDenied")
        self.assert_fails(client, s3, SourceAccessError, "no permission to read .*ListObjectsV2: AccessDenied")

    def test_no_permission_for_the_objects_alone(self, client, s3):
        s3.put("a.jsonl", lines(1))
        answer_with(client, "GetObject", 403, "AccessDenied")
        with pytest.raises(SourceAccessError, match=r"no permission to read s3://.*/a\.jsonl \(GetObject"):
            items_of(reader_of(client, s3, contents="jsonl"))

    def test_wrong_secret(self, s3_server, s3):
        client = boto3.client(
            "s3",
            endpoint_url=s3_server.endpoint,
            aws_access_key_id=s3_server.key,
            aws_secret_access_key="wrong",
            region_name=s3_server.region,
        )
        if not REAL_SERVER:
            answer_with(client, "ListObjectsV2", 403, "SignatureDoesNotMatch")
        self.assert_fails(client, s3, SourceAccessError, "the credentials are wrong .*check the connection's")

    def test_wrong_key(self, s3_server, s3):
        client = boto3.client(
            "s3",
            endpoint_url=s3_server.endpoint,
            aws_access_key_id="nobody",
            aws_secret_access_key=s3_server.secret,
            region_name=s3_server.region,
        )
        if not REAL_SERVER:
            answer_with(client, "ListObjectsV2", 403, "InvalidAccessKeyId")
        self.assert_fails(client, s3, SourceAccessError, "the credentials are wrong .*check the connection's")

    def test_no_credentials(self, s3_server, s3, monkeypatch, tmp_path):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        client = boto3.client("s3", endpoint_url=s3_server.endpoint, region_name=s3_server.region)
        self.assert_fails(client, s3, SourceAccessError, "there are no credentials .*conn_id")

    def test_expired_credentials(self, client, s3):
        answer_with(client, "ListObjectsV2", 400, "ExpiredToken")
        self.assert_fails(client, s3, SourceUnavailableError, "the credentials have expired")

    def test_credentials_that_expire_while_objects_are_read(self, client, s3):
        s3.put("a.jsonl", lines(1))
        answer_with(client, "GetObject", 400, "ExpiredToken")
        with pytest.raises(SourceUnavailableError, match=r"a\.jsonl: the credentials have expired"):
            items_of(reader_of(client, s3, contents="jsonl"))


class TestNotThere:
    def test_bucket(self, client, s3):
        missing = SimpleNamespace(bucket="flowstone-no-such-bucket")
        for options in ({}, {"contents": "jsonl"}):
            with pytest.raises(SourceNotFoundError, match="s3://flowstone-no-such-bucket/ does not exist"):
                items_of(reader_of(client, missing, **options))
            reader = reader_of(client, missing, contents="jsonl")
            with pytest.raises(SourceNotFoundError):
                reader.splits(2)

    def test_impossible_bucket(self, client):
        with pytest.raises(ReaderError, match="s3://no bucket/"):
            items_of(reader_of(client, SimpleNamespace(bucket="no bucket")))

    def test_server(self, s3_server, s3):
        client = client_of(s3_server, f"http://127.0.0.1:{free_port()}")
        with pytest.raises(SourceUnavailableError, match="EndpointConnectionError.*check the connection's endpoint"):
            items_of(reader_of(client, s3))


class TestThrottled:
    @pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject"])
    def test_for_a_while(self, client, s3, operation):
        s3.put("a.jsonl", lines(1, 2))
        asked = answer_with(client, operation, 503, "SlowDown", times=3)
        assert numbers_of(reader_of(client, s3, contents="jsonl")) == [1, 2]
        assert len(asked) == 3

    @pytest.mark.parametrize("operation", ["ListObjectsV2", "GetObject"])
    def test_for_ever(self, client, s3, operation):
        s3.put("a.jsonl", lines(1, 2))
        asked = answer_with(client, operation, 503, "SlowDown")
        with pytest.raises(SourceUnavailableError, match="throttled, also after several tries .*SlowDown"):
            items_of(reader_of(client, s3, contents="jsonl"))
        assert 1 < len(asked) < 10


class TestCutOff:
    def test_in_a_listing(self, s3_server, s3):
        keys = [f"{number:03}" for number in range(100)]
        for key in keys:
            s3.put(key, "x")
        with cutting_proxy(s3_server.endpoint, 5_000, times=2) as proxy:
            assert keys_of(reader_of(client_of(s3_server, proxy.url), s3)) == keys
            assert proxy.cuts == 2

    def test_in_a_listing_for_ever(self, s3_server, s3):
        for number in range(100):
            s3.put(f"{number:03}", "x")
        with cutting_proxy(s3_server.endpoint, 5_000, times=math.inf) as proxy:
            reader = reader_of(client_of(s3_server, proxy.url), s3)
            # botocore calls half an answer an internal error of the server.
            with pytest.raises(SourceUnavailableError, match=rf"cannot read s3://{s3.bucket}/: .*(network|500)"):
                items_of(reader)

    @pytest.mark.parametrize("whole", [0, 8 << 20], ids=["streamed", "fetched"])
    @pytest.mark.parametrize("concurrency", [1, 3])
    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_in_an_object(self, s3_server, s3, monkeypatch, whole, concurrency, suffix):
        monkeypatch.setattr(_s3_objects, "_WHOLE", whole)
        numbers = [*range(40_000)]
        body = lines(*numbers)
        s3.put(f"a.jsonl{suffix}", gzip.compress(body, 0) if suffix else body)
        s3.put(f"b.jsonl{suffix}", gzip.compress(lines(-1)) if suffix else lines(-1))
        with cutting_proxy(s3_server.endpoint, 300_000, times=1) as proxy:
            client = client_of(s3_server, proxy.url)
            made = requests_of(client)
            reader = reader_of(client, s3, contents="jsonl", concurrency=concurrency)
            assert numbers_of(reader) == [*numbers, -1]
            assert proxy.cuts == 1
        # It went on where it was: what had come before the cut was not fetched again.
        (again,) = [headers["Range"] for _, headers in made if "Range" in headers]
        assert int(again.removeprefix("bytes=").removesuffix("-")) >= 256 << 10

    def test_in_an_object_again_and_again(self, s3_server, s3):
        body = lines(*range(100_000))
        s3.put("a.jsonl", body)
        # Each connection brings a chunk and a bit.
        with cutting_proxy(s3_server.endpoint, 300_000, times=math.inf) as proxy:
            client = client_of(s3_server, proxy.url)
            assert numbers_of(reader_of(client, s3, contents="jsonl", concurrency=1)) == [*range(100_000)]
            assert proxy.cuts >= len(body) // 300_000

    def test_in_an_object_for_ever(self, s3_server, s3):
        s3.put("a.jsonl", lines(*range(40_000)))
        with cutting_proxy(s3_server.endpoint, 100_000, times=math.inf) as proxy:
            reader = reader_of(client_of(s3_server, proxy.url), s3, contents="jsonl")
            with pytest.raises(
                SourceUnavailableError, match=r"a\.jsonl: the connection was cut off 5 times after 0 of"
            ):
                items_of(reader)
            assert proxy.cuts == 5

    def test_in_a_piece_of_parquet(self, s3_server, s3, monkeypatch):
        monkeypatch.setattr(_s3_objects, "_WHOLE", 10_000)
        table = pa.table({"n": range(1_000), "fat": [os.urandom(1_000) for _ in range(1_000)]})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        s3.put("a.parquet", buffer.getvalue())
        with cutting_proxy(s3_server.endpoint, 500_000, times=2) as proxy:
            client = client_of(s3_server, proxy.url)
            found = items_of(reader_of(client, s3, contents="parquet"))
            assert found == table.to_pylist()
            assert proxy.cuts == 2


class TestChanged:
    @pytest.fixture(params=[1, 4], ids=["without threads", "fetched before"])
    def objects(self, request, client, s3, monkeypatch):
        monkeypatch.setattr("flowstone_provider.readers.jsonl.PAGE_ITEMS", 2)
        for name in "abc":
            s3.put(f"{name}.jsonl", lines(*range(10)))
        return lambda: reader_of(client, s3, contents="jsonl", concurrency=request.param)

    def test_since_it_was_listed(self, client, s3, objects, monkeypatch):
        # Fetching comes after listing, whatever is fetched before: the object changes in between.
        put = lambda **_: s3.put("a.jsonl", lines(11, 12))  # noqa: E731
        client.meta.events.register_first("before-call.s3.GetObject", put)
        with pytest.raises(SourceChangedError, match=r"a\.jsonl was written anew since it was listed"):
            items_of(objects())

    def test_deleted_since_it_was_listed(self, client, s3, objects):
        def delete(**_):
            s3.client().delete_object(Bucket=s3.bucket, Key="a.jsonl")

        client.meta.events.register_first("before-call.s3.GetObject", delete)
        with pytest.raises(SourceChangedError, match=r"a\.jsonl was deleted since it was listed"):
            items_of(objects())

    @pytest.mark.parametrize("how", ["written anew", "deleted"])
    def test_since_the_checkpoint(self, s3, objects, how):
        page = next(objects().pages())
        assert page.items == [{"n": 0}, {"n": 1}]
        if how == "deleted":
            s3.client().delete_object(Bucket=s3.bucket, Key="a.jsonl")
        else:
            s3.put("a.jsonl", lines(*range(11)))
        with pytest.raises(SourceChangedError, match=rf"a\.jsonl was {how} since it was listed"):
            items_of(objects(), page.checkpoint)

    def test_within_an_object_that_is_cut_off(self, s3_server, s3):
        s3.put("a.jsonl", lines(*range(100_000)))
        with cutting_proxy(s3_server.endpoint, 600_000, times=1) as proxy:
            client = client_of(s3_server, proxy.url)

            def put(params, **_):
                if "Range" in params["headers"]:
                    s3.put("a.jsonl", lines(1))

            client.meta.events.register_first("before-call.s3.GetObject", put)
            with pytest.raises(SourceChangedError, match=r"a\.jsonl was written anew"):
                items_of(reader_of(client, s3, contents="jsonl", concurrency=1))

    def test_what_is_added_behind_the_checkpoint_is_found(self, s3, objects):
        page = next(objects().pages())
        s3.put("bb.jsonl", lines(77))
        assert numbers_of(objects(), page.checkpoint) == [*range(2, 10), *range(10), 77, *range(10)]


class TestSplits:
    @pytest.fixture
    def split(self, client, s3):
        for number in range(12):
            s3.put(f"{number:02}.jsonl", lines(number, number))
        specs = reader_of(client, s3, contents="jsonl", concurrency=1).splits(3)
        assert [numbers_of(create_reader(spec, ServiceResources(lambda _: client))) for spec in specs] == [
            [number for number in some for _ in "12"] for some in (range(4), range(4, 8), range(8, 12))
        ]
        return lambda: create_reader(specs[1], ServiceResources(lambda _: client))

    @pytest.mark.parametrize(
        ("key", "body", "message"),
        [
            ("05.jsonl", lines(6, 6), "still 4 objects, but some were written anew"),
            ("05.jsonl", None, "were 4 objects and there are 3"),
            ("07.jsonl", None, "were 4 objects and there are 3"),
            ("05a.jsonl", lines(5), "were 4 objects and there are 5"),
            ("03a.jsonl", lines(5), "were 4 objects and there are 5"),
        ],
    )
    def test_that_changed_are_noticed_before_an_item_is_out(self, s3, split, key, body, message):
        page = next(split().pages())
        if body is None:
            s3.client().delete_object(Bucket=s3.bucket, Key=key)
        else:
            s3.put(key, body)
        for after in (None, page.checkpoint):
            with pytest.raises(SourceChangedError, match=message):
                next(split().pages(after))

    def test_that_change_while_they_are_read_are_noticed(self, s3, split, monkeypatch):
        monkeypatch.setattr("flowstone_provider.readers.s3._KEYS", 1)
        pages = split().pages()
        next(pages)
        s3.put("06b.jsonl", lines(7))
        s3.put("06a.jsonl", lines(7))
        with pytest.raises(SourceChangedError, match="were 4 objects"):
            list(pages)

    def test_that_have_others_beside_them_are_the_same(self, s3, split):
        before = numbers_of(split())
        for key in ("03.jsonl", "08.jsonl", "99.jsonl"):
            s3.put(key, lines(0))
        s3.put("05.empty", "")
        assert numbers_of(split()) == before

    def test_there_are_none_of_a_listing_or_with_max_items(self, client, s3):
        for number in range(4):
            s3.put(f"{number}.jsonl", lines(number))
        assert reader_of(client, s3).splits(2) is None
        assert reader_of(client, s3, contents="jsonl", max_items=3).splits(2) is None


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


class TestInventoryOfParquet(Inventory):
    form = "Parquet"
