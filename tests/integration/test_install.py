"""The package as others get it: the core alone, and strangers' plugins beside it, in new environments."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.environments import ROOT, build_wheel, make_environment, run

PLUGIN = ROOT / "docs" / "examples" / "flowstone-reader-http"
TABLES = ROOT / "docs" / "examples" / "flowstone-io-sqlite"

SCATTER = """
import json, tempfile
from importlib.util import find_spec
from pathlib import Path
from upath import UPath
from flowstone_provider import Batching, ScatterOptions, registry, source
from flowstone_provider.contracts.scatter import Barrier
from flowstone_provider.errors import MissingExtraError
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.batch import item_lines, run_batch
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.manifest import gather
from flowstone_provider.scatter.planner import make_plan

folder = Path(tempfile.mkdtemp())
(folder / "a.csv").write_text("n\\n" + "".join(f"{n}\\n" for n in range(10)))
here, options = Barrier("d", "r", "s"), ScatterOptions(batching=Batching(max_items=4))

def scatter(spec, name, resources):
    ledger = LedgerCoordinator(UPath(str(folder / name)))
    reader = registry.create_reader(spec, resources)
    plan = make_plan(reader, options, ledger, ledger.open(here), limit=100, resources=resources)
    for batch in plan.batches:
        run_batch(lambda item: item, ledger, here, plan, batch.number, options, resources)
    lines = lambda batch: item_lines(ledger, batch, options, resources)
    return gather(ledger, here, plan, options, lines)["counts"]["succeeded"]

def missing(resources, reader, **options):
    spec = source(reader, **options)
    try:
        scatter(spec, "missing", resources)
    except MissingExtraError as error:
        return str(error)

(folder / "a.parquet").touch(), (folder / "a.csv.zst").touch()
local, airflow = LocalResources(), AirflowResources()
print(json.dumps({
    "csv": scatter(source("csv", path=str(folder / "a.csv")), "csv", local),
    "parquet": missing(local, "parquet", path=str(folder / "a.parquet")),
    "zstd": missing(local, "csv", path=str(folder / "a.csv.zst")),
    "s3": missing(local, "s3", bucket="b"),
    "s3 in Airflow": missing(airflow, "s3", bucket="b"),
    "s3 by inventory": missing(local, "s3_inventory", manifest="s3://b/i/manifest.json"),
    "dynamodb": missing(local, "dynamodb", table="t"),
    "dynamodb in Airflow": missing(airflow, "dynamodb", table="t"),
    "postgres": missing(local, "postgres", query="SELECT 1 AS n", cursor="n"),
    "postgres in Airflow": missing(airflow, "postgres", query="SELECT 1 AS n", cursor="n"),
    "there": [name for name in ("boto3", "pyarrow", "zstandard", "psycopg2", "psycopg") if find_spec(name)],
}))
"""

DAG = """
from airflow.sdk import dag, task
from flowstone_provider import Batching, Tolerance, source

@dag(schedule=None)
def plugin():
    items = source("http", url=URL, conn_id="api", page_size=10)

    @task.scatter(items=items, batching=Batching(max_items=9), tolerance=Tolerance(count=1))
    def by_name(item):
        if item["n"] == 3:
            raise ValueError("three")

    # A source of the configuration, which names the plugin's reader.
    @task.scatter(items="flights", batching=Batching(max_items=9))
    def by_alias(item):
        return item["n"]

    by_name()
    by_alias()

plugin()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory, wheel):
    """A Python with the wheel of this package and its core dependencies; the plugin's wheel is installed by pip."""
    folder = tmp_path_factory.mktemp("install")
    python = make_environment(folder / "venv", wheel, "pytest")
    # Without an index: all that the plugin needs must be there.
    run(python, "-m", "pip", "install", "-q", "--no-index", build_wheel(PLUGIN, folder / "dist"))
    return python


class Flights(BaseHTTPRequestHandler):
    """A web API with 25 items for whoever has the token."""

    def do_GET(self):
        allowed = self.headers["Authorization"] == "Bearer s3cret"
        query = dict(parse_qsl(urlsplit(self.path).query))
        start = int(query.get("cursor", 0))
        end = min(start + int(query["limit"]), 25)
        self.send_response(200 if allowed else 401)
        self.end_headers()
        page = {"items": [{"n": n} for n in range(start, end)], "next": end if end < 25 else None}
        self.wfile.write(json.dumps(page).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def api():
    with ThreadingHTTPServer(("127.0.0.1", 0), Flights) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/flights"
        server.shutdown()


def test_the_core_works_alone_and_a_reader_says_which_extra_it_needs(environment, tmp_path):
    printed = run(environment, "-c", SCATTER, cwd=tmp_path, AIRFLOW_HOME=str(tmp_path))
    found = json.loads(printed.splitlines()[-1])
    assert found.pop("there") == []
    assert found.pop("csv") == 10
    assert len(found) == 9
    for reader, said in found.items():
        assert f"airflow-provider-flowstone[{reader.split()[0]}]" in said, reader


def test_airflow_finds_the_installed_provider(environment, tmp_path):
    printed = run(
        environment, "-m", "airflow", "providers", "list", "--output", "json", cwd=tmp_path, AIRFLOW_HOME=str(tmp_path)
    )
    assert "airflow-provider-flowstone" in printed


def passed(python, plugin, folder):
    """Run the tests of an installed plugin; how many pass."""
    # Without the module: it is the installed one that is tested.
    copy = shutil.copytree(plugin, folder / "copy", ignore=shutil.ignore_patterns("flowstone_*.py"))
    printed = run(python, "-m", "pytest", "-q", cwd=copy, AIRFLOW_HOME=str(folder))
    assert "skipped" not in printed
    return int(re.search(r"(\d+) passed", printed)[1])


def test_the_plugin_passes_its_own_tests(environment, tmp_path):
    assert passed(environment, PLUGIN, tmp_path) > 40


def test_a_dag_scatters_items_of_the_plugin_by_name_and_by_alias(environment, tmp_path, api):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "plugin.py").write_text(DAG.replace("URL", repr(api)))
    alias = {"use": "http", "url": api, "conn_id": "api", "page_size": 5}
    settings = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__FLOWSTONE__STORAGE": f"file://{tmp_path}/ledger",
        "AIRFLOW__FLOWSTONE__READERS": json.dumps({"flights": alias}),
        "AIRFLOW_CONN_API": '{"conn_type": "http", "password": "s3cret"}',
    }
    run(environment, "-m", "airflow", "db", "migrate", cwd=tmp_path, **settings)
    run(environment, "-m", "airflow", "dags", "test", "plugin", cwd=tmp_path, **settings)

    def counts(scatter):
        (path,) = (tmp_path / "ledger").glob(f"plugin/*/{scatter}/manifest.json")
        return json.loads(path.read_text())["counts"]

    assert counts("by_name") == {"total": 25, "succeeded": 24, "failed": 1, "pending": 0}
    assert counts("by_alias") == {"total": 25, "succeeded": 25, "failed": 0, "pending": 0}


TABLES_DAG = """
from airflow.sdk import dag, task
import pyarrow

@dag(schedule=None)
def tables():
    @task.materialize(asset="numbers", io_manager="local", partition="2026-01")
    def numbers() -> pyarrow.Table:
        return pyarrow.table({"n": range(100)})

    @task.materialize(asset="sums", io_manager="local")
    def sums(numbers: list) -> dict:
        return {"sum": sum(row["n"] for row in numbers)}

    sums(numbers())

tables()
"""


@pytest.fixture(scope="module")
def tables_environment(tmp_path_factory, wheel):
    """A Python with the wheel of this package, the extra parquet, and the IO manager's wheel installed by pip."""
    folder = tmp_path_factory.mktemp("tables")
    package = f"airflow-provider-flowstone[parquet] @ {wheel.as_uri()}"
    python = make_environment(folder / "venv", package, "pytest")
    run(python, "-m", "pip", "install", "-q", "--no-index", build_wheel(TABLES, folder / "dist"))
    return python


def test_the_io_manager_passes_its_own_tests(tables_environment, tmp_path):
    assert passed(tables_environment, TABLES, tmp_path) > 25


def test_a_dag_keeps_assets_in_the_plugin_by_name(tables_environment, tmp_path):
    path = tmp_path / "assets.db"
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "tables.py").write_text(TABLES_DAG)
    settings = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__FLOWSTONE__IO_MANAGERS": json.dumps({"local": {"use": "sqlite", "path": str(path)}}),
    }
    run(tables_environment, "-m", "airflow", "db", "migrate", cwd=tmp_path, **settings)
    run(tables_environment, "-m", "airflow", "dags", "test", "tables", cwd=tmp_path, **settings)
    with sqlite3.connect(path) as database:
        assert database.execute('select sum(n) from "assets/numbers 2026-01"').fetchone() == (4950,)
        (value,) = database.execute("select value from flowstone_assets where asset = 'sums'").fetchone()
    assert json.loads(value) == {"sum": 4950}
    words = ("flowstone", "assets", "partitions", "numbers", "--io-manager", "local", "-o", "json")
    printed = run(tables_environment, "-m", "airflow", *words, cwd=tmp_path, **settings)
    (partition,) = json.loads(printed)
    assert (partition["partition"], partition["rows"]) == ("2026-01", 100)
