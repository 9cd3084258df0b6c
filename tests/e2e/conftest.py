"""One real Airflow for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, running_airflow
from tests.services.postgres import fresh_database
from tests.services.s3 import S3Server

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("e2e")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the components' logs beside a failure."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and cluster is not None:
        report.sections.append(("Airflow's processes", cluster.tails()))
    return report


@pytest.fixture(scope="session")
def airflow(
    postgres_url: str,
    s3_server: S3Server,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Cluster]:
    """A running Airflow with the repository's DAGs, paused; see ``Cluster`` for what it can do.

    Its tasks reach the S3 server through the connection ``flowstone_s3``.
    """
    home = tmp_path_factory.mktemp("airflow")
    with (
        fresh_database(postgres_url) as database,
        running_airflow(home, database, request.config.rootpath / "dags") as cluster,
    ):
        key = {"connection_id": "flowstone_signals", "conn_type": "generic", "password": cluster.signal_key}
        cluster.api("POST", "connections", json=key)
        yield cluster
