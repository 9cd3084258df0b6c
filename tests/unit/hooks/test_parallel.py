"""What the states of tasks say of a branch, and where a group's files lie."""

from __future__ import annotations

import pytest
from upath import UPath

from flowstone_provider.contracts.parallel import Branch, ParallelGroup
from flowstone_provider.folders import segment
from flowstone_provider.hooks.parallel import kept_in, start_of, status_of
from flowstone_provider.testing.parallel import START, a_branch, a_group, outcomes
from tests.support.branches import Airflow


@pytest.fixture
def world(tmp_path):
    return Airflow(UPath(str(tmp_path)))


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["success"], "succeeded"),
        (["failed"], "failed"),
        (["upstream_failed"], "failed"),
        (["skipped"], "skipped"),
        (["removed"], "skipped"),
        (["success", "skipped"], "succeeded"),
        (["success", "removed"], "succeeded"),
        (["success", "failed"], "failed"),
        (["skipped", "upstream_failed"], "failed"),
        (["skipped", "skipped"], "skipped"),
        (["success", None], None),
        (["failed", "running"], None),
        (["awaiting_input"], None),
        ([], None),
    ],
)
def test_status_of_a_mapped_leaf(states, status):
    branch = Branch("b", tasks=("b.x",), leaves=("b.x",), mapped=("b.x",))
    assert status_of(branch, {"b.x": dict(enumerate(states))}) == status


def test_a_leaf_that_airflow_has_not_made_yet_has_not_ended():
    assert status_of(a_branch("a", leaves=2), {"g.a.leaf_0": {-1: "success"}}) is None


def test_instances_are_told_from_tasks_of_like_names(world):
    """Airflow calls instance 1 of ``g.a.load`` and the task ``g.a.load_1`` the same."""
    branch = Branch("a", tasks=("g.a.load", "g.a.load_1"), leaves=("g.a.load", "g.a.load_1"), mapped=("g.a.load",))
    for index in range(12):
        world.set("g.a.load", "failed" if index in (3, 11) else "success", map_index=index)
    world.set("g.a.load_1", "failed")
    outcome = outcomes(world, a_group(branch))["a"]
    assert outcome.failed_tasks == ("g.a.load[3]", "g.a.load[11]", "g.a.load_1")
    assert outcome.error == "g.a.load[3], g.a.load[11], g.a.load_1 failed"


def test_many_failed_tasks_are_not_all_named_in_the_message(world):
    branch = Branch("a", tasks=("g.a.x",), leaves=("g.a.x",), mapped=("g.a.x",))
    for index in range(100):
        world.set("g.a.x", "failed", map_index=index)
    outcome = outcomes(world, a_group(branch))["a"]
    assert len(outcome.failed_tasks) == 100
    assert outcome.error == "g.a.x[0], g.a.x[1], g.a.x[2], g.a.x[3], g.a.x[4] and 95 more failed"


def test_many_tasks_are_asked_for_in_parts(world):
    """They stand in the address of a request."""
    branch = a_branch("a", leaves=120)
    for leaf in branch.leaves:
        world.set(leaf, "success")
    assert world.coordinator(a_group(branch)).ready()
    assert [len(asked) for asked in world.asked] == [50, 50, 20]


def test_a_mapped_task_group_has_its_own_index(world):
    group = ParallelGroup("d", "r", "g", 2, 0, START, (a_branch("a"),))
    world.set("g.a.leaf_0", "running", map_index=1)
    world.set("g.a.leaf_0", "success", map_index=2)
    assert outcomes(world, group)["a"].status == "succeeded"
    world.set("g.a.leaf_0", "failed", map_index=2)
    world.set("g.a.first", "failed", map_index=2)
    assert outcomes(world, group)["a"].failed_tasks == ("g.a.first", "g.a.leaf_0")


def test_a_group_without_timeouts_keeps_no_file(world, tmp_path):
    world.set("g.a.leaf_0", "success")
    assert outcomes(world, a_group(a_branch("a")))
    assert list(tmp_path.rglob("*")) == []


IDS = [
    ("d", "r", "g", 0),
    ("d", "r", "g", 1),
    ("d", "r", "g.h", 0),
    ("d.é", "manual__2026-01-01T00:00:00+00:00", "g", 0),
    ("d", "é/../ü", "g.h", 0),
    ("d", "r.g", "g", 0),
    ("..", "~parallel", "g", 0),
]


def test_two_groups_never_meet(world, tmp_path):
    folders = [kept_in(world.storage, *ids) for ids in IDS]
    for number, folder in enumerate(folders):
        assert start_of(folder, lambda number=number: START + number) == START + number
    assert [start_of(folder, lambda: 0.0) for folder in folders] == [START + number for number in range(len(IDS))]
    assert len(list(tmp_path.rglob("started.json"))) == len(IDS)


def test_no_scatter_has_the_folder_of_the_groups():
    assert segment("~parallel") == "~7Eparallel"
    assert "~parallel" not in {segment(name) for name in ("parallel", "\u00fearallel", ".parallel")}


def test_a_group_goes_to_the_trigger_and_back():
    group = a_group(a_branch("a", leaves=2, timeout=1.5), a_branch("b", required=False))
    assert ParallelGroup.load(group.dump()) == group
