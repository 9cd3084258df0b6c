"""The scatter coordinator: where the plan and the outcomes of a scatter are kept.

Lines are JSON objects as bytes, each ending in a newline, because a million of them pass through here:

========== =====================================================================================================
item       ``{"index", "source", "item"}``; ``"bad": {"message", "raw"}`` instead of ``"item"`` where the record
           could not be read
succeeded  ``{"index", "status": "succeeded", "result"}``
failed     ``{"index", "status": "failed", "item" | "bad", "source", "error": {"type", "message", "traceback"},
           "attempts", "duration"}``, the duration in seconds
========== =====================================================================================================

``index`` comes first. It tells items apart, also equal ones, and grows in the order of the source. It is the item's
position in the scatter, except where the source was split without counting: then batch *n* counts from ``n * 2**32``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flowstone_provider.contracts.item_reader import ReaderSpec

UNCOUNTED_STRIDE = 2**32
"""How far apart the indexes of batches lie whose sizes are not known when planned."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """Which scatter: stable across retries and Clear."""

    dag_id: str
    run_id: str
    scatter_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one mapped task instance."""

    number: int
    """Position among the batches, from 0."""
    first: int
    """Index of its first item."""
    items: int | None
    """How many items; ``None`` where the source was split without counting."""
    reader: ReaderSpec | None = None
    """A split of the source that yields the items; ``None`` when the plan task gave them to the coordinator. Where the
    reader is not ``repeatable``, the first try of the batch gives them to the coordinator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A sealed plan: all batches of a scatter."""

    batches: tuple[Batch, ...]
    items: int | None
    """How many items in all; ``None`` where the source was split without counting."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far planning came."""

    plan: Plan | None = None
    """The sealed plan, when planning is complete."""
    checkpoint: dict[str, Any] | None = None
    """What the planner last saved; ``None`` when planning has to start over."""


@dataclass(slots=True)
class BatchSummary:
    """What became of one batch."""

    number: int
    items: int = 0
    succeeded: int = 0
    failed: int = 0
    pending: int = 0
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Signature of an error -> ``{"count", "index", "message"}``, the index and message being the first one's."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """``succeeded``, ``failed``, ``pending`` -> ``{"name", "items"}``; results in number as ``"rows"``."""
    results: str | None = None
    """The format of the results in ``files``."""
    flatten: bool = False
    """Whether ``files`` has each element of a result on its own."""


@dataclass(frozen=True, slots=True)
class ScatterStatus:
    """A scatter at a glance; numbers of items."""

    sealed: bool
    batches: int
    items: int | None
    succeeded: int
    failed: int
    cancelled: str | None


class ScatterCoordinator(ABC):
    """Keeps the plan and the outcomes of one scatter, outside Airflow's database.

    `open` comes first. Every method may be called from any process at any time; nothing is kept in the object that
    another process would need.

    Args:
        storage: The folder of all scatters, ``[flowstone] storage``: universal_pathlib's ``UPath``. A coordinator that
            keeps things elsewhere may still put large files there.
    """

    contract_version: ClassVar[str] = "1.0"

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    @abstractmethod
    def open(self, barrier: Barrier) -> Progress:
        """Attach to a scatter, new or begun, and say how far its planning came."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """Where the scatter is kept."""

    @abstractmethod
    def add_batch(self, number: int, lines: Sequence[bytes]) -> None:
        """Keep the item lines of a batch. Adding a number again replaces it."""

    @abstractmethod
    def keep_batch(self, number: int, lines: Sequence[bytes]) -> None:
        """As `add_batch`, but if the batch is there it stays as it is: of several processes the first wins."""

    @abstractmethod
    def has_batch(self, number: int) -> bool:
        """Whether the item lines of a batch were added or kept."""

    @abstractmethod
    def checkpoint(self, state: dict[str, Any]) -> None:
        """Save the planner's state, which covers the batches added so far."""

    @abstractmethod
    def seal(self, plan: Plan) -> None:
        """Planning is complete."""

    @abstractmethod
    def batch_uri(self, number: int) -> str:
        """Where the item lines of a batch that was added are, for operators that read them themselves."""

    @abstractmethod
    def lines(self, number: int) -> Iterator[bytes]:
        """The item lines of a batch that was added."""

    @abstractmethod
    def record(self, number: int, generation: str, lines: Sequence[bytes], failed: int) -> None:
        """Keep some outcomes of a batch: all of them, or none if this raises.

        Args:
            number: The batch.
            generation: From `begin`; later generations win.
            lines: Outcome lines.
            failed: How many outcomes of this generation have failed so far, this part included.
        """

    @abstractmethod
    def begin(self, number: int) -> str:
        """Start a try of a batch; its generation sorts after all earlier ones and never meets another's."""

    @abstractmethod
    def outcomes(self, number: int) -> Iterator[bytes]:
        """The outcome lines of a batch as recorded: of two for one index the later one holds."""

    @abstractmethod
    def write_outcomes(self, name: str, number: int, generation: str) -> str:
        """Write a file beside the manifest that holds the outcomes of one try as they are; returns its name."""

    @abstractmethod
    def failures(self) -> int:
        """Items that failed in the latest tries of all batches since the last `gather`."""

    @abstractmethod
    def cancel(self, reason: str) -> None:
        """Ask all batches to stop between items, until the next `gather`."""

    @abstractmethod
    def cancelled(self) -> str | None:
        """The reason given to `cancel` since the last `gather`."""

    @abstractmethod
    def close_batch(self, summary: BatchSummary) -> None:
        """Keep the summary of a batch, valid until more outcomes of it are recorded."""

    @abstractmethod
    def summaries(self) -> dict[int, BatchSummary]:
        """The summaries that are still valid, by batch number."""

    @abstractmethod
    def status(self) -> ScatterStatus:
        """The scatter at a glance, for people."""

    @abstractmethod
    def write(self, name: str, chunks: Iterable[bytes]) -> str:
        """Write a file beside the manifest, visible whole or not at all; returns its name."""

    @abstractmethod
    def gather(self, manifest: dict[str, Any]) -> str:
        """Close the scatter for now with its manifest; returns the manifest's URI. Later tries start afresh."""
