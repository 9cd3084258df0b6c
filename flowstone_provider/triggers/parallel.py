"""The trigger of a join that waits for branches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from flowstone_provider import registry
from flowstone_provider.contracts.parallel import ParallelCoordinator, ParallelGroup
from flowstone_provider.hooks.storage import storage

# Seconds between two looks: a short group is joined soon, and a thousand joins that wait for hours ask seldom.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0


class ParallelTrigger(BaseTrigger):
    """Fires when all branches of a parallel group have ended or are late.

    Its event is ``{"started": …}``, the start of the group, by which the join then judges.

    Args:
        coordinator: The name of the parallel coordinator to ask.
        group: The group, as `ParallelGroup.dump` gives it.
    """

    def __init__(self, coordinator: str, group: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.coordinator = coordinator
        self.group = group

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See Airflow's ``BaseTrigger``."""
        path = "flowstone_provider.triggers.parallel.ParallelTrigger"
        return path, {"coordinator": self.coordinator, "group": self.group}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """See Airflow's ``BaseTrigger``."""
        group = ParallelGroup.load(self.group)
        # In a thread: the triggerer's loop must not wait for storage or for Airflow.
        coordinator = await sync_to_async(self._coordinator)(group)
        pause = _FIRST_PAUSE
        while not await sync_to_async(coordinator.ready)():
            await asyncio.sleep(min(pause, _until_next_timeout(group)))
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        yield TriggerEvent({"started": group.started})  # type: ignore[no-untyped-call]

    def _coordinator(self, group: ParallelGroup) -> ParallelCoordinator:
        return registry.parallel_coordinators.resolve(self.coordinator).cls(group, storage())


def _until_next_timeout(group: ParallelGroup) -> float:
    """Seconds until the next branch is late; infinite when none will be."""
    left = [group.started + branch.timeout - time.time() for branch in group.branches if branch.timeout is not None]
    return min((seconds for seconds in left if seconds > 0), default=float("inf"))
