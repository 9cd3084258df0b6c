"""S3 Inventories as S3 writes them: a manifest, and data files as CSV or Parquet."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote_plus

from tests.services.s3 import S3Bucket

CSV_SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
_MOMENT = datetime(2026, 1, 31, 23, 59, 58, 123_000, timezone.utc)


def listed(key: str, size: int | None = 3, **other: Any) -> dict[str, Any]:
    """An item as the reader shall give it."""
    return {
        "bucket": "source",
        "key": key,
        "version_id": "v1",
        "is_latest": True,
        "is_delete_marker": False,
        "size": size,
        "last_modified": _MOMENT,
        "etag": hashlib.md5(key.encode()).hexdigest(),
        "storage_class": "STANDARD",
        **other,
    }


def write_inventory(
    bucket: S3Bucket, folder: str, files: list[list[dict[str, Any]]], form: str, **manifest: Any
) -> str:
    """Write an inventory of items in several data files; the URL of its manifest."""
    entries = []
    for number, items in enumerate(files):
        body = _csv(items) if form == "CSV" else _parquet(items)
        key = f"{folder}/data/{number}.{'csv.gz' if form == 'CSV' else 'parquet'}"
        bucket.put(key, body)
        entries.append({"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
    about = {
        "sourceBucket": "source",
        "destinationBucket": f"arn:aws:s3:::{bucket.bucket}",
        "version": "2016-11-30",
        "creationTimestamp": "1769904000000",
        "fileFormat": form,
        "fileSchema": CSV_SCHEMA if form == "CSV" else "message s3.inventory { required binary bucket (STRING); }",
        "files": entries,
        **manifest,
    }
    key = f"{folder}/2026-02-01T01-00Z/manifest.json"
    bucket.put(key, json.dumps(about))
    return f"s3://{bucket.bucket}/{key}"


def _csv(items: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for item in items:
        values = {**item, "key": quote_plus(item["key"], safe="/")}
        values["last_modified"] = item["last_modified"].strftime("%Y-%m-%dT%H:%M:%S.123Z")
        writer.writerow(_text(value) for value in values.values())
    return gzip.compress(text.getvalue().encode())


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parquet(items: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("bucket", pa.string(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            ("version_id", pa.string()),
            ("is_latest", pa.bool_()),
            ("is_delete_marker", pa.bool_()),
            ("size", pa.int64()),
            ("last_modified_date", pa.timestamp("ms", "UTC")),
            ("e_tag", pa.string()),
            ("storage_class", pa.string()),
        ]
    )
    names = {"last_modified": "last_modified_date", "etag": "e_tag"}
    rows = [{names.get(name, name): value for name, value in item.items()} for item in items]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, row_group_size=20)
    return buffer.getvalue()
