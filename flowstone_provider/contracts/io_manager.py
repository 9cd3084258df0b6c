"""The IO manager: stores and loads an asset's value by asset and partition."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Literal, TypeAlias

from flowstone_provider.contracts.partition import Partition, canonical, decode, encode
from flowstone_provider.errors import AssetError, AssetNotFoundError, AssetReplacedError, ReferenceError

Kind: TypeAlias = Literal["json", "bytes", "table"]
"""What a value is: a JSON value; bytes as they are; rows with a schema."""

Condition: TypeAlias = tuple[str, str, Any]
"""A condition on rows, ``(column, operator, value)``: the operator is one of ``= != < <= > >= in``."""

REFERENCE_VERSION = 1
"""Version of the dict that stands for a stored value in XCom."""

# One segment of an asset's name: letters and digits of any script, and marks that no path or URL has a meaning for.
_SEGMENT = re.compile(r"\w[\w.+@-]*")
_LONGEST_NAME = 250
# What most filesystems take in the name of a folder.
_LONGEST_SEGMENT = 255
# Of the files that stand beside an asset's folders.
_TAKEN = {"receipt.json", "_receipt.json"}

# How many partitions a message names.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class AssetKey:
    """Which value: an asset, or one partition of it.

    Raises:
        AssetError: The name is none.
        PartitionError: The partition is none.
    """

    asset: str
    """Segments separated by ``/``, e.g. ``"flights/enriched"``."""
    partition: Partition | None = None
    """In its canonical form; ``None`` for an asset without partitions."""

    def __post_init__(self) -> None:
        name = self.asset
        if (
            not isinstance(name, str)
            or len(name) > _LONGEST_NAME
            or not all(_SEGMENT.fullmatch(segment) for segment in name.split("/"))
        ):
            raise AssetError(
                f"{name!r} is no name of an asset: it has segments separated by '/', each of letters, digits and "
                f"_ . + @ -, beginning with a letter, a digit or _; {_LONGEST_NAME} characters at most",
                asset=name,
            )
        for segment in name.split("/"):
            if segment in _TAKEN:
                raise AssetError(f"{name!r} is no name of an asset: {segment!r} is that of a receipt", asset=name)
            if (size := len(segment.encode())) > _LONGEST_SEGMENT:
                raise AssetError(
                    f"{name!r} is no name of an asset: the segment {segment!r} has {size} bytes in UTF-8, and files "
                    f"have names of {_LONGEST_SEGMENT} at most; use a shorter one",
                    asset=name,
                )
        if self.partition is not None:
            encode(self.partition)
            object.__setattr__(self, "partition", canonical(self.partition))

    @property
    def text(self) -> str | None:
        """The text of the partition."""
        return None if self.partition is None else encode(self.partition)

    def __str__(self) -> str:
        return self.asset if self.partition is None else f"{self.asset}, partition {self.text}"


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """The receipt of a value that was stored."""

    uri: str
    kind: Kind
    bytes: int
    """The size of what was stored."""
    rows: int | None
    """Rows of a table; ``None`` for other values."""
    schema: dict[str, str] | None
    """Column -> type of a table, in Arrow's words; ``None`` for other values."""
    checksum: str
    """The algorithm and the digest in hex, e.g. ``"sha256:…"``. Other for every other content; what is stored anew with
    the same content may have another one, too."""
    stored_at: str
    """When, in UTC and ISO 8601."""

    def dump(self) -> dict[str, Any]:
        """It as a JSON object."""
        return asdict(self)


class IOManager(ABC):
    """Keeps values outside Airflow. A reader of a key sees the old value or the new one, never half of one.

    Our own are Airflow hooks, and so are best those of a plugin: see `flowstone_provider.hooks.io_manager`.
    """

    contract_version: ClassVar[str] = "1.0"

    registered_as: str | None = None
    """The name by which it was found, such as an alias."""

    @property
    def known_as(self) -> str:
        """What messages, telemetry and lineage call it."""
        return self.registered_as or type(self).__name__

    @abstractmethod
    def load(
        self,
        key: AssetKey,
        as_type: Any = None,
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
        checksum: str | None = None,
    ) -> Any:
        """The value of a key.

        Args:
            key: Which.
            as_type: The type asked for; by default a JSON value, bytes, or a ``pyarrow.Table``.
            columns: Of a table, only these.
            where: Of a table, only the rows that meet all of these.
            checksum: Of the value that is meant, from its receipt.

        Raises:
            AssetNotFoundError: There is no such value; the message names the partitions there are.
            AssetReplacedError: There is another value than the one that is meant.
            AssetDamagedError: What is stored is not what was stored.
        """

    @abstractmethod
    def load_many(
        self,
        keys: Iterable[AssetKey],
        as_type: Any = None,
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
        checksums: Sequence[str] | None = None,
    ) -> Any:
        """The values of several keys as one: tables one after the other, JSON values and bytes as a list.

        Args:
            keys: Which.
            as_type: See `load`.
            columns: See `load`.
            where: See `load`.
            checksums: Of the values that are meant, in the order of their keys.
        """

    @abstractmethod
    def store(self, key: AssetKey, value: Any) -> StoredAsset:
        """Keep a value, in the place of one that is there.

        Raises:
            ValueKindError: Values of this type cannot be kept.
            StorageError: Storage refused; the old value is still there.
        """

    @abstractmethod
    def receipt(self, key: AssetKey) -> StoredAsset | None:
        """What is stored, without loading it; ``None`` when there is nothing."""

    def exists(self, key: AssetKey) -> bool:
        """Whether there is a value, without loading it."""
        return self.receipt(key) is not None

    @abstractmethod
    def delete(self, key: AssetKey) -> None:
        """Remove a value; to delete nothing is no error."""

    @abstractmethod
    def list_assets(self) -> Iterator[str]:
        """The names of all assets that have a value, sorted."""

    @abstractmethod
    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """The partitions of an asset that have a value, in the order of their texts."""

    def missing(self, key: AssetKey) -> AssetNotFoundError:
        """The error for a value that is not there; it names the partitions there are."""
        texts = [encode(partition) for partition in islice(self.list_partitions(key.asset), _NAMED + 1)]
        if texts:
            more = ", …" if len(texts) > _NAMED else ""
            others = f"; there are the partitions {', '.join(texts[:_NAMED])}{more}"
        else:
            others = ", nor any partition of it" if key.partition is None else ", nor of any other partition"
        return AssetNotFoundError(f"the IO manager {self.known_as} has no value of {key}{others}", key=str(key))

    @abstractmethod
    def uri(self, key: AssetKey) -> str:
        """Where the value of a key is, or would be."""

    def clean(self, before: datetime) -> int:
        """Remove what stores that died left behind before a time; how many bytes. What is stored stays."""
        return 0


def make_reference(key: AssetKey, io_manager: str, receipt: StoredAsset) -> dict[str, Any]:
    """The small JSON dict that stands for a stored value in XCom.

    Args:
        key: Which.
        io_manager: The name under which the registry finds the IO manager.
        receipt: Of the value.
    """
    return {
        "flowstone": "asset",
        "version": REFERENCE_VERSION,
        "asset": key.asset,
        "partition": key.text,
        "io_manager": io_manager,
        "kind": receipt.kind,
        "uri": receipt.uri,
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "checksum": receipt.checksum,
    }


def is_asset_reference(value: object) -> bool:
    """Whether a value is what `make_reference` makes, in any version."""
    return isinstance(value, dict) and value.get("flowstone") == "asset"


def check_reference(value: Any) -> dict[str, Any]:
    """A reference of this version.

    Raises:
        ReferenceError: It is none, or of another version.
    """
    if not is_asset_reference(value):
        raise ReferenceError(f"no reference to an asset, but a value of type {type(value).__qualname__}")
    if value.get("version") != REFERENCE_VERSION:
        raise ReferenceError(
            f"the reference to {value.get('asset')!r} has version {value.get('version')!r}, this package reads version "
            f"{REFERENCE_VERSION}: run the task that stored it again, so that it returns a new one"
        )
    missing = {"asset", "partition", "io_manager", "checksum"} - value.keys()
    if missing:
        raise ReferenceError(f"the reference {value!r:.200} lacks {', '.join(sorted(missing))}")
    return dict(value)


def meant_by(reference: Any) -> tuple[AssetKey, str, str]:
    """Key, IO manager and checksum of what a reference stands for.

    Raises:
        ReferenceError: It is none, or of another version.
    """
    checked = check_reference(reference)
    text = checked["partition"]
    key = AssetKey(checked["asset"], None if text is None else decode(text))
    return key, checked["io_manager"], checked["checksum"]


def replaced(key: AssetKey, receipt: StoredAsset, meant: str) -> AssetReplacedError:
    """The error for another value than the one that is meant.

    Args:
        key: Which.
        receipt: Of what there is.
        meant: The checksum of the one that is meant.
    """
    return AssetReplacedError(
        f"{key} was replaced at {receipt.stored_at}: the reference means {meant}, there is {receipt.checksum}; clear "
        "the task that returned the reference, or load by name what there is",
        key=str(key),
    )
