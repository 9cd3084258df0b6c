"""The parallel coordinator: what became of the branches of a parallel group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import TypeAdapter

Status = Literal["succeeded", "failed", "skipped", "timed_out"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several parallel workflows."""

    name: str
    tasks: tuple[str, ...]
    """The ids of all its tasks."""
    leaves: tuple[str, ...]
    """The ids of those that no other task of the branch comes after: they tell what became of it."""
    mapped: tuple[str, ...] = ()
    """The ids of those that have many instances."""
    required: bool = True
    timeout: float | None = None
    """Seconds from the start of the group after which a join does not wait for it any more."""


@dataclass(frozen=True, slots=True)
class BranchOutcome:
    """What became of a branch."""

    status: Status
    value: Any = None
    """What it returned, when it succeeded: the value of its leaf; of several leaves a dict, by their ids within the
    branch; of a mapped leaf a list; of a scatter its result reference."""
    error: str | None = None
    """Why it did not succeed."""
    failed_tasks: tuple[str, ...] = ()
    """The tasks of the branch that failed themselves, a mapped instance as ``id[3]``: none when only what is before the
    branch failed."""

    def as_dict(self) -> dict[str, Any]:
        """``{"status", "value", "error"}``: what fits into an XCom."""
        return {"status": self.status, "value": self.value, "error": self.error}


@dataclass(frozen=True, slots=True)
class ParallelGroup:
    """Which branches are joined, in which run, and since when."""

    dag_id: str
    run_id: str
    group_id: str
    map_index: int
    """That of the join, in a mapped task group; -1 outside one."""
    epoch: int
    """Changes when the join is cleared, and does not when it is retried."""
    started: float
    """When the group started, in seconds of Unix time."""
    branches: tuple[Branch, ...]

    def dump(self) -> dict[str, Any]:
        """As plain JSON."""
        plain: dict[str, Any] = TypeAdapter(ParallelGroup).dump_python(self, mode="json")
        return plain

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> ParallelGroup:
        """What `dump` gave."""
        return TypeAdapter(ParallelGroup).validate_python(dumped)


class ParallelCoordinator(ABC):
    """Tells a join about the branches before it.

    The join asks it in a worker, and while the join waits a trigger asks it in the triggerer: nothing is kept in the
    object that another process would need.

    Args:
        group: The branches and their run.
        storage: The folder ``[flowstone] storage``: universal_pathlib's ``UPath``.
    """

    contract_version: ClassVar[str] = "1.0"

    def __init__(self, group: ParallelGroup, storage: Any) -> None:
        self.group = group
        self.storage = storage

    @abstractmethod
    def ready(self) -> bool:
        """Whether the join may run: each branch has ended, or its timeout is over."""

    @abstractmethod
    def outcomes(self) -> Mapping[str, BranchOutcome] | None:
        """Name -> outcome of every branch, in the group's order; ``None`` as long as it is not `ready`.

        A branch that timed out in the first answer has done so in all later ones of the same group and epoch, even if
        it has ended since: a join that is retried gets the same.
        """
