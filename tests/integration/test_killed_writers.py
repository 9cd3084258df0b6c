"""A process that stores is killed: the part of the IO managers' suite that takes seconds."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager
from flowstone_provider.hooks.postgres import PostgresIOManager
from flowstone_provider.testing.io_manager import IOManagerContract
from tests.support.postgres import airflow_connection


@pytest.mark.parametrize("manager", [FileIOManager, ParquetIOManager, PostgresIOManager])
def test_a_writer_that_is_killed_leaves_the_old_value(manager, tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FLOWSTONE_PG", airflow_connection(postgres_database))
    options = {"conn_id": "flowstone_pg"} if manager is PostgresIOManager else {"path": f"file://{tmp_path}/assets"}
    suite = IOManagerContract()
    suite.manager = manager
    suite.test_a_writer_that_is_killed_leaves_the_old_value(suite.make(options), options)


# Each store is killed in a process of its own, forked so that everything is imported once.
KILLED = """
    import os, signal, sys, warnings
    sys.path.insert(0, {root!r})
    import pyarrow as pa
    from flowstone_provider.contracts.io_manager import AssetKey
    from flowstone_provider.hooks._files import PathFiles
    from flowstone_provider.hooks.file import FileIOManager
    from flowstone_provider.hooks.parquet import ParquetIOManager

    def kill(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 has one for a fork beside threads
    for cls in (FileIOManager, ParquetIOManager):
        manager = cls(path={path!r} + "/" + cls.__name__)
        for moment in ("replace", "remove"):
            key = AssetKey("numbers", moment)
            manager.store(key, pa.table({{"n": [1]}}))
            child = os.fork()
            if child == 0:
                setattr(PathFiles, moment, kill)
                manager.store(key, pa.table({{"n": [2]}}))
                os._exit(1)
            assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
"""


def test_a_writer_that_is_killed_before_or_after_the_receipt_leaves_one_value_whole(tmp_path):
    managers = [manager(path=f"file://{tmp_path}/{manager.__name__}") for manager in (FileIOManager, ParquetIOManager)]
    # What each moment leaves: the receipt is written, or the old file is removed, not any more.
    left = {AssetKey("numbers", "replace"): 1, AssetKey("numbers", "remove"): 2}
    script = textwrap.dedent(KILLED).format(root=str(Path(__file__).parents[2]), path=f"file://{tmp_path}")
    subprocess.run([sys.executable, "-c", script], check=True)
    for manager in managers:
        for key, number in left.items():
            assert manager.load(key, list) == [{"n": number}]
        assert manager.clean(datetime.now(timezone.utc) + timedelta(hours=1)) > 0
        for key, number in left.items():
            assert manager.load(key, list) == [{"n": number}]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2 * len(managers) * len(left), "a receipt and a file for each value"
