"""The emitter: where telemetry events go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar


class Emitter(ABC):
    """Sends events to one place: logs, metrics, spans.

    An emitter must be quick and must not raise because its backend is away.
    """

    contract_version: ClassVar[str] = "1.0"

    @abstractmethod
    def emit(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """Send one event of the catalogue in `flowstone_provider.telemetry`.

        Args:
            event: Its name, e.g. ``flowstone.scatter.batch.stop``.
            measurements: Numbers: counts of items, seconds.
            metadata: Texts that say what it is about: dag, run, scatter.
        """

    def span(self, event: str, metadata: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """A context that lasts as long as the thing the event is about."""
        return nullcontext()
