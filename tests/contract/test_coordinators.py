"""Our coordinator, on the storage that it may have, keeps its contract."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from upath import UPath

from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.testing.coordinator import CoordinatorContract


class TestLedgerOnDisk(CoordinatorContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: LedgerCoordinator(UPath(str(tmp_path)))


class TestLedgerInMemory(CoordinatorContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: LedgerCoordinator(UPath(f"memory://{tmp_path.name}"))


def test_every_registered_coordinator_has_a_suite():
    assert {point.name for point in entry_points(group="flowstone.coordinators")} == {"ledger"}
