"""What became of the branches of a parallel group: the default coordinator asks Airflow.

Two small files are kept of a group whose branches have timeouts, for each epoch of its join::

    <dag>/<run>/~parallel/<group>/00002/started.json   when the group started
    <dag>/<run>/~parallel/<group>/00002/late.json      the branches that the join did not wait for

No id of a scatter becomes ``~parallel``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from flowstone_provider.contracts.parallel import Branch, BranchOutcome, ParallelCoordinator, ParallelGroup, Status
from flowstone_provider.folders import segment
from flowstone_provider.store import read_or_none, read_whole, write_first

FOLDER = "~parallel"

States = Mapping[str, Mapping[int, str | None]]
"""Task id -> map index (-1 of a task that is not mapped) -> state."""

_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

# Task ids go into the address of a request.
_ASKED_AT_ONCE = 50

_NAMED = 5


def kept_in(storage: Any, dag_id: str, run_id: str, group_id: str, epoch: int) -> Any:
    """The folder of the two files."""
    return storage / segment(dag_id) / segment(run_id) / FOLDER / segment(group_id) / f"{epoch:05d}"


def start_of(folder: Any, clock: Callable[[], float] = time.time) -> float:
    """When a group started, in seconds of Unix time: the first that asks is told now, and so are all after it."""
    if read_or_none(folder / "started.json") is None:
        write_first(folder / "started.json", orjson.dumps({"started": clock()}))
    return float(orjson.loads(read_whole(folder / "started.json"))["started"])


def status_of(branch: Branch, states: States) -> Status | None:
    """What the states of its leaves say of a branch; ``None`` when it has not ended."""
    found = {state for leaf in branch.leaves for state in states.get(leaf, {}).values()}
    if not all(states.get(leaf) for leaf in branch.leaves) or not found <= _ENDED:
        return None
    if found & {"failed", "upstream_failed"}:
        return "failed"
    return "succeeded" if "success" in found else "skipped"


def failed_in(branch: Branch, states: States) -> tuple[str, ...]:
    """The task instances of a branch that failed themselves."""
    return tuple(
        task if index < 0 or task not in branch.mapped else f"{task}[{index}]"
        for task in branch.tasks
        for index, state in sorted(states.get(task, {}).items())
        if state == "failed"
    )


class AirflowParallelCoordinator(ParallelCoordinator):
    """Reads states and values through Airflow's Execution API.

    Args:
        group: See `ParallelCoordinator`.
        storage: See `ParallelCoordinator`.
        clock: Seconds of Unix time.
    """

    def __init__(self, group: ParallelGroup, storage: Any, clock: Callable[[], float] = time.time) -> None:
        super().__init__(group, storage)
        self._clock = clock

    def ready(self) -> bool:
        """See `ParallelCoordinator.ready`."""
        return self._late(self._leaves()) is not None

    def outcomes(self) -> dict[str, BranchOutcome] | None:
        """See `ParallelCoordinator.outcomes`."""
        states = self._leaves()
        late = self._late(states)
        if late is None:
            return None
        if late:
            # Of two tries at once, which Airflow has when it takes one for dead, the first decides.
            write_first(self._file(), orjson.dumps({"late": sorted(late)}))
            late |= self._kept()
        return {
            branch.name: self._late_outcome(branch) if branch.name in late else self._outcome(branch, states)
            for branch in self.group.branches
        }

    def _leaves(self) -> States:
        return self.states(task for branch in self.group.branches for task in branch.leaves)

    def _late(self, states: States) -> set[str] | None:
        """The branches that are late; ``None`` when one has neither ended nor is late."""
        late = self._kept()
        for branch in self.group.branches:
            if branch.name not in late and status_of(branch, states) is None:
                if branch.timeout is None or self._clock() < self.group.started + branch.timeout:
                    return None
                late.add(branch.name)
        return late

    def _kept(self) -> set[str]:
        if all(branch.timeout is None for branch in self.group.branches):
            return set()
        kept = read_or_none(self._file())
        return set() if kept is None else set(orjson.loads(kept)["late"])

    def _file(self) -> Any:
        group = self.group
        return kept_in(self.storage, group.dag_id, group.run_id, group.group_id, group.epoch) / "late.json"

    def _late_outcome(self, branch: Branch) -> BranchOutcome:
        return BranchOutcome("timed_out", error=f"it had not ended {branch.timeout:g} s after the group started")

    def _outcome(self, branch: Branch, states: States) -> BranchOutcome:
        status = status_of(branch, states)
        if status == "succeeded":
            return BranchOutcome("succeeded", value=self._value(branch))
        if status == "skipped":
            return BranchOutcome("skipped", error="it was skipped")
        failed = failed_in(branch, self.states(branch.tasks))
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        error = f"{', '.join(failed[:_NAMED])}{more} failed" if failed else "what is before it failed"
        return BranchOutcome("failed", error=error, failed_tasks=failed)

    def _value(self, branch: Branch) -> Any:
        if len(branch.leaves) == 1:
            return self.value(branch.leaves[0])
        within = f"{self.group.group_id}.{branch.name}."
        return {leaf.removeprefix(within): self.value(leaf) for leaf in branch.leaves}

    # --- Airflow

    def states(self, tasks: Iterable[str]) -> States:
        """The states of all instances of some tasks; of a mapped task group, of the join's own index."""
        alone: list[str] = []
        mapped: list[str] = []
        for task in tasks:
            (mapped if self._is_mapped(task) else alone).append(task)
        found: dict[str, dict[int, str | None]] = {}
        index = self.group.map_index
        suffix = "" if index < 0 else f"_{index}"
        for start in range(0, len(alone), _ASKED_AT_ONCE):
            some = alone[start : start + _ASKED_AT_ONCE]
            answer = self._ask(some)
            found |= {task: {index: answer[task + suffix]} for task in some if task + suffix in answer}
        # One by one: Airflow calls instance 1 of `load` by the name of a task `load_1`.
        for task in mapped:
            found[task] = {
                -1 if name == task else int(name.removeprefix(f"{task}_")): state
                for name, state in self._ask([task]).items()
            }
        return found

    def _is_mapped(self, task: str) -> bool:
        return any(task in branch.mapped for branch in self.group.branches)

    def _ask(self, tasks: list[str]) -> dict[str, str | None]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        group = self.group
        answer = RuntimeTaskInstance.get_task_states(
            dag_id=group.dag_id,
            run_ids=[group.run_id],
            task_ids=tasks,
            map_index=group.map_index if group.map_index >= 0 else None,
        )
        return {name: state and str(state) for name, state in answer.get(group.run_id, {}).items()}

    def value(self, task: str) -> Any:
        """What a task returned; of a mapped one the list of what its instances returned."""
        from airflow.sdk.execution_time.xcom import XCom

        group = self.group
        what = {"key": "return_value", "dag_id": group.dag_id, "run_id": group.run_id, "task_id": task}
        if self._is_mapped(task):
            return list(XCom.get_all(**what) or [])
        return XCom.get_one(**what, map_index=group.map_index)
