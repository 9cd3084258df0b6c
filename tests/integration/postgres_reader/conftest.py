"""A database for the tests of a module, and both drivers."""

from __future__ import annotations

import psycopg
import pytest

from tests.services.postgres import fresh_database


@pytest.fixture(scope="module")
def url(postgres_url):
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def run(url):
    """Execute statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture(params=["psycopg", "psycopg2"])
def driver(request):
    return request.param
