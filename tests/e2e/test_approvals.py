"""Approvals on a real scheduler, answered over Airflow's public API as a user would."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.parked import wait_parked
from tests.support.processes import wait_until

DAG_ID = "approvals"


class Run:
    """A run of a DAG, and those who answer."""

    def __init__(self, airflow: Cluster, dag_id: str, **conf: Any):
        self.airflow = airflow
        self.dag_id = dag_id
        self.folder = Path(conf.get("folder", ""))
        self.run_id = airflow.trigger(dag_id, conf=conf)

    def wait(self, task_id: str, map_index: int = -1):
        wait_parked(self.airflow, self.dag_id, self.run_id, task_id, map_index)

    def answer(self, task_id: str, option: str, reason: str | None = None, *, map_index: int = -1, user: str = "admin"):
        """The status code."""
        path = f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
        body = {"chosen_options": [option], "params_input": {"reason": reason} if reason else {}}
        return self.airflow.client(user).patch(path, json=body).status_code

    def decision(self, task_id: str, map_index: int = -1):
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, map_index)

    def log(self, task_id: str, map_index: int = -1):
        return self.airflow.logs(self.dag_id, self.run_id, task_id, map_index)

    def states(self) -> dict[tuple[str, int], tuple[str, int]]:
        found = self.airflow.task_instances(self.dag_id, self.run_id)
        return {(ti["task_id"], ti["map_index"]): (ti["state"], ti["try_number"]) for ti in found}


@pytest.fixture(scope="module")
def run(airflow: Cluster, tmp_path_factory):
    """A run in which everybody has said what they want."""
    airflow.add_dag(Path(__file__).parent / "dags" / f"{DAG_ID}.py")
    run = Run(airflow, DAG_ID, folder=str(tmp_path_factory.mktemp("approvals")))
    run.wait("only_op")
    assert run.answer("only_op", "Approve", user="viewer") == 403
    assert run.answer("only_op", "Approve") == 403, "the administrator is not the one who is asked"
    assert run.answer("only_op", "Approve", user="op") == 200
    run.wait("strict")
    assert run.answer("strict", "Reject", "not this one") == 200
    for map_index, option in ((1, "Approve"), (2, "Reject")):
        run.wait("checked", map_index)
        assert run.answer("checked", option, f"it is {map_index}", map_index=map_index) == 200
    run.wait("good")
    assert run.answer("good", "Approve", "looks right") == 200
    assert run.answer("good", "Reject") == 409
    run.wait("refused")
    assert run.answer("refused", "Reject") == 200
    assert airflow.wait_run(DAG_ID, run.run_id) == "failed"
    return run


def test_a_rejection_skips_what_is_downstream_and_is_not_asked_again(run):
    states = run.states()
    assert states["good", -1] == states["after_good", -1] == ("success", 1)
    assert states["refused", -1] == ("success", 1)
    assert states["after_refused", -1][0] == "skipped"
    assert states["strict", -1] == ("failed", 1), "a retry would ask again"
    assert states["after_strict", -1][0] == "upstream_failed"
    assert "'Delete?' was rejected by admin: not this one" in run.log("strict")
    assert states["only_op", -1] == ("success", 1)


def test_the_decision_is_plain_json(run):
    good, report = run.decision("good"), run.decision("report")
    assert datetime.fromisoformat(good.pop("at")).tzinfo
    assert good == {
        "approved": True,
        "by": {"id": "admin", "name": "admin"},
        "reason": "looks right",
        "subject": f"Publish {run.run_id}?",
        "asset": report,
        "params": {},
    }
    refused = run.decision("refused")
    assert (refused["approved"], refused["reason"], refused["asset"]) == (False, None, report)
    assert run.decision("strict")["reason"] == "not this one"
    assert run.decision("only_op")["by"] == {"id": "op", "name": "op"}
    assert run.decision("after_good")["approved"] is True


def test_nobody_answers_in_time(run):
    states = run.states()
    assert states["late", -1] == ("failed", 1), "a retry would ask again"
    assert "nobody answered within 0:00:05; Clear asks again" in run.log("late")
    assert states["by_default", -1] == ("success", 1)
    decided = run.decision("by_default")
    assert (decided["approved"], decided["by"], decided["reason"]) == (True, None, None)


def test_a_function_is_called_once_and_asks_only_if_need_be(run):
    states = run.states()
    assert [states["checked", n][0] for n in range(3)] == ["success", "success", "skipped"]
    assert sorted((run.folder / "calls").read_text().splitlines()) == ["0 1", "1 1", "2 1"]
    assert run.decision("checked", 0) == "not needed"
    one, two = run.decision("checked", 1), run.decision("checked", 2)
    assert (one["approved"], one["subject"], one["reason"]) == (True, "Number 1?", "it is 1")
    assert (two["approved"], two["subject"], two["by"]["name"]) == (False, "Number 2?", "admin")
    assert states["after_all", -1][0] == "skipped"
    details = run.airflow.api("GET", f"dags/{DAG_ID}/dagRuns/{run.run_id}/hitlDetails", params={"limit": 100})
    asked = {(each["task_instance"]["map_index"], each["body"]) for each in details["hitl_details"]}
    assert {(1, "It is 1."), (2, "It is 2.")} <= asked
    assert 0 not in {map_index for map_index, _ in asked}


def test_the_asset_event_says_who_approved_what_when_and_why(airflow: Cluster, run):
    params = {"source_dag_id": DAG_ID, "source_run_id": run.run_id}
    events = airflow.api("GET", "assets/events", params=params)["asset_events"]
    found = {event["source_task_id"]: event["extra"] for event in events}
    assert found.keys() == {"report", "good", "by_default"}, "a rejection starts no DAG that waits for the asset"
    report, good = run.decision("report"), run.decision("good")
    assert {name: found["good"][name] for name in report} == report
    assert found["good"]["approval"] == {name: good[name] for name in good if name != "asset"}
    assert found["by_default"]["approval"]["by"] is None


def test_openlineage_is_told_of_each_decision(airflow: Cluster, run):
    names = {f"{DAG_ID}.{name}" for name in ("good", "refused", "strict", "late")}

    def ended():
        lines = airflow.openlineage.read_text().splitlines() if airflow.openlineage.exists() else []
        events = [event for event in map(json.loads, lines) if event["eventType"] in ("COMPLETE", "FAIL")]
        found = {event["job"]["name"]: event for event in events if event["job"]["name"] in names}
        return found if found.keys() == names else None

    events = wait_until(ended, timeout=60, what="OpenLineage got no event of the tasks")
    facets = {name: event["run"]["facets"]["flowstone_approval"] for name, event in events.items()}
    told, good = facets[f"{DAG_ID}.good"], run.decision("good")
    assert told["asset"]["checksum"] == good["asset"]["checksum"]
    assert {name: told[name] for name in good if name != "asset"} == {n: v for n, v in good.items() if n != "asset"}
    assert facets[f"{DAG_ID}.refused"]["approved"] is False
    assert facets[f"{DAG_ID}.strict"]["reason"] == "not this one"
    assert facets[f"{DAG_ID}.late"].get("by") is None
    folder = airflow.storage / "assets" / "e2e" / "report"
    for name in ("good", "refused"):
        assert [(i["namespace"], i["name"]) for i in events[f"{DAG_ID}.{name}"]["inputs"]] == [("file", str(folder))]


def test_clear_asks_again(airflow: Cluster, run):
    before = run.decision("strict")
    airflow.clear(DAG_ID, run.run_id, ["strict"], include_downstream=True)
    run.wait("strict")
    assert run.answer("strict", "Approve", "this one after all") == 200
    ended = airflow.wait_task(DAG_ID, run.run_id, "after_strict")
    assert ended["state"] == "success"
    assert before["approved"] is False
    assert run.decision("strict")["reason"] == "this one after all"


def test_the_example_waits_when_too_much_is_missing(airflow: Cluster):
    airflow.unpause("approve_publish")
    run = Run(airflow, "approve_publish", tolerated=0.05)
    run.wait("check")
    assert run.answer("check", "Approve", "the station was down") == 200
    assert airflow.wait_run("approve_publish", run.run_id) == "success"
    assert run.decision("check")["subject"] == "Publish, with 10% missing?"
    assert "the station was down" in run.log("publish")
