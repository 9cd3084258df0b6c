"""The package as others get it: the core alone, and a stranger's plugin beside it, in a new environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCATTER = """
import json, sys, tempfile
from importlib.util import find_spec
from pathlib import Path
from upath import UPath
from flowstone_provider import Batching, ScatterOptions, registry, source
from flowstone_provider.contracts.scatter import Barrier
from flowstone_provider.errors import MissingExtraError
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.batch import item_lines, run_batch
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.manifest import gather
from flowstone_provider.scatter.planner import make_plan

folder = Path(tempfile.mkdtemp())
(folder / "a.csv").write_text("n\\n" + "".join(f"{n}\\n" for n in range(10)))
resources = LocalResources()
here, options = Barrier("d", "r", "s"), ScatterOptions(batching=Batching(max_items=4))

def scatter(spec, name):
    ledger = LedgerCoordinator(UPath(str(folder / name)))
    reader = registry.create_reader(spec, resources)
    plan = make_plan(reader, options, ledger, ledger.open(here), limit=100, resources=resources)
    for batch in plan.batches:
        run_batch(lambda item: item, ledger, here, plan, batch.number, options, resources)
    lines = lambda batch: item_lines(ledger, batch, options, resources)
    return gather(ledger, here, plan, options, lines)["counts"]["succeeded"]

def missing(reader, path):
    try:
        scatter(source(reader, path=str(folder / path)), "missing")
    except MissingExtraError as error:
        return str(error)

(folder / "a.parquet").touch(), (folder / "a.csv.zst").touch()
print(json.dumps({
    "csv": scatter(source("csv", path=str(folder / "a.csv")), "csv"),
    "plugin": scatter(source("countdown", start=7), "plugin"),
    "parquet": missing("parquet", "a.parquet"),
    "zstd": missing("csv", "a.csv.zst"),
    "there": [name for name in ("boto3", "pyarrow", "zstandard", "psycopg2") if find_spec(name)],
}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Python with the wheel of this package, its core dependencies and the plugin's wheel."""
    folder = tmp_path_factory.mktemp("install")
    uv = [sys.executable, "-m", "uv"]

    def run(*words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    run(*uv, "venv", "-q", "--python", sys.executable, folder / "venv")
    for project in (ROOT, ROOT / "tests" / "support" / "plugin"):
        run(*uv, "build", "-q", "--wheel", "--out-dir", folder / "dist", project)
    python = folder / "venv" / "bin" / "python"
    wheels = sorted((folder / "dist").glob("*.whl"))
    constraints = ROOT / "constraints.txt"
    run(*uv, "pip", "install", "-q", "--python", python, "-c", constraints, *wheels)
    return python


def test_the_core_works_alone_and_a_plugin_beside_it(environment, tmp_path):
    done = subprocess.run(
        [environment, "-c", SCATTER],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": ""},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["there"] == []
    assert (found["csv"], found["plugin"]) == (10, 7)
    assert "airflow-provider-flowstone[parquet]" in found["parquet"]
    assert "airflow-provider-flowstone[zstd]" in found["zstd"]


def test_airflow_finds_the_installed_provider(environment, tmp_path):
    done = subprocess.run(
        [environment, "-m", "airflow", "providers", "list", "--output", "json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": ""},
    )
    assert "airflow-provider-flowstone" in done.stdout
