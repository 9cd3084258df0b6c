"""The parallel coordinator: what became of the branches of a parallel group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several parallel workflows."""

    name: str
    required: bool = True
    timeout: float | None = None
    """Seconds after which it counts as timed out."""


@dataclass(frozen=True, slots=True)
class BranchOutcome:
    """What became of a branch."""

    status: Literal["succeeded", "failed", "skipped", "timed_out"]
    value: Any = None
    """What it returned, when it succeeded."""
    error: str | None = None
    """Why it did not."""


class ParallelCoordinator(ABC):
    """Tells a join about the branches before it."""

    contract_version: ClassVar[str] = "1.0"

    @abstractmethod
    def branches(self) -> Sequence[Branch]:
        """All branches, in the order in which they were declared."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the join may run: the required branches have ended, the optional ones have or are late."""

    @abstractmethod
    def outcomes(self) -> Mapping[str, BranchOutcome]:
        """Name -> outcome, of the branches that have ended or are late."""
