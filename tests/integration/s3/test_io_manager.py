"""What becomes of a value of the IO manager ``s3`` when things go wrong."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest
from botocore import UNSIGNED

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import (
    AssetDamagedError,
    AssetNotFoundError,
    OptionsError,
    StorageAccessError,
    StorageError,
)
from flowstone_provider.hooks import _parts, _s3_files
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.s3 import S3IOManager
from tests.services.s3 import CONNECTION_ID
from tests.support.proxy import cutting_proxy
from tests.support.s3_faults import answer_with, requests_of
from tests.support.s3_reading import client_of

pytestmark = [pytest.mark.s3, pytest.mark.parquet]

# The emulator lets anybody in.
REAL_SERVER = bool(os.environ.get("FLOWSTONE_TEST_S3_URL"))

# A part of an upload has at least 5 MiB (S3 user guide, "multipart upload limits").
PART = 5 << 20
LARGE = os.urandom(3 * PART - 1_000)
KEY = AssetKey("numbers", "eu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(_s3_files, "PART", PART)
    monkeypatch.setattr(_parts, "PART", PART)


@pytest.fixture
def made(monkeypatch, s3, s3_server):
    """A manager over the bucket, with its client, or with another."""

    def make(client=None, bucket=s3.bucket):
        client = client or client_of(s3_server)
        monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id=None: client)
        return S3IOManager(bucket=bucket, prefix="/a/b/")

    return make


def uploads(s3):
    """The uploads in parts that were begun and not ended."""
    return s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])


def table(rows=200_000):
    return pa.table({"n": range(rows), "text": pa.array(os.urandom(16).hex() for _ in range(rows))})


class TestRequests:
    def test_small_values_are_few(self, made, s3_server):
        client = client_of(s3_server)
        manager, asked = made(client), requests_of(client)
        manager.store(KEY, {"a": 1})
        assert [operation for operation, _ in asked] == ["GetObject", "PutObject", "PutObject"]
        for value in ({"a": 1}, b"abc", b"", pa.table({"a": [1, 2]})):
            manager.store(KEY, value)
            asked.clear()
            assert manager.load(KEY) == value
            assert [operation for operation, _ in asked] == ["GetObject", "GetObject"]

    @pytest.mark.parametrize("extra", [-1, 0, 1, PART, PART + 1])
    def test_parts_of_every_size_come_back(self, made, extra):
        manager = made()
        value = LARGE[: PART + extra]
        manager.store(KEY, value)
        assert manager.load(KEY) == value
        assert b"".join(manager.load(KEY, Iterator[bytes])) == value

    def test_parts_have_checksums_that_the_server_compares(self, made, s3_server):
        client = client_of(s3_server)
        manager, asked = made(client), requests_of(client)
        manager.store(KEY, LARGE)
        parts = [headers for operation, headers in asked if operation == "UploadPart"]
        assert len(parts) == 3
        assert all("x-amz-checksum-sha256" in headers for headers in parts)

    def test_a_load_that_is_given_up_ends_its_threads(self, made):
        manager = made()
        manager.store(KEY, LARGE)
        chunks = manager.load(KEY, Iterator[bytes])
        assert LARGE.startswith(next(chunks))
        chunks.close()
        assert manager.load(KEY) == LARGE


class TestErrorsThatPass:
    @pytest.mark.parametrize(
        "operation",
        ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "GetObject", "DeleteObjects"],
    )
    def test_twice(self, made, s3_server, operation):
        client = client_of(s3_server)
        manager = made(client)
        manager.store(KEY, {"old": 1})
        asked = answer_with(client, operation, 500, "InternalError", times=2)
        manager.store(KEY, LARGE)
        assert manager.load(KEY) == LARGE
        assert len(asked) == 2

    def test_twice_in_a_listing(self, made, s3_server):
        client = client_of(s3_server)
        manager = made(client)
        manager.store(KEY, {"old": 1})
        asked = answer_with(client, "ListObjectsV2", 500, "InternalError", times=2)
        assert list(manager.list_partitions("numbers")) == ["eu"]
        assert len(asked) == 2

    @pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "PutObject"])
    def test_for_ever(self, made, s3_server, s3, operation):
        made().store(KEY, {"old": 1})
        client = client_of(s3_server)
        asked = answer_with(client, operation, 500, "InternalError")
        with pytest.raises(StorageError, match=rf"cannot write s3://{s3.bucket}/a/b/numbers/.*InternalError") as caught:
            made(client).store(KEY, LARGE)
        assert caught.value.retryable
        assert 1 < len(asked) < 25
        assert made().load(KEY) == {"old": 1}
        assert uploads(s3) == []


class TestCutOff:
    def test_in_a_store(self, made, s3_server, s3):
        with cutting_proxy(s3_server.endpoint, PART // 2, times=2, of_requests=True) as proxy:
            made(client_of(s3_server, proxy.url)).store(KEY, LARGE)
            assert proxy.cuts == 2
        assert made().load(KEY) == LARGE

    def test_in_a_store_for_ever(self, made, s3_server, s3):
        made().store(KEY, {"old": 1})
        before = s3.keys()
        with cutting_proxy(s3_server.endpoint, PART // 2, times=math.inf, of_requests=True) as proxy:
            manager = made(client_of(s3_server, proxy.url, retries={"total_max_attempts": 2}))
            with pytest.raises(StorageError, match="check the connection's endpoint and the network"):
                manager.store(KEY, LARGE)
        assert s3.keys() == before
        assert uploads(s3) == []
        assert made().load(KEY) == {"old": 1}

    def test_in_a_load(self, made, s3_server):
        made().store(KEY, LARGE)
        with cutting_proxy(s3_server.endpoint, PART // 2, times=3) as proxy:
            client = client_of(s3_server, proxy.url)
            asked = requests_of(client)
            assert made(client).load(KEY) == LARGE
            assert proxy.cuts == 3
        # What had come before a cut is not fetched again.
        again = [headers for _, headers in asked if int(headers["Range"].split("=")[1].split("-")[0]) % PART]
        assert len(again) == 3
        assert all(headers["If-Match"] for headers in again)

    def test_in_a_load_of_a_table(self, made, s3_server):
        value = table()
        made().store(KEY, value)
        with cutting_proxy(s3_server.endpoint, 600_000, times=3) as proxy:
            assert made(client_of(s3_server, proxy.url)).load(KEY).equals(value)
            assert proxy.cuts == 3

    @pytest.mark.parametrize("value", [LARGE, table()], ids=["bytes", "table"])
    def test_in_a_load_for_ever(self, made, s3_server, value):
        made().store(KEY, value)
        with cutting_proxy(s3_server.endpoint, 100_000, times=math.inf) as proxy:
            manager = made(client_of(s3_server, proxy.url))
            with pytest.raises(StorageError, match="the connection was cut off 5 times.*check the network"):
                manager.load(KEY)


class TestDamaged:
    @pytest.fixture(params=["json", "bytes", "table"])
    def stored(self, request, made, s3):
        """A manager with a value, and the key of its object."""
        value = {"json": {"a": [1] * 1_000}, "bytes": LARGE, "table": table()}[request.param]
        manager = made()
        receipt = manager.store(KEY, value)
        return manager, receipt.uri.removeprefix(f"s3://{s3.bucket}/")

    def test_bytes_changed(self, stored, s3):
        manager, name = stored
        body = bytearray(s3.get(name))
        body[len(body) // 2] ^= 1
        s3.put(name, bytes(body))
        with pytest.raises(AssetDamagedError, match=f"{name}.* is damaged.*store .*again"):
            manager.load(KEY)

    def test_bytes_are_missing_or_too_many(self, stored, s3):
        manager, name = stored
        body = s3.get(name)
        for other in (body[:-100], b"", body + b"x"):
            s3.put(name, other)
            with pytest.raises(AssetDamagedError, match=f"{name}.* is damaged.*store .*again"):
                manager.load(KEY)

    def test_the_object_is_deleted(self, stored, s3):
        manager, name = stored
        s3.client().delete_object(Bucket=s3.bucket, Key=name)
        with pytest.raises(AssetDamagedError, match=f"{name} is gone"):
            manager.load(KEY)


@pytest.mark.parametrize("value", [LARGE, table()], ids=["bytes", "table"])
def test_a_value_is_replaced_while_it_is_loaded(made, s3, s3_server, value):
    client = client_of(s3_server)
    name = made(client).store(KEY, value).uri.removeprefix(f"s3://{s3.bucket}/")

    def delete(params, **_):
        if "If-Match" in params["headers"]:  # the first piece is there
            s3.client().delete_object(Bucket=s3.bucket, Key=name)

    client.meta.events.register_first("before-call.s3.GetObject", delete)
    with pytest.raises(StorageError, match=f"{name} was deleted since it was opened; load it again"):
        made(client).load(KEY)


class TestRefused:
    def assert_refused(self, manager, message):
        for ask in (
            lambda: manager.store(KEY, {"a": 1}),
            lambda: manager.load(KEY),
            lambda: manager.delete(KEY),
            lambda: list(manager.list_partitions("numbers")),
        ):
            with pytest.raises(StorageAccessError, match=message) as caught:
                ask()
            assert not caught.value.retryable
            assert "flowstone-secret" not in str(caught.value)

    def test_no_such_bucket(self, made):
        self.assert_refused(made(bucket="flowstone-no-such-bucket"), "s3://flowstone-no-such-bucket/.* does not exist")

    def test_no_permission(self, made, s3_server):
        client = client_of(s3_server, signature_version=UNSIGNED)
        if not REAL_SERVER:
            for operation in ("GetObject", "PutObject", "ListObjectsV2", "DeleteObjects"):
                answer_with(client, operation, 403, "AccessDenied")
        self.assert_refused(made(client), r"no permission to \w+ s3://.*AccessDenied.*allow it")

    def test_no_permission_to_write(self, made, s3_server, s3):
        client = client_of(s3_server)
        answer_with(client, "UploadPart", 403, "AccessDenied")
        answer_with(client, "AbortMultipartUpload", 403, "AccessDenied")
        with pytest.raises(StorageAccessError, match=r"no permission to write s3://.*\(UploadPart: AccessDenied"):
            made(client).store(KEY, LARGE)

    def test_some_objects_may_not_be_deleted(self, made, s3_server):
        client = client_of(s3_server)
        manager = made(client)
        manager.store(KEY, {"a": 1})
        denied = {"Errors": [{"Key": "a/b/numbers/p=eu/receipt.json", "Code": "AccessDenied", "Message": "no"}]}
        client.meta.events.register("after-call.s3.DeleteObjects", lambda parsed, **_: parsed.update(denied))
        with pytest.raises(StorageAccessError, match=r"no permission to delete s3://.*/receipt\.json .*AccessDenied"):
            manager.delete(KEY)

    @pytest.mark.parametrize("bucket", ["", "a/b", "me@a", "a--x-s3"])
    def test_no_bucket(self, bucket):
        with pytest.raises(OptionsError, match="bucket"):
            S3IOManager(bucket=bucket)


class TestEverything:
    def test_more_than_a_thousand_partitions(self, made, s3):
        manager = made()
        manager.store(AssetKey("many", "0000"), {"a": 1})
        receipt = s3.get("a/b/many/p=0000/receipt.json")
        names = [f"{number:04}" for number in range(1_200)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: s3.put(f"a/b/many/p={name}/receipt.json", receipt), names))
        assert list(manager.list_partitions("many")) == names
        assert list(manager.list_assets()) == ["many"]
        manager.files.remove(f"many/p={name}/receipt.json" for name in names)
        assert list(manager.list_partitions("many")) == []

    def test_delete_leaves_nothing(self, made, s3):
        manager = made()
        s3.put("a/beside", "x")
        for value in ({"a": 1}, LARGE, table(10), b""):
            manager.store(KEY, value)
            assert len(s3.keys("a/b/")) == 2, "the value before is gone"
        manager.delete(KEY)
        assert s3.keys() == ["a/beside"]
        with pytest.raises(AssetNotFoundError):
            manager.load(KEY)

    def test_a_source_that_fails_leaves_no_upload(self, made, s3):
        def batches():
            for number in range(40):
                yield pa.record_batch({"n": [number], "fat": [os.urandom(1 << 20)]})
            raise RuntimeError("the source broke")

        with pytest.raises(RuntimeError, match="the source broke"):
            made().store(KEY, batches())
        assert uploads(s3) == []
        assert s3.keys() == []

    def test_clean_removes_what_a_store_that_died_left(self, made, s3):
        manager = made()
        manager.store(KEY, {"a": 1})
        place = {"Bucket": s3.bucket, "Key": "a/b/numbers/p=eu/0123456789abcdef0123456789abcdef-00000.bin"}
        s3.put(place["Key"], "x" * 100)
        upload = s3.client().create_multipart_upload(**place)["UploadId"]
        s3.client().upload_part(**place, UploadId=upload, PartNumber=1, Body=io.BytesIO(b"x" * 1_000))
        elsewhere = s3.client().create_multipart_upload(Bucket=s3.bucket, Key="other")["UploadId"]
        # The emulator says that all uploads began in 2010.
        assert manager.clean(uploads(s3)[0]["Initiated"] - timedelta(hours=1)) == 0
        assert len(uploads(s3)) == 2
        assert manager.clean(datetime.now(timezone.utc) + timedelta(hours=1)) == 1_100
        assert [left["UploadId"] for left in uploads(s3)] == [elsewhere]
        assert manager.load(KEY) == {"a": 1}

    def test_over_a_connection(self, s3, monkeypatch):
        extra = {"bucket": s3.bucket, "prefix": "a", "conn_id": CONNECTION_ID}
        lake = {"conn_type": "flowstone_s3", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(lake))
        manager = S3IOManager("lake")
        assert manager.store(KEY, {"a": 1}).uri.startswith(f"s3://{s3.bucket}/a/numbers/p=eu/")
        assert S3IOManager("lake").load(KEY) == {"a": 1}
