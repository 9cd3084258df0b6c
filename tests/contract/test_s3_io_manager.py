"""The IO manager ``s3`` passes the suite, against an S3 server."""

from __future__ import annotations

import pytest

from flowstone_provider.hooks.s3 import S3IOManager
from tests.support.s3_managers import OnS3

pytestmark = [pytest.mark.s3, pytest.mark.parquet]


class TestS3(OnS3):
    manager = S3IOManager

    # It takes seconds, for a process of its own: tests/integration has it.
    test_a_writer_that_is_killed_leaves_the_old_value = None
