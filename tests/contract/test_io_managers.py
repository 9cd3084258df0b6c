"""Our IO managers pass the suite that we give to plugin authors."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.memory import MemoryIOManager
from flowstone_provider.testing.io_manager import IOManagerContract

pytestmark = pytest.mark.parquet


class TestFile(IOManagerContract):
    manager = FileIOManager
    test_a_writer_that_is_killed_leaves_the_old_value = None  # takes seconds: see tests/integration

    @pytest.fixture
    def options(self, tmp_path):
        return {"path": f"file://{tmp_path}/assets"}


class TestMemory(IOManagerContract):
    manager = MemoryIOManager
    across_processes = False

    @pytest.fixture
    def options(self, monkeypatch):
        monkeypatch.setattr(MemoryIOManager, "_values", {})
        return {}


def test_every_registered_io_manager_has_a_suite():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    tested = set(re.findall(r"^    manager = (\w+)$", here, re.MULTILINE))
    assert {point.value.partition(":")[2] for point in entry_points(group="flowstone.io_managers")} <= tested
