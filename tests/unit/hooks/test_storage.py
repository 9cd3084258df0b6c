"""Where the ledger is, and what happens when it cannot be written."""

from __future__ import annotations

import subprocess
import sys
import textwrap

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


FULL = """
import resource, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from flowstone_provider.errors import StorageError
from tests.support.scatters import Scatter

scatter = Scatter(Path({folder!r}), list(range(2000)), batching=dict(max_items=1000))
scatter.run(lambda item: "small", 0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as if the disk were full
try:
    scatter.run(lambda item: "large" * 100, 1)
except StorageError as error:
    print(error)
"""


def test_a_full_disk_ends_the_batch_and_keeps_what_is_recorded(tmp_path):
    from pathlib import Path

    root = str(Path(__file__).parents[3])
    script = textwrap.dedent(FULL).format(root=root, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert "has room" in done.stdout
    scatter = Scatter(tmp_path, list(range(2000)), batching={"max_items": 1000})
    assert scatter.gather()["counts"] == {"total": 2000, "succeeded": 1000, "failed": 0, "pending": 1000}
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "no half-written file is left"
