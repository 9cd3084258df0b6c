"""A process that stores is killed: the part of the IO managers' suite that takes seconds."""

from __future__ import annotations

import pytest

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
