"""Branches on a real scheduler: a late one is not waited for, a killed join gives the same, Clear another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.scatter_run import Run
from tests.support.processes import wait_until

HELD = ("prices", "weather", "join")


@pytest.fixture(scope="module")
def run(airflow: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which `news` fails, and the others wait until somebody lets them go."""
    folder = tmp_path_factory.mktemp("parallel")
    for name in HELD:
        (folder / f"hold-{name}").touch()
    (folder / "broken-news").touch()
    return Run(airflow, airflow.add_dag(Path(__file__).parent / "dags" / "parallel_branches.py"), folder)


def release(run: Run, name: str) -> None:
    (run.folder / f"hold-{name}").unlink()


def wait(run: Run, task_id: str, *states: str) -> None:
    run.airflow.wait_task(run.dag_id, run.run_id, task_id, states=states, timeout=60)


@pytest.fixture(scope="module")
def killed(run: Run) -> Run:
    """The join waits, then runs while a branch is late; it is killed when that branch has ended."""
    wait(run, "enrich.join", "deferred")
    wait(run, "enrich.news.work", "failed")
    release(run, "prices")
    (called,) = wait_until(
        lambda: (run.folder / "joins").exists() and run.notes("joins"), timeout=60, what="the join was not called"
    )
    assert [ti["state"] for ti in run.tasks("enrich.météo.work")] == ["running"], "it is late, and goes on"
    release(run, "weather")
    wait(run, "enrich.météo.work", "success")
    os.kill(called["pid"], signal.SIGKILL)
    wait_until(
        lambda: not psutil.pid_exists(called["pid"]) or psutil.Process(called["pid"]).status() == psutil.STATUS_ZOMBIE,
        timeout=10,
        what="the join lives",
    )
    release(run, "join")
    assert run.end() == "success"
    return run


LATE = {"prices": "succeeded", "météo": "timed_out", "news": "failed"}


def test_a_late_branch_is_not_waited_for_and_a_killed_join_gives_the_same(killed):
    assert [{k: v for k, v in called.items() if k != "pid"} for called in killed.notes("joins")] == [LATE, LATE]
    assert killed.xcom("enrich.join") == LATE
    assert killed.outcomes("enrich.join") == [("success", 2)]
    assert killed.outcomes("enrich.météo.work") == [("success", 1)]
    assert killed.outcomes("after") == [("success", 1)]


def test_a_group_in_a_mapped_task_group_is_joined_for_each_index(killed):
    joined = [killed.airflow.xcom(killed.dag_id, killed.run_id, "each.g.join", index) for index in (0, 1)]
    assert [{name: outcome["status"] for name, outcome in each.items()} for each in joined] == [
        {"one": "succeeded", "other": "succeeded"},
        {"one": "succeeded", "other": "failed"},
    ]
    assert joined[0]["other"]["value"] == "prices"
    assert joined[1]["other"]["error"] == "each.g.other.work failed"


def test_clear_of_a_branch_that_failed_is_judged_anew(killed):
    (killed.folder / "broken-news").unlink()
    killed.clear(("enrich.news.work", -1))
    assert killed.end() == "success"
    assert killed.xcom("enrich.join") == dict.fromkeys(LATE, "succeeded")
    assert killed.outcomes("enrich.prices.work") == [("success", 1)]
    assert killed.outcomes("after") == [("success", 2)]
    kept = killed.airflow.storage / killed.dag_id / killed.run_id / "~parallel" / "enrich"
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*.json")) == [
        "00000/late.json",
        "00000/started.json",
        "00002/started.json",
    ]
