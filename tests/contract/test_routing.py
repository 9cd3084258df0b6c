"""Our routing coordinator, on the storage that it may have, keeps its contract."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from upath import UPath

from flowstone_provider.decisions import LedgerDecisions
from flowstone_provider.testing.routing import RoutingCoordinatorContract


class TestDecisionsOnDisk(RoutingCoordinatorContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: LedgerDecisions(UPath(str(tmp_path)))


class TestDecisionsInMemory(RoutingCoordinatorContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: LedgerDecisions(UPath(f"memory://{tmp_path.name}"))


@pytest.mark.s3
class TestDecisionsOnS3(RoutingCoordinatorContract):
    @pytest.fixture
    def make(self, s3):
        from flowstone_provider.hooks.resources import AirflowResources

        return lambda: LedgerDecisions(AirflowResources().path(s3.url("flowstone")))


def test_every_registered_routing_coordinator_has_a_suite():
    assert {point.name for point in entry_points(group="flowstone.routing")} == {"ledger"}
