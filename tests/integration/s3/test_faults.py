"""The reader of S3 when it may not read, is throttled or cut off, or when objects change."""

from __future__ import annotations

import gzip
import io
import math
import os
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore import UNSIGNED

from flowstone_provider.errors import (
    ReaderError,
    SourceAccessError,
    SourceChangedError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from flowstone_provider.readers import _s3_objects
from flowstone_provider.registry import create_reader
from tests.support.processes import free_port
from tests.support.proxy import cutting_proxy
from tests.support.resources import ServiceResources
from tests.support.s3_faults import answer_with, requests_of
from tests.support.s3_reading import client_of, items_of, keys_of, lines, numbers_of, reader_of

pytestmark = pytest.mark.s3


# The emulator lets anybody in.
REAL_SERVER = bool(os.environ.get("FLOWSTONE_TEST_S3_URL"))


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
        client = boto3.session.Session().client("s3", endpoint_url=s3_server.endpoint, region_name=s3_server.region)
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
