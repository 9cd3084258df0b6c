"""The routing coordinator: where the decisions of routers are kept, so that they last."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Decision:
    """What a router decided in a run."""

    id: str
    """Tells it from any other, also from one of the same router after it was forgotten."""
    dag_id: str
    run_id: str
    router: str
    """The router's task id."""
    map_index: int
    """Of a router in a mapped task group, which one; else -1."""
    partition: str | None
    """The run's partition key, if it has one."""
    selected: str | None
    """The name of the branch; ``None`` when the router chose none."""
    available: tuple[str, ...]
    """The names of all branches that there were, sorted."""
    input_hash: str | None
    """SHA-256 of the router's rendered input as JSON; ``None`` when it is no JSON."""
    decided_at: str
    """When, in UTC, ISO 8601."""
    error: str | None = None
    """Type and message of what was raised, when the decision is the fallback for an error."""


class RoutingCoordinator(ABC):
    """Keeps decisions. Every method may be called from any process at any time.

    Args:
        storage: The folder ``[flowstone] storage``: universal_pathlib's ``UPath``. A coordinator that keeps decisions
            elsewhere does without.
    """

    contract_version: ClassVar[str] = "1.0"

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    @abstractmethod
    def find(self, dag_id: str, run_id: str, router: str, map_index: int = -1) -> Decision | None:
        """The decision that stands; ``None`` when there is none."""

    @abstractmethod
    def decide(self, decision: Decision) -> Decision:
        """Keep a decision, unless its router has one in its run: of several writers the first wins.

        Returns:
            The decision that stands.
        """

    @abstractmethod
    def decisions(self, dag_id: str, run_id: str | None = None) -> Iterator[Decision]:
        """The decisions of a DAG, or of one run of it, by run, router and map index."""

    @abstractmethod
    def forget(self, dag_id: str, run_id: str, router: str, map_index: int = -1) -> bool:
        """Remove a decision, so that the router decides anew when it runs again.

        Returns:
            Whether there was one.
        """
