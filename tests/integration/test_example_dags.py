"""Every example DAG is short, imports, and runs to success with the right outcome."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import flowstone_provider
from flowstone_provider import config
from tests.support.dags import run_dag, states

DAGS = Path(flowstone_provider.__file__).parents[1] / "dags"
EXAMPLES = sorted(path.stem for path in DAGS.glob("*.py"))


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The ledger in a folder of the test's own, and so few batches that a run takes seconds."""
    monkeypatch.setenv("AIRFLOW__FLOWSTONE__STORAGE", f"file://{tmp_path}/flowstone")
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "16")
    config.clear_cache()
    yield tmp_path / "flowstone"
    config.clear_cache()


def dag_of(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", DAGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()


class Run:
    """What a run of an example left."""

    def __init__(self, name: str, storage: Path, conf: dict[str, Any] | None = None):
        self.name, self.storage = name, storage
        self.dag_run = run_dag(dag_of(name), conf)
        assert str(self.dag_run.state) == "success", states(self.dag_run)

    @property
    def report(self) -> Any:
        """What the task ``report`` returned."""
        ti = next(ti for ti in self.dag_run.get_task_instances() if ti.task_id == "report")
        return ti.xcom_pull(task_ids="report")

    def manifest(self, scatter: str) -> dict[str, Any]:
        return json.loads(self.manifest_path(scatter).read_text())

    def manifest_path(self, scatter: str) -> Path:
        (path,) = self.storage.glob(f"{self.name}/*/{scatter}/manifest.json")
        return path

    def counts(self, scatter: str) -> tuple[int, int, int]:
        """Items that succeeded, failed and are pending."""
        counts = self.manifest(scatter)["counts"]
        return counts["succeeded"], counts["failed"], counts["pending"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name):
    assert len((DAGS / f"{name}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_names_its_dag_after_its_file(name, configure):
    configure("io_managers", '{"warehouse": {"use": "file"}}')
    assert dag_of(name).dag_id == name


def test_every_example_has_a_test():
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_example_*.py"))
    tested = set(re.findall(r"^def test_(\w+)\(airflow_db, storage", here, re.MULTILINE))
    # The one is tested with `weather`, whose failures it reads; the other needs an API server, and is in tests/e2e.
    assert set(EXAMPLES) - tested == {"redrive", "wait_for_signal"}


def test_batching(airflow_db, storage):
    run = Run("batching", storage)
    assert run.counts("change") == (26_115, 0, 0)
    assert run.manifest("change")["batches"] == 3
    falls = {airport: fall["change"] for airport, fall in run.report.items()}
    assert falls.keys() == {"EWR", "JFK", "LGA"}
    assert all(-60 < fall < -10 for fall in falls.values())


def test_retry_and_rate(airflow_db, storage):
    run = Run("retry_and_rate", storage)
    assert run.counts("ask") == (16, 0, 0)
    busy_or_late = ("AA", "AS", "B6", "F9", "FL", "UA", "US", "VX")
    assert run.report == {**dict.fromkeys(run.report, 1), **dict.fromkeys(busy_or_late, 2)}


def test_tolerate(airflow_db, storage):
    run = Run("tolerate", storage)
    assert run.counts("convert") == (23_386, 2_729, 0)
    assert sum(run.report["missing"].values()) == 2_729
    assert 29.5 < run.report["mean"] < 30.5


def test_chained(airflow_db, storage):
    run = Run("chained", storage)
    assert run.counts("clean") == (3_252, 70, 0)
    assert run.counts("compare") == (3_252, 0, 0)
    ages: dict[str, list[int]] = {}
    with (DAGS / "data" / "planes.csv").open() as planes:
        for plane in csv.DictReader(planes):
            if plane["year"] != "NA":
                ages.setdefault(plane["manufacturer"], []).append(2013 - int(plane["year"]))
    assert run.report == {name: pytest.approx(fmean(of), abs=0.051) for name, of in ages.items()}


def test_paged_source(airflow_db, storage):
    run = Run("paged_source", storage)
    assert run.counts("distance") == (1_458, 0, 0)
    assert len(run.report) == 3
    assert run.report[-1]["km"] > 10_000


def test_weather(airflow_db, storage):
    """And the redrive of what failed in it."""
    weather = Run("weather", storage)
    assert weather.counts("observe") == (26_109, 6, 0)
    assert len(weather.report) == 36
    again = Run("redrive", storage, {"manifest": f"file://{weather.manifest_path('observe')}"})
    assert again.counts("observe") == (5, 0, 0), "the impossible wind is left alone"
    assert all(None in observation.values() for observation in again.report)


def test_route_by_weather(airflow_db, storage):
    assert Run("route_by_weather", storage).report == [
        "EWR: fair, up to 67 °F",
        "JFK: a storm of 26 mph",
        "LGA: one could see for 0.12 miles only",
    ]
    nowhere = Run("route_by_weather", storage, {"day": "2014-07-01"})
    assert nowhere.report == [f"{airport}: nobody knows" for airport in ("EWR", "JFK", "LGA")]


def test_bash_batches(airflow_db, storage):
    run = Run("bash_batches", storage)
    succeeded, failed, pending = run.counts("hottest")
    assert (succeeded + pending, failed) == (26_115, 0)
    assert 0 < pending < 26_115 / 10
