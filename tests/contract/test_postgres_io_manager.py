"""The ``postgres`` IO manager passes the suite."""

from __future__ import annotations

import pytest

from flowstone_provider.hooks.postgres import PostgresIOManager
from flowstone_provider.testing.io_manager import IOManagerContract
from tests.support.postgres import airflow_connection

pytestmark = pytest.mark.postgres


class TestPostgres(IOManagerContract):
    manager = PostgresIOManager
    test_a_writer_that_is_killed_leaves_the_old_value = None  # takes seconds: see tests/integration
    kinds = PostgresIOManager.kinds

    @pytest.fixture
    def options(self, postgres_database, monkeypatch):
        # Processes that the suite starts find the connection, too.
        monkeypatch.setenv("AIRFLOW_CONN_FLOWSTONE_PG", airflow_connection(postgres_database))
        return {"conn_id": "flowstone_pg"}
