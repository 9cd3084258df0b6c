"""An Airflow whose tasks are in the states that a test says, for the parallel coordinator."""

from __future__ import annotations

from typing import Any

from flowstone_provider.contracts.parallel import ParallelGroup
from flowstone_provider.hooks.parallel import AirflowParallelCoordinator
from flowstone_provider.testing.parallel import START


class Airflow:
    """See `flowstone_provider.testing.parallel.World`.

    Args:
        storage: The folder ``[flowstone] storage``.
    """

    def __init__(self, storage: Any):
        self.storage = storage
        self.now = START
        self.instances: dict[tuple[str, int], str] = {}
        self.values: dict[str, Any] = {}
        self.asked: list[list[str]] = []

    def coordinator(self, group: ParallelGroup) -> AirflowParallelCoordinator:
        return _Coordinator(group, self)

    def set(self, task: str, state: str, value: Any = None, map_index: int = -1) -> None:
        self.instances[task, map_index] = state
        self.values[task] = value

    def let_pass(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, tasks: list[str], map_index: int) -> dict[str, str]:
        """What the Execution API says: the index of a mapped instance is part of the name."""
        self.asked.append(tasks)
        return {
            task if index < 0 else f"{task}_{index}": state
            for (task, index), state in self.instances.items()
            if task in tasks and (map_index < 0 or index == map_index)
        }


class _Coordinator(AirflowParallelCoordinator):
    def __init__(self, group: ParallelGroup, world: Airflow):
        super().__init__(group, world.storage, lambda: world.now)
        self.world = world

    def _ask(self, tasks: list[str]) -> dict[str, str]:
        return self.world.answer(tasks, self.group.map_index)

    def value(self, task: str) -> Any:
        return self.world.values.get(task)
