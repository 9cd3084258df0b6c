"""The suite of IO managers over S3."""

from __future__ import annotations

import pytest

from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.testing.io_manager import IOManagerContract
from tests.services.s3 import CONNECTION_ID, fresh_bucket


class OnS3(IOManagerContract):
    """Each test has a folder of its own in one bucket."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _bucket(cls, s3_server):
        with fresh_bucket(s3_server) as bucket:
            cls.bucket = bucket
            yield

    @pytest.fixture(autouse=True)
    def _one_client(self, monkeypatch):
        # Making a client takes longer than what it is asked.
        client = self.bucket.client()
        monkeypatch.setattr(AirflowResources, "client", lambda self, service, conn_id=None: client)

    @pytest.fixture
    def options(self, request):
        return {"bucket": self.bucket.bucket, "prefix": request.node.name, "conn_id": CONNECTION_ID}
