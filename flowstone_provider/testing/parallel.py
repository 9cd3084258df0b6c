"""The contract tests of a parallel coordinator, for plugin authors.

::

    class TestMine(ParallelCoordinatorContract):
        @pytest.fixture
        def world(self, tmp_path):
            return MyWorld(UPath(str(tmp_path)))

``world`` is a `World`: it makes coordinators, and what they look at does what a test says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flowstone_provider.contracts.parallel import Branch, BranchOutcome, ParallelCoordinator, ParallelGroup

START = 1_767_225_600.0
"""When the groups of the tests start, in seconds of Unix time."""


class World(Protocol):
    """What a coordinator looks at."""

    def coordinator(self, group: ParallelGroup) -> ParallelCoordinator:
        """A new object each time, as another process would have; its clock says `START` at first."""

    def set(self, task: str, state: str, value: Any = None) -> None:
        """Make a task of every run be in a state of Airflow's; one of ``"success"`` returned the value."""

    def let_pass(self, seconds: float) -> None:
        """Set the clock forward."""


def a_branch(name: str, *, leaves: int = 1, required: bool = True, timeout: float | None = None) -> Branch:
    """A branch of a task ``first`` and of leaves after it."""
    ids = tuple(f"g.{name}.leaf_{n}" for n in range(leaves))
    return Branch(name, tasks=(f"g.{name}.first", *ids), leaves=ids, required=required, timeout=timeout)


def a_group(*branches: Branch, run_id: str = "manual__2026-01-01T00:00:00+00:00", epoch: int = 0) -> ParallelGroup:
    """A group of these branches."""
    return ParallelGroup("a.dag", run_id, "g", -1, epoch, START, branches)


def outcomes(world: World, group: ParallelGroup) -> Mapping[str, BranchOutcome]:
    """The outcomes of a group that is ready."""
    assert world.coordinator(group).ready()
    found = world.coordinator(group).outcomes()
    assert found is not None
    return found


def statuses(world: World, group: ParallelGroup) -> dict[str, str]:
    """Name -> status."""
    return {name: outcome.status for name, outcome in outcomes(world, group).items()}


class ParallelCoordinatorContract:
    """What every parallel coordinator must do; a subclass gives the fixture ``world``."""

    def test_it_is_not_ready_before_every_branch_has_ended(self, world: World) -> None:
        """Nor are there outcomes."""
        group = a_group(a_branch("a"), a_branch("b", required=False))
        for state in ("running", "up_for_retry", "deferred", "scheduled"):
            world.set("g.a.leaf_0", "success")
            world.set("g.b.leaf_0", state)
            assert not world.coordinator(group).ready()
            assert world.coordinator(group).outcomes() is None

    def test_outcomes_come_in_the_order_of_the_branches_with_their_values(self, world: World) -> None:
        """Not in that of their ends."""
        world.set("g.b.leaf_0", "success", {"n": 2})
        world.set("g.a.leaf_0", "success", [1])
        found = outcomes(world, a_group(a_branch("b"), a_branch("a")))
        assert list(found.items()) == [
            ("b", BranchOutcome("succeeded", {"n": 2})),
            ("a", BranchOutcome("succeeded", [1])),
        ]

    def test_a_branch_of_several_leaves_gives_the_values_of_all(self, world: World) -> None:
        """By their ids within the branch."""
        world.set("g.a.leaf_0", "success", 1)
        world.set("g.a.leaf_1", "success", 2)
        assert outcomes(world, a_group(a_branch("a", leaves=2)))["a"].value == {"leaf_0": 1, "leaf_1": 2}

    def test_a_branch_fails_with_one_of_its_leaves_and_names_the_cause(self, world: World) -> None:
        """The task that failed, not those that did not run because of it."""
        world.set("g.a.first", "failed")
        world.set("g.a.leaf_0", "upstream_failed")
        world.set("g.a.leaf_1", "success")
        outcome = outcomes(world, a_group(a_branch("a", leaves=2)))["a"]
        assert (outcome.status, outcome.value, outcome.failed_tasks) == ("failed", None, ("g.a.first",))
        assert outcome.error is not None
        assert "g.a.first" in outcome.error

    def test_a_branch_whose_upstream_failed_has_no_task_that_failed(self, world: World) -> None:
        """The cause is outside."""
        world.set("g.a.first", "upstream_failed")
        world.set("g.a.leaf_0", "upstream_failed")
        outcome = outcomes(world, a_group(a_branch("a")))["a"]
        assert (outcome.status, outcome.failed_tasks) == ("failed", ())
        assert outcome.error

    def test_a_branch_is_skipped_when_all_its_leaves_are(self, world: World) -> None:
        """Of one that is skipped in part, the rest counts."""
        world.set("g.a.leaf_0", "skipped")
        world.set("g.b.leaf_0", "skipped")
        world.set("g.b.leaf_1", "success", 1)
        assert statuses(world, a_group(a_branch("a"), a_branch("b", leaves=2))) == {"a": "skipped", "b": "succeeded"}

    def test_a_late_branch_is_not_waited_for(self, world: World) -> None:
        """Required or not."""
        group = a_group(a_branch("a"), a_branch("b", timeout=10), a_branch("c", timeout=10, required=False))
        world.set("g.a.leaf_0", "success")
        world.set("g.b.leaf_0", "running")
        world.set("g.c.leaf_0", "running")
        world.let_pass(9)
        assert not world.coordinator(group).ready()
        world.let_pass(1)
        assert statuses(world, group) == {"a": "succeeded", "b": "timed_out", "c": "timed_out"}

    def test_a_branch_without_a_timeout_is_waited_for(self, world: World) -> None:
        """Also when another is late."""
        group = a_group(a_branch("a", required=False), a_branch("b", timeout=10))
        world.set("g.a.leaf_0", "running")
        world.set("g.b.leaf_0", "running")
        world.let_pass(86_400)
        assert not world.coordinator(group).ready()

    def test_a_branch_that_ends_in_time_is_not_late_for_ever(self, world: World) -> None:
        """Nor is the join late when all have ended."""
        group = a_group(a_branch("a", timeout=10))
        world.set("g.a.leaf_0", "success", 1)
        world.let_pass(86_400)
        assert outcomes(world, group)["a"] == BranchOutcome("succeeded", 1)

    def test_a_late_branch_stays_late(self, world: World) -> None:
        """A join that is retried gets the same, though the branch has ended."""
        group = a_group(a_branch("a"), a_branch("b", timeout=10))
        world.set("g.a.leaf_0", "success", 1)
        world.set("g.b.leaf_0", "running")
        world.let_pass(10)
        before = outcomes(world, group)
        world.set("g.b.leaf_0", "success", 2)
        assert outcomes(world, group) == before

    def test_another_epoch_and_another_run_are_judged_anew(self, world: World) -> None:
        """So it is after Clear."""
        branches = (a_branch("a"), a_branch("b", timeout=10))
        world.set("g.a.leaf_0", "success", 1)
        world.set("g.b.leaf_0", "running")
        world.let_pass(10)
        assert statuses(world, a_group(*branches))["b"] == "timed_out"
        world.set("g.b.leaf_0", "success", 2)
        assert statuses(world, a_group(*branches, epoch=2))["b"] == "succeeded"
        assert statuses(world, a_group(*branches, run_id="manual__2026-01-02T00:00:00+00:00"))["b"] == "succeeded"

    def test_a_branch_that_runs_again_is_waited_for_again(self, world: World) -> None:
        """Somebody cleared it."""
        group = a_group(a_branch("a"))
        world.set("g.a.leaf_0", "failed")
        assert statuses(world, group) == {"a": "failed"}
        world.set("g.a.leaf_0", "running")
        assert world.coordinator(group).outcomes() is None
        world.set("g.a.leaf_0", "success", 1)
        assert statuses(world, group) == {"a": "succeeded"}
