"""A client of the server, and no waiting before another try."""

from __future__ import annotations

import pytest

from tests.support.s3_reading import client_of, no_waiting


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    no_waiting(monkeypatch)


@pytest.fixture
def client(s3_server):
    return client_of(s3_server)
