"""``airflow flowstone …``, as typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.cli import cli_parser

from flowstone_provider.hooks.parallel import kept_in, start_of
from flowstone_provider.hooks.storage import storage as storage_folder
from flowstone_provider.scatter.options import Batching, Tolerance
from tests.support.scatters import Scatter

DAG = """
from airflow.sdk import DAG, Param, task
from flowstone_provider import Batching, source

with DAG("numbers", schedule=None, params={"folder": Param("none"), "most": Param(4)}):

    @task.scatter(
        items=source("csv", path="{{ params.folder }}/{{ ds }}.csv"),
        select=["n"],
        batching=Batching(max_items="{{ params.most }}"),
    )
    def work(item): ...

    work()

    @task
    def given(): ...

    @task.scatter(items=given(), group_id="other")
    def other(item): ...

    other()
"""


@pytest.fixture
def storage(tmp_path, configure):
    configure("storage", f"file://{tmp_path}/ledger")
    return tmp_path / "ledger"


@pytest.fixture
def airflow(storage, capsys, monkeypatch):
    """Run a command as Airflow's parser finds it, in this process; gives what it prints."""
    parser = cli_parser.get_parser()

    def run(*words, code=0, answer=""):
        monkeypatch.setattr("builtins.input", lambda question: answer)
        ended: object = 0
        try:
            args = parser.parse_args(["flowstone", *words])
            args.func(args)
        except SystemExit as end:
            ended = end.code
        printed = capsys.readouterr()
        if code == 0:
            assert ended == 0, printed.err
            return printed.out
        assert ended not in (0, None)
        return f"{ended}{printed.err}"

    return run


def airflow_process(dags, *words):
    """Run a command as typed."""
    env = {
        **os.environ,
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",  # it says so on stdout
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
    }
    command = [sys.executable, "-m", "airflow", "flowstone", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_plan_is_a_dry_run(tmp_path, storage, airflow_db):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "numbers.py").write_text(DAG)
    (tmp_path / "2026-01-02.csv").write_text("n,m\n" + "".join(f"{n},x\n" for n in range(10)))
    words = ("plan", "numbers", "work", "--date", "2026-01-02", "--conf", json.dumps({"folder": str(tmp_path)}))
    out = airflow_process(tmp_path / "dags", *words).stdout
    assert "items    10" in out
    assert "batches  3" in out
    assert 'sample   {"n":"0"}' in out
    done = airflow_process(tmp_path / "dags", *words, "-o", "json")
    assert json.loads(done.stdout) == {
        "items": 10,
        "batches": [4, 4, 2],
        "sample": {"index": 0, "source": f"{tmp_path}/2026-01-02.csv", "item": {"n": "0"}},
    }
    assert not storage.exists()
    refused = airflow_process(tmp_path / "dags", "plan", "numbers", "other")
    assert refused.returncode == 1
    assert "come from another task" in refused.stderr


def scatter_in(folder: Path) -> Scatter:
    scatter = Scatter(folder, list(range(20)), batching=Batching(max_items=10), tolerance=Tolerance.any())
    scatter.run(lambda item: 1 / item, 0)
    return scatter


def test_status_says_how_far_a_run_is(airflow, tmp_path):
    scatter_in(tmp_path / "ledger").gather()
    out = airflow("status", "dag", "run")
    assert out == "scatter: planned, 2 batches, 20 items; 9 succeeded, 1 failed\n"
    row = json.loads(airflow("status", "dag", "run", "--output", "json"))["scatter"]
    assert (row["items"], row["succeeded"], row["failed"], row["cancelled"]) == (20, 9, 1, None)
    assert "dag has no scatter in run nothing" in airflow("status", "dag", "nothing")


def test_clean_removes_what_is_old_and_only_that(airflow, tmp_path):
    scatter = scatter_in(tmp_path / "ledger")
    assert airflow("clean", "--older-than", "1d") == "0 folders\n"
    assert scatter.folder.exists()
    old = (datetime.now(timezone.utc) - timedelta(days=40)).timestamp()
    for path in scatter.folder.rglob("*"):
        os.utime(path, (old, old))
    assert "would remove" in airflow("clean", "--older-than", "30d", "--dry-run")
    assert scatter.folder.exists()
    assert "nothing was removed" in airflow("clean", "--older-than", "30d", answer="n", code=1)
    assert scatter.folder.exists()
    assert "removed 1 folders" in airflow("clean", "--older-than", "30d", "--yes")
    assert list((tmp_path / "ledger").rglob("*")) == []


def test_clean_removes_one_run(airflow, tmp_path):
    scatter = scatter_in(tmp_path / "ledger")
    airflow("clean", "--dag-id", "dag", "--run-id", "other", "-y")
    assert scatter.folder.exists()
    airflow("clean", "--dag-id", "dag", "--run-id", "run", "--scatter-id", "scatter", "-y")
    assert not scatter.folder.exists()


def test_clean_removes_what_parallel_groups_kept_and_status_leaves_it_out(airflow, storage):
    folder = storage_folder()
    start_of(kept_in(folder, "dag", "run", "group", 0))
    start_of(kept_in(folder, "dag", "later", "group", 0))
    assert "dag has no scatter in run run" in airflow("status", "dag", "run")
    assert "removed 1 folders" in airflow("clean", "--dag-id", "dag", "--run-id", "run", "-y")
    assert [path.relative_to(storage).parts[:3] for path in storage.rglob("*.json")] == [("dag", "later", "~parallel")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to remove"),
        (("--run-id", "x"), "--run-id needs --dag-id"),
        (("--older-than", "soon"), "'soon' is no age"),
    ],
)
def test_clean_refuses_what_is_not_clear(airflow, words, message):
    assert message in airflow("clean", *words, code=1)
