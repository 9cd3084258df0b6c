"""Signal gates on a real Airflow, all of whose servers are killed while tasks wait."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

from tests.e2e.cluster import Cluster
from tests.support.processes import wait_until

DAGS = Path(__file__).parent / "dags"
DAG_ID = "signal_gates"
# The states of a task that waits, in Airflow 3.3 and before.
WAITS = ("awaiting_input", "deferred")
WAITING = [("plain", -1), ("cleared", -1), ("person", -1), ("checked", -1), ("mapped", 0), ("mapped", 1)]

# They go on by themselves, and would die with the scheduler, whose executor runs tasks as its own processes.
HASTY = [("early", -1), ("fail", -1), ("skip", -1), ("default", -1), *(("hasty", at) for at in range(4))]


class Run:
    """A run of the gates, whose URLs lie in a folder."""

    def __init__(self, airflow: Cluster, folder: Path):
        self.airflow = airflow
        self.folder = folder
        self.id = airflow.trigger(DAG_ID, conf={"folder": str(folder)})

    def url(self, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        path = self.folder / f"{task_id}{map_index}-{try_number}"
        return wait_until(lambda: path.exists() and path.read_text(), timeout=90, what=f"there is no {path.name}")

    def signal(self, url: str, value: object = None, **request) -> int:
        content = request or {"json": value}
        return httpx.post(url, timeout=30, trust_env=False, **content).status_code

    def wait(self, task_id: str, map_index: int = -1, **options) -> str:
        return self.airflow.wait_task(DAG_ID, self.id, task_id, map_index, **options)["state"]

    def xcom(self, task_id: str, map_index: int = -1):
        assert self.wait(task_id, map_index) == "success"
        return self.airflow.xcom(DAG_ID, self.id, task_id, map_index)


@pytest.fixture(scope="module")
def example(airflow: Cluster) -> str:
    airflow.unpause("wait_for_signal")
    return airflow.trigger("wait_for_signal")


@pytest.fixture(scope="module")
def run(airflow: Cluster, example, tmp_path_factory) -> Run:
    """All gates wait, and then the API server, the scheduler and the triggerer are killed and started again."""
    airflow.add_dag(DAGS / "signal_gates.py")
    run = Run(airflow, tmp_path_factory.mktemp("urls"))
    for task_id, map_index in WAITING:
        run.wait(task_id, map_index, states=WAITS)
    for task_id, map_index in HASTY:
        run.wait(task_id, map_index)
    airflow.restart("api-server", "scheduler", "triggerer")
    return run


def test_clear_ends_the_old_url_and_gives_a_new_one(run: Run):
    old = run.url("cleared")
    run.airflow.clear(DAG_ID, run.id, ["cleared"])
    assert run.signal(old, "old") == 410
    new = run.url("cleared", try_number=2)
    assert run.signal(old, "old") == 410
    assert run.signal(new, "new") == 200
    assert run.signal(new, "again") == 409


def test_a_signal_after_a_restart_of_everything_is_the_output(run: Run):
    assert run.signal(run.url("plain"), {"ö": ["☃", 2**53, 0.1, None]}) == 200
    assert run.xcom("plain") == {"ö": ["☃", 2**53, 0.1, None]}


def test_a_signal_before_the_task_waits_is_not_lost(run: Run):
    assert run.xcom("early") == {"early": True}


def test_a_signal_around_the_moment_of_parking_is_not_lost(run: Run):
    assert [run.xcom("hasty", at) for at in range(4)] == [0, 4, 8, 15]


def test_of_two_signals_at_once_one_is_taken_and_each_mapped_gate_has_its_own(run: Run):
    won = []
    for map_index in (0, 1):
        url, answers, together = run.url("mapped", map_index), {}, threading.Barrier(4)

        def send(number, url=url, answers=answers, together=together):
            together.wait()
            answers[number] = run.signal(url, number)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers.values()) == [200, 409, 409, 409]
        won += [number for number, status in answers.items() if status == 200]
    assert [run.xcom("mapped", map_index) for map_index in (0, 1)] == won
    assert run.xcom("after") == won


def test_what_does_not_fit_leaves_the_gate_open(run: Run):
    url = run.url("checked")
    assert run.signal(url, {"order": "x"}) == 422
    assert run.signal(url, content=b"{", headers={"content-type": "application/json"}) == 400
    assert run.signal(url, content=b"{}", headers={"content-type": "text/plain"}) == 415
    fifty = b" " * 50 * 1024 * 1024
    assert run.signal(url, content=fifty, headers={"content-type": "application/json"}) == 413
    last = "A" if url[-1] != "A" else "B"
    assert run.signal(url[:-1] + last, {"order": 1}) == 403
    assert run.wait("checked", states=WAITS) in WAITS
    assert run.signal(url, {"order": 1}) == 200
    assert run.xcom("checked") == 2


def test_after_the_timeout_there_are_three_outcomes_and_no_signal(run: Run):
    assert {task_id: run.wait(task_id) for task_id in ("fail", "skip", "default")} == {
        "fail": "failed",
        "skip": "skipped",
        "default": "success",
    }
    assert run.xcom("default") == ["nobody"]
    assert "within 0:00:01. on_timeout=" in run.airflow.logs(DAG_ID, run.id, "fail")
    assert {run.signal(run.url(task_id), 1) for task_id in ("fail", "skip", "default")} == {410}


def test_a_user_may_answer_where_they_may_edit_runs(run: Run):
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run.id}/taskInstances/person/-1/hitlDetails"
    answer = {"chosen_options": ["Resume"], "params_input": {"payload": {"by": "hand"}}}
    assert run.airflow.client("viewer").patch(path, json=answer).status_code == 403
    assert run.airflow.client().patch(path, json=answer).status_code == 200
    assert run.signal(run.url("person"), "late") == 409
    assert run.xcom("person") == {"by": "hand"}


def test_neither_url_nor_key_is_anywhere_else(run: Run):
    airflow, token = run.airflow, run.url("person").rpartition("/")[2]
    path = f"dags/{DAG_ID}/dagRuns/{run.id}"
    seen = [
        airflow.logs(DAG_ID, run.id, "person"),
        json.dumps(airflow.task_instances(DAG_ID, run.id)),
        json.dumps(airflow.api("GET", f"{path}/hitlDetails")),
        json.dumps(airflow.api("GET", f"{path}/taskInstances/person/xcomEntries")),
        json.dumps(airflow.api("GET", f"dags/{DAG_ID}/details")),
        *((airflow.home / f"{name}.log").read_text() for name in ("scheduler", "triggerer", "dag-processor")),
    ]
    log = airflow.logs(DAG_ID, run.id, "plain")
    assert "/flowstone/signals/***" in log, "where the function itself writes it"
    assert run.url("plain").rpartition("/")[2] not in log
    for text in seen:
        assert token not in text
        assert run.airflow.signal_key not in text
    # The API server's access log has the paths of all requests, as that of any proxy in front of it.
    assert run.airflow.signal_key not in (airflow.home / "api-server.log").read_text()


def test_the_endpoint_is_all_of_ours_that_is_reached_without_a_login(airflow: Cluster):
    (plugin,) = [
        each for each in json.loads(airflow.cli("plugins", "-o", "json").stdout) if each["name"] == "flowstone"
    ]
    assert "/flowstone" in str(plugin["fastapi_apps"])
    for path in ("/", "/docs", "/redoc", "/openapi.json", "/signals", "/signals/", "/signals/x/y"):
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"{airflow.url}/flowstone{path}", trust_env=False)
            assert answer.status_code in (403, 404, 405), (method, path)
    assert httpx.post(f"{airflow.url}/flowstone/signals/x", trust_env=False).json() == {"detail": "no valid token"}


def test_the_example(airflow: Cluster, example: str, run: Run):
    assert airflow.wait_run("wait_for_signal", example) == "success"
    assert airflow.xcom("wait_for_signal", example, "report") == "26115 observations of 3 airports"


def test_the_signal_to_the_new_url_is_the_output_after_clear(run: Run):
    """At the end, for it came when the task had just parked, and took effect when it had settled."""
    assert run.xcom("cleared") == "new"
