"""Where the ledger is, and what happens when it cannot be written."""

from __future__ import annotations

import pytest

from flowstone_provider.errors import StorageError
from flowstone_provider.hooks.storage import storage
from tests.support.scatters import Scatter


def test_storage_is_in_airflow_home_by_default(monkeypatch, configure):
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere")
    assert str(storage()) == "file:///somewhere/flowstone"


def test_storage_is_what_the_configuration_says(configure):
    configure("storage", "memory://flow/stone")
    assert storage().protocol == "memory"
    assert str(storage()).endswith("flow/stone")


def test_a_place_where_nothing_may_be_written_is_named(tmp_path):
    scatter = Scatter("/sys/flowstone", [1])  # the kernel's: not even root may make a folder there
    with pytest.raises(StorageError, match=r"cannot write /sys/flowstone/.*\[flowstone\] storage"):
        scatter.plan()
