"""Decisions last, on a real scheduler: through a kill, through Clear, for each index of a mapped group."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.scatter_run import Run
from tests.e2e.test_scatter import kill
from tests.support.processes import wait_until

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def runs(airflow: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The runs, started at once; that of `routes` is held when its router has decided."""
    airflow.add_dag(DAGS / "routes.py")
    folders = {name: tmp_path_factory.mktemp(name) for name in ("routes", "mapped_routes")}
    (folders["routes"] / "hold").touch()
    (folders["routes"] / "rows").write_text("3")
    for dag_id in folders:
        airflow.unpause(dag_id)
    return {dag_id: Run(airflow, dag_id, folder) for dag_id, folder in folders.items()}


def notes(run: Run, name: str) -> list[str]:
    path = run.folder / name
    return path.read_text().split("\n")[:-1] if path.exists() else []


def states(run: Run) -> dict[str, str]:
    return {ti["task_id"]: ti["state"] for ti in run.tasks()}


@pytest.fixture(scope="module")
def decided(runs):
    """The run of `routes`, whose router was killed after it had decided."""
    run = runs["routes"]
    (pid,) = wait_until(lambda: notes(run, "decided"), timeout=60, what="the router has not decided")
    assert states(run)["large.first"] is None, "nothing is skipped yet"
    kill(int(pid))
    (run.folder / "hold").unlink()
    assert run.end() == "success"
    return run


def test_a_router_killed_after_it_decided_keeps_to_it(decided):
    assert len(notes(decided, "decided")) == 2
    assert decided.outcomes("route") == [("success", 2)]
    assert notes(decided, "asked") == ["3"]
    assert notes(decided, "ran") == ["by small"]
    assert states(decided) == {
        "rows": "success",
        "route": "success",
        "small": "success",
        "large.first": "skipped",
        "large.last": "skipped",
        "merge": "success",
        "collect": "success",
    }
    assert decided.xcom("merge") == "by small"
    assert decided.xcom("collect") == {"small": "by small", "large": None}
    assert "which stands" in decided.log("route")


def test_openlineage_is_told_of_the_decision(decided):
    def complete():
        lines = decided.airflow.openlineage.read_text().splitlines() if decided.airflow.openlineage.exists() else []
        events = map(json.loads, lines)
        return [e for e in events if e["eventType"] == "COMPLETE" and e["job"]["name"] == "routes.route"]

    event = wait_until(complete, timeout=60, what="OpenLineage got no event of the router")[-1]
    facet = event["run"]["facets"]["flowstone_route"]
    decision = decided.xcom("route")
    names = ("id", "selected", "available", "input_hash", "partition", "decided_at", "error")
    assert {name: facet.get(name) for name in names} == {name: decision[name] for name in names}
    assert (facet["selected"], facet["available"]) == ("small", ["large", "small"])


@pytest.mark.airflow("3.2")
def test_clear_keeps_a_decision_until_it_is_forgotten(decided):
    first = decided.xcom("route")
    (decided.folder / "rows").write_text("300")
    decided.clear(("rows", -1))
    assert decided.end() == "success"
    assert decided.xcom("rows") == 300
    assert decided.xcom("route") == first
    assert notes(decided, "asked") == ["3"]
    assert (states(decided)["small"], states(decided)["large.first"]) == ("success", "skipped")
    log = decided.log("route")
    assert "the input is another one than when small was chosen; the decision stands" in log
    (command,) = {line.partition("anew: ")[2].partition(", then")[0] for line in log.splitlines() if "anew: " in line}

    airflow, *words = command.split()
    assert airflow == "airflow"
    assert "forgot 1 of route" in decided.airflow.cli(*words).stdout
    decided.clear(("rows", -1))
    assert decided.end() == "success"
    assert notes(decided, "asked") == ["3", "300"]
    assert decided.xcom("route")["selected"] == "large"
    assert decided.xcom("route")["id"] != first["id"]
    assert (states(decided)["small"], states(decided)["large.last"]) == ("skipped", "success")
    assert decided.xcom("merge") == "by large"
    assert decided.xcom("collect") == {"small": None, "large": "by large"}


def by_index(run: Run, group: str) -> list[tuple[str, ...]]:
    """Of each index, the states of route, small, large and merge."""
    columns = [[ti["state"] for ti in run.tasks(f"{group}.{name}")] for name in ("by_size", "small", "large", "merge")]
    return list(zip(*columns, strict=True))


EACH = [
    ("success", "skipped", "skipped", "skipped"),
    ("success", "success", "skipped", "success"),
    ("success", "skipped", "success", "success"),
]


def test_each_index_of_a_mapped_group_goes_its_own_way(runs):
    run = runs["mapped_routes"]
    assert run.end() == "success"
    for group in ("literal", "generated"):
        assert by_index(run, group) == EACH
        values = [run.airflow.xcom(run.dag_id, run.run_id, f"{group}.merge", index) for index in (1, 2)]
        assert values == ["by small", "by large"]
    assert [ti["state"] for ti in run.tasks("small")] == ["success"] * 2
    assert [ti["state"] for ti in run.tasks("big")] == ["skipped"] * 2
    ran = ["by small", "by large"] * 2 + ["small 0", "small 1"]
    assert sorted(notes(run, "ran")) == sorted(ran)

    # What was not chosen is skipped again when it alone is cleared, and so is all when all is cleared.
    alone = [
        (f"{group}.{task}", index) for group in ("literal", "generated") for task, index in (("small", 2), ("large", 1))
    ]
    run.airflow.clear(run.dag_id, run.run_id, [*alone, ("big", 0)])
    assert run.end() == "success"
    assert sorted(notes(run, "ran")) == sorted(ran)
    run.airflow.clear(run.dag_id, run.run_id)
    assert run.end() == "success"
    assert [by_index(run, group) for group in ("literal", "generated")] == [EACH, EACH]
    assert sorted(notes(run, "ran")) == sorted(ran * 2)
    assert sorted(notes(run, "asked")) == sorted(["0", "1", "20"] * 2 + ["1"])
