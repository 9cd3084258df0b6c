"""The DAGs of the guide for those who come from FlowStone for Elixir do what it says."""

from __future__ import annotations

import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.hooks.io_manager import create_io_manager
from tests.support.dags import pulled, run_dag, states
from tests.unit.test_docs import DOCS, module_of


@pytest.fixture
def guide(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")
    return module_of(DOCS / "migration" / "elixir-flowstone.md", tmp_path)


def test_an_asset_is_made_of_another(guide):
    assert str(run_dag(guide.numbers()).state) == "success"
    assert create_io_manager("file").load(AssetKey("doubled")) == [2, 4, 6]


def test_a_router_and_branches_side_by_side(guide):
    run = run_dag(guide.regions())
    assert (str(run.state), states(run)["by_name"], pulled(run, "merge")) == ("success", "skipped", "33UUU")
    run = run_dag(guide.external())
    assert pulled(run, "data.joined") == {"maps": 3, "news": 7}, states(run)
