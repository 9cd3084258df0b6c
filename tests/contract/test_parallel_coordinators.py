"""Our parallel coordinator keeps its contract."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
from upath import UPath

from flowstone_provider.testing.parallel import ParallelCoordinatorContract
from tests.support.branches import Airflow


class TestAirflowOnDisk(ParallelCoordinatorContract):
    @pytest.fixture
    def world(self, tmp_path):
        return Airflow(UPath(str(tmp_path)))


class TestAirflowInMemory(ParallelCoordinatorContract):
    @pytest.fixture
    def world(self, tmp_path):
        return Airflow(UPath(f"memory://{tmp_path.name}"))


def test_every_registered_parallel_coordinator_has_a_suite():
    assert {point.name for point in entry_points(group="flowstone.parallel")} == {"airflow"}
