"""An S3 server for the tests: moto's, or one that runs already."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support.processes import Server, accepts, free_port

#: The Airflow connection that leads to the server: ``ObjectStoragePath("s3://flowstone_s3@bucket/key")``.
CONNECTION_ID = "flowstone_s3"


@dataclass(frozen=True)
class S3Server:
    """Where an S3 server is, and who may use it."""

    endpoint: str
    key: str
    secret: str = field(repr=False)
    region: str = "us-east-1"

    def client(self, service: str = "s3") -> Any:
        """A boto3 client for this server."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=self.region,
        )

    def connection(self) -> str:
        """The Airflow connection to this server, as JSON for ``AIRFLOW_CONN_…``."""
        extra = {
            "endpoint_url": self.endpoint,
            "region_name": self.region,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
        return json.dumps({"conn_type": "aws", "login": self.key, "password": self.secret, "extra": extra})


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of a test's own, empty at first."""

    server: S3Server
    bucket: str

    def url(self, path: str = "") -> str:
        """The URL of a path in the bucket, with the Airflow connection that leads there."""
        return f"s3://{CONNECTION_ID}@{self.bucket}/{path}"

    def client(self) -> Any:
        """A boto3 client, the same each time: making one takes longer than what it is asked."""
        return self._client

    @cached_property
    def _client(self) -> Any:
        return self.server.client()

    def put(self, path: str, body: bytes | str) -> None:
        """Write an object."""
        self.client().put_object(Bucket=self.bucket, Key=path, Body=body.encode() if isinstance(body, str) else body)

    def get(self, path: str) -> bytes:
        """Read an object."""
        return self.client().get_object(Bucket=self.bucket, Key=path)["Body"].read()

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects under a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextmanager
def running_moto(folder: Path) -> Iterator[str]:
    """Start moto's server (S3, DynamoDB) on a free port; yield its URL; stop it."""
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = Server(argv, log=folder / "moto.log")
    try:
        server.wait_ready(lambda: accepts(port), timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@contextmanager
def fresh_bucket(server: S3Server) -> Iterator[S3Bucket]:
    """Make an empty bucket; yield it; delete it with all it holds."""
    client = server.client()
    bucket = S3Bucket(server, f"flowstone-{uuid.uuid4().hex[:12]}")
    client.create_bucket(Bucket=bucket.bucket)
    try:
        yield bucket
    finally:
        keys = bucket.keys()
        # One call deletes at most 1,000 objects.
        for start in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[start : start + 1000]]
            client.delete_objects(Bucket=bucket.bucket, Delete={"Objects": objects})
        client.delete_bucket(Bucket=bucket.bucket)
