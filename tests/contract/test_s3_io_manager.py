"""The IO manager ``s3`` passes the suite, against an S3 server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.s3 import S3IOManager
from flowstone_provider.testing.io_manager import IOManagerContract
from tests.services.s3 import CONNECTION_ID, fresh_bucket

pytestmark = [pytest.mark.s3, pytest.mark.parquet]


class TestS3(IOManagerContract):
    """Each test has a folder of its own in one bucket."""

    manager = S3IOManager

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _bucket(cls, s3_server):
        with fresh_bucket(s3_server) as bucket:
            cls.bucket = bucket
            yield

    @pytest.fixture(autouse=True)
    def _one_client(self, monkeypatch):
        # Making a client takes longer than what it is asked.
        monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id: bucket.client())
        bucket = self.bucket

    @pytest.fixture
    def options(self, request):
        return {"bucket": self.bucket.bucket, "prefix": request.node.name, "conn_id": CONNECTION_ID}
