"""A disk that is full while a batch runs, or a table is stored."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.scatters import Scatter

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
    root = str(Path(__file__).parents[2])
    script = textwrap.dedent(FULL).format(root=root, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert "has room" in done.stdout
    scatter = Scatter(tmp_path, list(range(2000)), batching={"max_items": 1000})
    assert scatter.gather()["counts"] == {"total": 2000, "succeeded": 1000, "failed": 0, "pending": 1000}
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "no half-written file is left"


FULL_OF_TABLES = """
import os, resource, signal, sys
sys.path.insert(0, {root!r})
import pyarrow as pa
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import StorageError
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager

key, managers = AssetKey("flights"), [FileIOManager(path={path!r} + "/a"), ParquetIOManager(path={path!r} + "/b")]
for manager in managers:
    manager.store(key, pa.table({{"n": [1, 2, 3]}}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as if the disk were full
for manager in managers:
    try:
        manager.store(key, (pa.record_batch({{"n": [os.urandom(1_000) for _ in range(1_000)]}}) for _ in range(50)))
    except StorageError as error:
        print(error.retryable, error)
    print(manager.load(key, list))
"""


def test_a_disk_that_fills_up_leaves_the_old_value(tmp_path):
    root = str(Path(__file__).parents[2])
    script = textwrap.dedent(FULL_OF_TABLES).format(root=root, path=f"file://{tmp_path}")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("True cannot write") == 2
    assert done.stdout.count("File too large") == 2
    assert done.stdout.count("[{'n': 1}, {'n': 2}, {'n': 3}]") == 2
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4, "no half-written file is left"
