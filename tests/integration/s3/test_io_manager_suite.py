"""IO managers over S3 pass the whole suite."""

from __future__ import annotations

import pytest

from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.s3 import S3IOManager
from tests.services.s3 import CONNECTION_ID
from tests.support.s3_managers import OnS3

pytestmark = [pytest.mark.s3, pytest.mark.parquet]


class TestS3(OnS3):
    manager = S3IOManager


class TestFileOnS3(OnS3):
    """The IO manager ``file`` with a URL of S3."""

    manager = FileIOManager

    @pytest.fixture
    def options(self, request):
        return {"path": f"s3://{CONNECTION_ID}@{self.bucket.bucket}/{request.node.name}"}
