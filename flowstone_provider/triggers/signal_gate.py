"""Waiting for a signal before Airflow 3.3, which waits without a trigger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.standard.triggers.hitl import HITLTrigger

from flowstone_provider.gates import SETTLE


class GateTrigger(HITLTrigger):
    """Airflow's trigger that looks for an answer, which does not begin before the task has settled.

    Args:
        **kwargs: See ``HITLTrigger``.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See ``BaseTrigger.serialize``."""
        return f"{type(self).__module__}.{type(self).__qualname__}", super().serialize()[1]

    async def run(self) -> AsyncIterator[Any]:
        """See ``BaseTrigger.run``."""
        await asyncio.sleep(SETTLE.total_seconds())
        async for event in super().run():
            yield event
