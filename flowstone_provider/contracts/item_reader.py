"""The item reader: yields pages of items from a source and can resume after any page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from flowstone_provider.contracts.options import Options

Json: TypeAlias = Any
"""A JSON value. Readers may also yield dates, times, decimals, UUIDs and bytes: they become text when planned."""

Checkpoint: TypeAlias = dict[str, Any]
"""A small JSON object, opaque to all but its reader."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that could not be read, in the place of its item; it becomes a failed outcome."""

    message: str
    """What is wrong with it and where it stands, e.g. ``"a.csv, line 12: 3 fields instead of 4"``."""
    raw: str
    """The record as text, cut to a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a source, in its order. An empty page is allowed and does not end the reading."""

    items: list[Json]
    """Items; a `BadRecord` stands where a record could not be read."""
    checkpoint: Checkpoint
    """Given to `ItemReader.pages`, the reading goes on after this page."""
    source: str | None = None
    """Where the items come from, e.g. the URL of a file."""


class ReaderSpec(BaseModel):
    """A reader by name and options: JSON, so that it travels between tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: str = Field(description="A registered name, or `module:Class`.")
    options: dict[str, Any] = Field(default_factory=dict, description="The reader's options.")


class ReaderOptions(Options):
    """Options that every reader has."""

    max_items: PositiveInt | None = Field(default=None, description="Read at most this many items in all.")


class Resources(Protocol):
    """What a reader may ask of the place it runs in. A notebook has a simple one, Airflow one with connections."""

    def path(self, url: str, conn_id: str | None = None) -> Any:
        """A path object (universal_pathlib's ``UPath``) for a URL, with the connection's credentials."""
        ...

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """A client of a service.

        That of ``postgres`` is a new psycopg connection (of version 2 or 3), closed by whoever asked; that of ``s3``,
        ``dynamodb`` and others is boto3's.
        """
        ...

    def connection(self, conn_id: str) -> Any:
        """An Airflow connection: ``host``, ``port``, ``login``, ``password``, ``schema``, ``extra_dejson``."""
        ...


class ItemReader(ABC):
    """Reads items from a source.

    A constructor does no I/O: DAG files are parsed all the time. One generator, `pages`, is both streaming and
    resumable. Memory is bounded by a page.

    Args:
        options: An instance of the class's ``options`` model.
        resources: Turns URLs and connection ids into paths and clients.
    """

    contract_version: ClassVar[str] = "1.0"
    options: ClassVar[type[ReaderOptions]] = ReaderOptions

    repeatable: ClassVar[bool] = False
    """Whether a split read again gives the same items or an error. A reader that notices a changed source, e.g. by the
    ETag of a file, can promise it. When it cannot, the batch that reads a split first keeps the items in the ledger, so
    that a later try finds the very same ones."""

    def __init__(self, options: Any, resources: Resources) -> None:
        self.opts = options
        self.resources = resources

    @abstractmethod
    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the pages of the source, from its start or from after a checkpoint.

        Raises:
            ReaderError: The source is missing, malformed, or not the one the checkpoint was taken from.
        """

    def count(self) -> int | None:
        """The number of items, or ``None`` when it cannot be known without reading them."""
        return None

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """Narrower readers that together yield every item once, in order; ``None`` when there is no splitting.

        Args:
            at_most: The greatest number of splits wanted, at least 1.
        """
        return None

    def close(self) -> None:  # noqa: B027  (most readers hold nothing open)
        """Let go of what is open. Called once, also after an error."""


def limited(pages: Iterator[Page], max_items: int | None, taken: int = 0) -> Iterator[Page]:
    """End the reading once ``max_items`` items are out.

    Args:
        pages: The pages of a reader, from wherever it resumed.
        max_items: The most items in all, or ``None``.
        taken: Items that came out before the resume; readers keep it in their checkpoint.
    """
    if max_items is not None and taken >= max_items:
        return
    for page in pages:
        if max_items is not None and taken + len(page.items) >= max_items:
            yield Page(page.items[: max_items - taken], page.checkpoint, page.source)
            return
        taken += len(page.items)
        yield page
