"""A database for each test, behind the connection ``assets``."""

from __future__ import annotations

import psycopg
import pytest

from flowstone_provider.hooks.postgres import PostgresIOManager
from tests.services.postgres import fresh_database
from tests.support.postgres import airflow_connection


@pytest.fixture
def url(postgres_url, monkeypatch):
    with fresh_database(postgres_url) as url:
        monkeypatch.setenv("AIRFLOW_CONN_ASSETS", airflow_connection(url, application_name="assets"))
        yield url


@pytest.fixture
def manager(url):
    return PostgresIOManager(conn_id="assets")


@pytest.fixture
def run(url):
    """Execute statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection.execute
