"""The settings of Airflow under test, and the services that tests ask for.

Services run on free ports and end with the session. These variables point at one that runs already:

- ``FLOWSTONE_TEST_POSTGRES_URL``: a URL with a superuser,
- ``FLOWSTONE_TEST_S3_URL``, with ``FLOWSTONE_TEST_S3_KEY`` and ``FLOWSTONE_TEST_S3_SECRET``,
- ``FLOWSTONE_TEST_DYNAMODB_URL``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Services and their libraries are imported by the fixtures that start them: the tests of the core run without.
if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from tests.services.s3 import S3Bucket, S3Server

# Airflow reads its settings when it is first imported, which is later than this.
_HOME = Path(tempfile.mkdtemp(prefix="flowstone-airflow-"))
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(_HOME / "plugins"),
    AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL="0",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)
(_HOME / "dags").mkdir()

_E2E = "tests/e2e/"


def pytest_unconfigure() -> None:
    """Remove Airflow's home."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a test that skips has failed: what it needs is missing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} would skip: {report.longrepr}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With pytest-xdist's ``-n 2``, keep in one process what shares something: one Airflow, the fixtures of a file."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _E2E if nodeid.startswith(_E2E) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave out what the installed Airflow is too old for (marker ``airflow``)."""
    items.sort(key=lambda item: not item.nodeid.startswith(_E2E))
    marked = [item for item in items if item.get_closest_marker("airflow")]
    if not marked:
        return
    from airflow import __version__
    from packaging.version import Version

    old = [item for item in marked if Version(__version__) < Version(item.get_closest_marker("airflow").args[0])]
    config.hook.pytest_deselected(items=old)
    items[:] = [item for item in items if item not in old]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Set an option of the ``[flowstone]`` section for the test."""
    from flowstone_provider import config, telemetry, tokens

    def forget() -> None:
        config.clear_cache()
        tokens.keys.cache_clear()
        telemetry.clear_cache()

    def choose(option: str, value: str) -> None:
        monkeypatch.setenv(f"AIRFLOW__FLOWSTONE__{option.upper()}", value)
        forget()

    forget()
    yield choose
    monkeypatch.undo()
    forget()


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Airflow's database: SQLite, empty but for its tables and defaults, made once a session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, with a superuser."""
    if url := os.environ.get("FLOWSTONE_TEST_POSTGRES_URL"):
        yield url
        return
    from tests.services.postgres import running_postgres

    with running_postgres() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    from tests.services.postgres import fresh_database

    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of moto's server."""
    from tests.services.s3 import running_moto

    with running_moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """An S3 server, and the Airflow connection ``flowstone_s3`` that leads to it."""
    from tests.services.s3 import CONNECTION_ID, S3Server

    env = os.environ
    server = S3Server(
        env.get("FLOWSTONE_TEST_S3_URL") or request.getfixturevalue("moto_url"),
        env.get("FLOWSTONE_TEST_S3_KEY", "flowstone"),
        env.get("FLOWSTONE_TEST_S3_SECRET", "flowstone-secret"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"AIRFLOW_CONN_{CONNECTION_ID.upper()}", server.connection())
        yield server


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Bucket]:
    """An empty bucket of the test's own."""
    from tests.services.s3 import fresh_bucket

    with fresh_bucket(s3_server) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def dynamodb_url(request: pytest.FixtureRequest) -> str:
    """The URL of a DynamoDB server; any key will do."""
    return os.environ.get("FLOWSTONE_TEST_DYNAMODB_URL") or request.getfixturevalue("moto_url")
