"""The IO manager ``parquet`` passes the suite that we give to plugin authors."""

from __future__ import annotations

import pytest

from flowstone_provider.hooks.parquet import ParquetIOManager
from flowstone_provider.testing.io_manager import IOManagerContract

pytestmark = pytest.mark.parquet


class TestParquet(IOManagerContract):
    manager = ParquetIOManager
    test_a_writer_that_is_killed_leaves_the_old_value = None  # takes seconds: see tests/integration
    kinds = ("table",)

    @pytest.fixture
    def options(self, tmp_path):
        return {"path": f"file://{tmp_path}/lake"}
