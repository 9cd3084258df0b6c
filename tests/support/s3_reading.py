"""Readers of S3 in tests: made with a client, read to their end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import tenacity

from flowstone_provider import s3_objects
from flowstone_provider.contracts.item_reader import ItemReader
from flowstone_provider.readers.s3 import S3Reader
from tests.services.s3 import S3Server
from tests.support.resources import ServiceResources


def no_waiting(monkeypatch: Any) -> None:
    """Try again at once, botocore too."""
    import botocore.endpoint

    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(s3_objects, "_WAIT", tenacity.wait_none())


def client_of(server: S3Server, url: str | None = None, **config: Any) -> Any:
    """A boto3 client for a server, or for what stands before it."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url or server.endpoint,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name=server.region,
        config=Config(s3={"addressing_style": "path"}, **config),
    )


def reader_of(client: Any, bucket: Any, cls: type[ItemReader] = S3Reader, **options: Any) -> ItemReader:
    """A reader, of a bucket unless the class reads something else."""
    if cls is S3Reader:
        options = {"bucket": bucket.bucket, **options}
    return cls(cls.options(**options), ServiceResources(aws=lambda service: client))


def items_of(reader: ItemReader, after: Any = None) -> list[Any]:
    """All its items; it is closed."""
    try:
        return [item for page in reader.pages(after) for item in page.items]
    finally:
        reader.close()


def keys_of(reader: ItemReader) -> list[str]:
    """The keys of the listed objects."""
    return [item["key"] for item in items_of(reader)]


def lines(*numbers: int) -> bytes:
    """A JSON Lines object of numbers."""
    return b"".join(b'{"n": %d}\n' % number for number in numbers)


def numbers_of(reader: ItemReader, after: Any = None) -> list[int]:
    """What `lines` was given."""
    return [item["n"] for item in items_of(reader, after)]
