"""The IO manager: stores and loads an asset's value by asset and partition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from flowstone_provider.contracts.partition import Partition


@dataclass(frozen=True, slots=True)
class AssetKey:
    """Which value: an asset, or one partition of it."""

    asset: str
    """Segments separated by ``/``, e.g. ``"flights/enriched"``."""
    partition: Partition | None = None


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """The receipt of a value that was stored."""

    uri: str
    bytes: int
    """The size of what was stored."""
    rows: int | None
    """Rows of a table; ``None`` for other values."""
    schema: dict[str, str] | None
    """Column -> type of a table; ``None`` for other values."""
    checksum: str
    """The algorithm and the digest in hex, e.g. ``"sha256:…"``."""


class IOManager(ABC):
    """Keeps values outside Airflow. A reader of a key sees the old value or the new one, never half of one."""

    contract_version: ClassVar[str] = "1.0"

    @abstractmethod
    def load(self, key: AssetKey, as_type: type | None = None) -> Any:
        """The value of a key, as the type asked for."""

    @abstractmethod
    def store(self, key: AssetKey, value: Any) -> StoredAsset:
        """Keep a value, in the place of one that is there."""

    @abstractmethod
    def exists(self, key: AssetKey) -> bool:
        """Whether there is a value, without loading it."""

    @abstractmethod
    def delete(self, key: AssetKey) -> None:
        """Remove a value; to delete nothing is no error."""

    @abstractmethod
    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """The partitions of an asset that have a value."""

    @abstractmethod
    def uri(self, key: AssetKey) -> str:
        """Where the value of a key is, or would be."""
