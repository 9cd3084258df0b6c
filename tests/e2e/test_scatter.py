"""A scatter survives what happens to a real Airflow: killed processes, failed items, Clear."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.scatter_run import Run
from tests.support.processes import wait_until

DAGS = Path(__file__).parent / "dags"
NO_PRICE = "the price of {} is missing"


@pytest.fixture(scope="module")
def runs(airflow: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All runs, started at once; each goes on until something holds it."""
    airflow.add_dag(DAGS / "scatter_recovery.py")
    for dag_id in ("numbers", "pages"):
        airflow.unpause(dag_id)
    folders = {name: tmp_path_factory.mktemp(name) for name in ("pages", "killed", "failed")}
    (folders["pages"] / "hold-11").touch()
    (folders["killed"] / "hold-4").touch()
    for held in (0, 4):
        (folders["failed"] / f"hold-{held}").touch()
    for broken in (0, 1):
        (folders["failed"] / f"broken-{broken}").write_text(NO_PRICE.format(broken))
    (folders["failed"] / "broken-2").write_text("no answer")
    return {
        "pages": Run(airflow, "pages", folders["pages"]),
        "failed": Run(airflow, "numbers", folders["failed"], tolerance=1),
        "killed": Run(airflow, "numbers", folders["killed"], tolerance=0),
    }


def kill(pid: int) -> None:
    """Kill a process, which then cannot do another thing."""
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE,
        timeout=10,
        what=f"{pid} lives",
    )


@dataclass
class Seen:
    """What a run looked like at one time."""

    state: str
    batches: list[tuple[str, int]]
    labels: list[str]
    gather: list[tuple[str, int]]
    after: str
    log: str
    reference: dict[str, Any]
    counts: dict[str, int]
    indexes: dict[str, list[int]]
    results: list[int]
    calls: dict[int, int]


def look(run: Run) -> Seen:
    """Wait for the end of the run, and look."""
    return Seen(
        state=run.end(),
        batches=run.outcomes("double.batch"),
        labels=[ti["rendered_map_index"] for ti in run.tasks("double.batch")],
        gather=run.outcomes("double.gather"),
        after=run.tasks("total")[0]["state"],
        log=run.log("double.gather"),
        reference=run.xcom("double.gather", key="scatter"),
        counts=run.manifest("double")["counts"],
        indexes={kind: run.indexes("double", kind) for kind in ("succeeded", "failed", "pending")},
        results=[line["result"] for line in run.lines("double", "succeeded")],
        calls=dict(run.count()),
    )


# Failed items: the tolerance is exceeded, the cause is mended, the batches are cleared


@pytest.fixture(scope="module")
def exceeded(runs: dict[str, Run]) -> Seen:
    """All three items of batch 0 fail while batch 1 is in its second item; batches 2 and 3 start later."""
    run = runs["failed"]
    run.wait_call(0)
    run.wait_call(4)
    (run.folder / "hold-0").unlink()
    wait_until(
        lambda: "batch 1 stops" in run.log("double.batch", 1),
        timeout=60,
        what=lambda: f"batch 1 does not stop:\n{run.log('double.batch', 1)}",
        poll=0.5,
    )
    (run.folder / "hold-4").unlink()
    return look(run)


@pytest.fixture(scope="module")
def mended(exceeded: Seen, runs: dict[str, Run]) -> Seen:
    """Nothing is broken any more; the batches that failed or were skipped are cleared."""
    run = runs["failed"]
    for broken in run.folder.glob("broken-*"):
        broken.unlink()
    run.clear(*[("double.batch", n) for n, (state, _) in enumerate(exceeded.batches) if state != "success"])
    return look(run)


def test_a_scatter_fails_beyond_its_tolerance_and_says_why(exceeded):
    assert exceeded.state == "failed"
    assert exceeded.after == "upstream_failed"
    assert exceeded.gather == [("failed", 1)], "two retries are left, and are no use"
    assert exceeded.batches[0] == ("failed", 1)
    assert exceeded.labels[0] == "#0 · 0 ok · 3 failed"

    assert exceeded.counts == {"total": 12, "succeeded": 2, "failed": 3, "pending": 7}
    assert exceeded.reference["counts"] == exceeded.counts
    assert exceeded.reference["manifest"].endswith("/double/manifest.json")
    for part in (
        "scatter 'double': 10 of 12 items did not succeed (3 failed, 7 pending); the tolerance is 1 item. ",
        "most frequent errors: 2 × ValueError: the price of # is missing (item 0); 1 × ValueError: no answer (item 2)",
        f"manifest: {exceeded.reference['manifest']}",
    ):
        assert part in exceeded.log


def test_batches_stop_early_and_leave_their_items_pending(exceeded):
    assert exceeded.calls == dict.fromkeys([0, 1, 2, 3, 4], 1)
    assert exceeded.batches[1:] == [("skipped", 1)] * 3
    assert exceeded.labels[1:] == [
        "#1 · 2 ok · 0 failed · 1 pending",
        "#2 · 0 ok · 0 failed · 3 pending",
        "#3 · 0 ok · 0 failed · 3 pending",
    ]
    assert exceeded.indexes == {"succeeded": [3, 4], "failed": [0, 1, 2], "pending": [5, 6, 7, 8, 9, 10, 11]}


def test_clear_runs_what_has_not_succeeded(exceeded, mended):
    again = {n: count - exceeded.calls.get(n, 0) for n, count in mended.calls.items()}
    assert again == {n: 0 if n in (3, 4) else 1 for n in range(12)}
    assert mended.state == "success"
    assert mended.after == "success"
    assert mended.gather == [("success", 2)]
    assert mended.batches == [("success", 2)] * 4
    assert mended.labels == [f"#{n} · 3 ok · 0 failed" for n in range(4)]
    assert mended.indexes == {"succeeded": list(range(12)), "failed": [], "pending": []}
    assert mended.results == [2 * n for n in range(12)]


def test_clear_of_a_successful_batch_calls_nothing(mended, runs):
    run = runs["failed"]
    run.clear(("double.batch", 2))
    again = look(run)
    assert again.batches == [("success", 2), ("success", 2), ("success", 3), ("success", 2)]
    assert again.gather == [("success", 3)]
    assert again.calls == mended.calls
    assert again.counts == {"total": 12, "succeeded": 12, "failed": 0, "pending": 0}
    assert again.results == mended.results
    assert run.xcom("total") == sum(2 * n for n in range(12))


# Killed processes


def test_a_killed_batch_goes_on_with_what_it_had_not_done(runs):
    run = runs["killed"]
    pid = run.wait_call(4)
    assert run.tasks("double.batch")[1]["rendered_map_index"] == "#1 · 3 items"
    parts = run.ledger("double") / "outcomes" / "00001"
    wait_until(lambda: list(parts.glob("*.jsonl")), timeout=30, what="no outcome is recorded")
    kill(pid)
    (run.folder / "hold-4").unlink()

    assert run.end() == "success"
    assert run.outcomes("double.batch") == [("success", 1), ("success", 2), ("success", 1), ("success", 1)]
    assert run.count() == {**dict.fromkeys(range(12), 1), 4: 2}
    assert run.manifest("double")["counts"] == {"total": 12, "succeeded": 12, "failed": 0, "pending": 0}
    assert run.indexes("double", "succeeded") == list(range(12))
    assert [line["result"] for line in run.lines("double", "succeeded")] == [2 * n for n in range(12)]


def test_a_killed_plan_goes_on_after_its_checkpoint(runs):
    run = runs["pages"]
    pid = run.wait_call(11)
    saved = json.loads((run.ledger("same") / "plan" / "checkpoint.json").read_text())
    resume_at = saved["after"]["at"]
    assert resume_at > 5
    kill(pid)
    (run.folder / "hold-11").unlink()

    assert run.end() == "success"
    assert run.outcomes("same.plan") == [("success", 2)]
    assert run.count() == {page: 1 if page < resume_at else 2 for page in range(12)}
    assert [ti["rendered_map_index"] for ti in run.tasks("same.batch")] == [
        f"#{n} · {items} ok · 0 failed" for n, items in enumerate((14, 14, 14, 6))
    ]
    results = [(line["index"], line["result"]) for line in run.lines("same", "succeeded")]
    assert results == [(n, n) for n in range(48)]
