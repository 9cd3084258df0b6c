"""Parallel branches in runs of DAGs, in this process; the real scheduler is in `tests/e2e`."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, TaskGroup, task, task_group

from flowstone_provider import BranchOutcome, ParallelTaskGroup, load, registry, telemetry
from flowstone_provider.contracts.parallel import ParallelCoordinator
from tests.support.dags import pulled, run_dag, states

PARTIAL = {"failure_mode": "partial"}


@pytest.fixture(autouse=True)
def storage(tmp_path, configure, airflow_db):
    configure("storage", f"file://{tmp_path}/storage")
    return tmp_path / "storage"


@task
def give(value=None):
    return value


@task
def fail(value=None):
    raise ValueError("no")


@task
def skip(value=None):
    raise AirflowSkipException("not today")


def until(ready):
    """A task that goes on until this is true; others run in between."""

    @task.sensor(mode="reschedule", poke_interval=0.2)
    def wait():
        return ready()

    return wait()


def become(what, outside, joined):
    """Tasks of a branch that becomes this; ``joined`` says whether the branches were."""
    after = give.override(task_id="after")
    if what == "late":
        until(joined)
    elif what == "failed":
        fail() >> after()
    elif what == "skipped":
        skip() >> after()
    elif what == "upstream_failed":
        outside >> give()
    else:
        give(2)


BECAME = {
    "succeeded": {"status": "succeeded", "value": 2, "error": None},
    "failed": {"status": "failed", "value": None, "error": "{}.b.fail failed"},
    "skipped": {"status": "skipped", "value": None, "error": "it was skipped"},
    "late": {"status": "timed_out", "value": None, "error": "it had not ended 0.5 s after the group started"},
    "upstream_failed": {"status": "failed", "value": None, "error": "what is before it failed"},
}
KINDS = [("all_or_nothing", True), ("partial", True), ("partial", False)]


@pytest.mark.parametrize("kinds_of_end", [["late"], ["succeeded", "failed", "skipped", "upstream_failed"]], ids=str)
def test_what_arrives_of_a_branch(kinds_of_end, capfd, tmp_path):
    """Of each kind of branch, whatever becomes of it, beside one that succeeds."""
    cases = {
        f"{mode}_{required}_{became}": (mode, required, became)
        for (mode, required), became in product(KINDS, kinds_of_end)
    }
    flag = tmp_path / "joined"
    with DAG("arrives", schedule=None) as dag:

        @task(trigger_rule="all_done")
        def joined():
            flag.touch()

        end = joined()
        outside = fail.override(task_id="outside")()
        for group_id, (mode, required, became) in cases.items():
            with ParallelTaskGroup(group_id, failure_mode=mode) as group:
                with group.branch("a"):
                    give(1)
                with group.branch("b", required=required, timeout=0.5 if became == "late" else None):
                    become(became, outside, flag.exists)
            group >> end
    run = run_dag(dag)
    found = states(run)
    out = capfd.readouterr().out
    for group_id, (_, required, became) in cases.items():
        error = BECAME[became]["error"] and BECAME[became]["error"].format(group_id)
        if became == "succeeded" or not required:
            expected = {
                "a": {"status": "succeeded", "value": 1, "error": None},
                "b": {**BECAME[became], "error": error},
            }
            assert pulled(run, f"{group_id}.join") == expected
        else:
            assert found[f"{group_id}.join"] == "failed"
            assert f"{group_id!r}: 1 of 2 branches" in out
            assert f"b (required) {BECAME[became]['status'].replace('_', ' ')}: {error}" in out


def test_values_of_branches_and_a_join_by_function():
    with DAG("values", schedule=None) as dag:
        with ParallelTaskGroup("g", **PARTIAL) as group:

            @group.join
            def combine(outcomes, run_id, params):
                assert all(isinstance(outcome, BranchOutcome) for outcome in outcomes.values())
                values = {name: outcome.value for name, outcome in outcomes.items()}
                values["scatter"] = sorted(load(values["scatter"]))
                return {"values": values, "broken": outcomes["broken"], "run": [run_id, params["n"]]}

            with group.branch("one"):
                give({"x": give.override(task_id="before")(1)})
            with group.branch("two"):
                give(1)
                with TaskGroup("inner"):
                    give.override(task_id="dotted.id")(2)
                    give.override(task_id="nothing")()
            with group.branch("mapped"):
                give.expand(value=[1, 2, 3])
            with group.branch("scatter"):

                @task.scatter(items=[1, 2, 3])
                def double(n):
                    return 2 * n

                double()
            with group.branch("nested"), ParallelTaskGroup("inner") as inner, inner.branch("a"):
                give(5)
            with group.branch("broken", required=False):
                fail.expand(value=[1, 2])
        give.override(task_id="next")(group.output)
    dag.params["n"] = 7
    run = run_dag(dag)
    assert run.state == "success"
    assert pulled(run, "next") == {
        "values": {
            "one": {"x": 1},
            "two": {"give": 1, "inner.dotted.id": 2, "inner.nothing": None},
            "mapped": [1, 2, 3],
            "scatter": [2, 4, 6],
            "nested": {"a": {"status": "succeeded", "value": 5, "error": None}},
            "broken": None,
        },
        "broken": {
            "status": "failed",
            "value": None,
            "error": "g.broken.fail[0], g.broken.fail[1] failed",
        },
        "run": [run.run_id, 7],
    }


@pytest.mark.parametrize("timeout", [None, 60])
def test_what_is_before_a_group_and_does_not_succeed(timeout):
    """The group's join is not green, and what comes after it does not run."""

    def after(before, name, **settings):
        with ParallelTaskGroup(name, **PARTIAL) as group:
            for branch in ("a", "b"):
                with group.branch(branch, required=False, timeout=timeout):
                    give(1)
        before >> group >> give.override(task_id=f"after_{name}")()

    @task.short_circuit
    def stop():
        return False

    @task.branch
    def choose():
        return "chosen"

    @task.route
    def route():
        return "routed"

    with DAG("before", schedule=None) as dag:
        after(fail(), "failed")
        after(skip(), "skipped")
        after(stop(), "stopped")
        after(stop.override(task_id="one", ignore_downstream_trigger_rules=False)(), "stopped_next")
        chosen = choose()
        after(chosen, "not_chosen")
        after(chosen, "chosen")
        routed = route()
        after(routed, "not_routed")
        after(routed, "routed")
    found = states(run_dag(dag))
    groups = ("failed", "skipped", "stopped", "stopped_next", "not_chosen", "chosen", "not_routed", "routed")
    joins = {name: (found[f"{name}.join"], found[f"after_{name}"]) for name in groups}
    assert joins == {
        "failed": ("failed", "upstream_failed"),
        "skipped": ("skipped", "skipped"),
        "stopped": ("skipped", "skipped"),
        "stopped_next": ("skipped", "skipped"),
        "not_chosen": ("skipped", "skipped"),
        "chosen": ("success", "success"),
        "not_routed": ("skipped", "skipped"),
        "routed": ("success", "success"),
    }


def test_a_short_circuit_in_a_branch_skips_it_alone():
    with DAG("short", schedule=None) as dag, ParallelTaskGroup("g", **PARTIAL) as group:

        @task.short_circuit(ignore_downstream_trigger_rules=False)
        def stop():
            return False

        with group.branch("a"):
            give(1)
        with group.branch("b", required=False):
            stop() >> give(2) >> give.override(task_id="last")(3)
    run = run_dag(dag)
    assert run.state == "success"
    assert {name: outcome["status"] for name, outcome in pulled(run, "g.join").items()} == {
        "a": "succeeded",
        "b": "skipped",
    }


def test_a_join_function_that_raises_fails_the_join_and_is_tried_again(capfd):
    tries = []
    with DAG("raises", schedule=None) as dag, ParallelTaskGroup("g", **PARTIAL) as group:

        @group.join(retries=1, retry_delay=timedelta(seconds=1))
        def combine(outcomes):
            tries.append({name: outcome.status for name, outcome in outcomes.items()})
            raise ZeroDivisionError("by hand")

        with group.branch("a"):
            give(1)
        with group.branch("late", required=False, timeout=0.5):
            until(lambda: tries)
    run = run_dag(dag)
    assert states(run)["g.combine"] == "failed"
    assert tries == [{"a": "succeeded", "late": "timed_out"}] * 2
    assert "ZeroDivisionError" in capfd.readouterr().out


def test_a_branch_that_fails_the_join_is_not_retried():
    with DAG("final", schedule=None) as dag, ParallelTaskGroup("g") as group:
        group.join(lambda outcomes: 1, task_id="combine", retries=3)
        with group.branch("a"):
            fail()
    run = run_dag(dag)
    assert [ti.try_number for ti in run.get_task_instances() if ti.task_id == "g.combine"] == [1]


def test_a_group_in_a_mapped_task_group_is_joined_for_each_index():
    with DAG("mapped_groups", schedule=None) as dag:

        @task
        def odd(n):
            if n % 2 == 0:
                raise ValueError("even")
            return n

        @task_group
        def each(n):
            with ParallelTaskGroup("g", **PARTIAL) as group:
                with group.branch("a"):
                    give(n)
                with group.branch("b", required=False):
                    odd(n)

        each.expand(n=give([1, 2, 3]))
    run = run_dag(dag)
    found = [pulled(run, "each.g.join", index) for index in range(3)]
    assert [joined["a"]["value"] for joined in found] == [1, 2, 3]
    assert [joined["b"]["status"] for joined in found] == ["succeeded", "failed", "succeeded"]
    assert [joined["b"]["value"] for joined in found] == [1, None, 3]


def test_the_join_tells_what_came(monkeypatch, storage):
    told = []
    monkeypatch.setattr(telemetry, "emit", lambda *event: told.append(event))
    with DAG("told.dag", schedule=None) as dag, ParallelTaskGroup("g", **PARTIAL) as group:
        with group.branch("a", timeout=60):
            give(1)
        with group.branch("b", required=False):
            fail()
    run = run_dag(dag)
    ((_, measured, about),) = [event for event in told if event[0] == "flowstone.parallel.join"]
    assert measured.pop("seconds") >= 0
    assert measured == {"branches": 2, "succeeded": 1, "failed": 1, "skipped": 0, "timed_out": 0}
    assert about == {"dag_id": "told.dag", "run_id": run.run_id, "group_id": "g"}
    (kept,) = storage.rglob("started.json")
    assert kept.relative_to(storage).parts[0] == "told.dag"


class Elsewhere(ParallelCoordinator):
    """Knows of the branches without asking Airflow."""

    def ready(self):
        return True

    def outcomes(self):
        return {
            branch.name: BranchOutcome("succeeded", value=f"{branch.name} of {self.group.run_id}")
            for branch in self.group.branches
        }


def test_another_coordinator_is_asked(configure):
    registry.parallel_coordinators.register("elsewhere", Elsewhere)
    configure("parallel", "elsewhere")
    with DAG("elsewhere", schedule=None) as dag, ParallelTaskGroup("g") as group, group.branch("a"):
        give(1)
    run = run_dag(dag)
    registry.parallel_coordinators.unregister("elsewhere")
    assert pulled(run, "g.join")["a"]["value"] == f"a of {run.run_id}"
