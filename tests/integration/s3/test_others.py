"""IO managers over S3 beside others: their uploads stay, and what they write is seen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.s3 import S3IOManager
from tests.support.s3_faults import answer_with
from tests.support.s3_reading import client_of

pytestmark = [pytest.mark.s3, pytest.mark.parquet]

KEY = AssetKey("numbers", "eu")
LATER = datetime.now(timezone.utc) + timedelta(hours=1)
OURS = f"numbers/p=eu/{'0' * 32}-00000.bin"


@pytest.fixture
def manager(monkeypatch, s3, client):
    """A manager of the whole bucket."""
    monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id=None: client)
    return S3IOManager(bucket=s3.bucket)


def begin_upload(s3, key):
    place = {"Bucket": s3.bucket, "Key": key}
    upload = s3.client().create_multipart_upload(**place)["UploadId"]
    s3.client().upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x" * 1_000)


def uploads(s3):
    return [each["Key"] for each in s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", [])]


def test_clean_leaves_uploads_of_others(manager, s3):
    for key in (OURS, "backup.tar", "numbers/p=eu/part-0.parquet"):
        begin_upload(s3, key)
    assert manager.clean(LATER) == 1_000
    assert sorted(uploads(s3)) == ["backup.tar", "numbers/p=eu/part-0.parquet"]


@pytest.mark.parametrize("operation", ["ListParts", "AbortMultipartUpload"])
def test_an_upload_that_ended_meanwhile_is_cleaned(manager, s3, s3_server, monkeypatch, operation):
    begin_upload(s3, OURS)
    client = client_of(s3_server)
    answer_with(client, operation, 404, "NoSuchUpload")
    monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id=None: client)
    assert S3IOManager(bucket=s3.bucket).clean(LATER) == 0


@pytest.mark.parametrize("manager_of", [FileIOManager, ParquetIOManager])
def test_a_listing_that_was_kept_does_not_hide_what_another_process_stored(s3, manager_of):
    lake, elsewhere = manager_of(path=s3.url("lake")), manager_of(path=s3.url("elsewhere"))
    lake.store(KEY, pa.table({"n": [1]}))
    elsewhere.store(KEY, pa.table({"n": range(1_000)}))
    lake.clean(LATER)  # which lists all files, with their sizes and versions
    for key in s3.keys("elsewhere/"):
        s3.put(key.replace("elsewhere/", "lake/", 1), s3.get(key))
    assert lake.receipt(KEY).rows == 1_000
    assert lake.load(KEY).num_rows == 1_000
