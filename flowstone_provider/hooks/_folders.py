"""IO managers that keep each value in a folder of files.

::

    flights/enriched/receipt.json                          an asset without partitions
    flights/enriched/4f1a…-00000.parquet
    flights/enriched/p=2026-01-15/receipt.json             one partition
    flights/enriched/p=2026-01-15/9c2e…-00000.json

The receipt names the value's files, which are never written again; only a large table has more than one. A value is
replaced by writing new files, then the receipt, at one moment; then the old files go. What a store that died leaves
behind, no receipt names: `clean` removes it.
"""

from __future__ import annotations

import logging
import re
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, ClassVar

import orjson

from flowstone_provider.contracts.io_manager import AssetKey, Condition, Kind, StoredAsset
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import AssetDamagedError, StorageError
from flowstone_provider.folders import age_unknown
from flowstone_provider.hooks._arrow_streams import ArrowStream
from flowstone_provider.hooks._files import Files
from flowstone_provider.hooks._tables import ParquetStream, read_parquet
from flowstone_provider.hooks.io_manager import IOManagerHook
from flowstone_provider.hooks.values import schema_of

log = logging.getLogger(__name__)

_RECEIPT = "receipt.json"
PARTITION = "p="
"""Begins the name of a partition's folder."""

# A file of a value, and one that is being written on a local disk.
_FILE = r"[0-9a-f]{32}-\d{5,}\.(json|bin|arrows|parquet)"
_DATA = re.compile(rf"{_FILE}|\.({_FILE}|_?receipt\.json)\.[0-9a-f]{{8}}")

_SUFFIXES: dict[Kind, str] = {"json": "json", "bytes": "bin"}


@dataclass(frozen=True, slots=True)
class Receipt(StoredAsset):
    """What a receipt's file says."""

    files: list[str]
    """The names of the value's files, in its folder."""

    def dump(self) -> dict[str, Any]:
        """See `StoredAsset.dump`: where a manager keeps a value is its own affair."""
        return {name: getattr(self, name) for name in StoredAsset.__dataclass_fields__}


class FolderManager(IOManagerHook):
    """Keeps each value in a folder of files."""

    receipt_name: ClassVar[str] = _RECEIPT

    @cached_property
    @abstractmethod
    def files(self) -> Files:
        """Where the files are."""

    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """See `IOManagerHook.put_blob`."""
        return self._put(key, kind, [chunks], lambda: (None, None))

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        return self.put_stream(key, ParquetStream(reader), schema_of(reader.schema))

    def put_stream(self, key: AssetKey, stream: ParquetStream | ArrowStream, schema: dict[str, str]) -> StoredAsset:
        """Keep a table, as files."""
        return self._put(key, "table", stream.files(), lambda: (stream.rows, schema), stream.suffix)

    def _put(
        self,
        key: AssetKey,
        kind: Kind,
        files: Iterable[Iterable[bytes]],
        about: Callable[[], tuple[int | None, dict[str, str] | None]],
        suffix: str | None = None,
    ) -> StoredAsset:
        folder = folder_of(key)
        unique = uuid.uuid4().hex
        names: list[str] = []
        digest = self.files.digest()
        old = None
        with suppress(AssetDamagedError):  # a receipt that cannot be read is replaced like any other
            old = self.receipt(key)
        try:
            for number, chunks in enumerate(files):
                names.append(f"{unique}-{number:05}.{suffix or _SUFFIXES[kind]}")
                self.files.put(f"{folder}/{names[-1]}", chunks, digest)
        except BaseException:
            with suppress(StorageError):  # the error that led here is the one to tell
                self.files.remove([f"{folder}/{name}" for name in names])
            raise
        rows, schema = about()
        receipt = Receipt(
            uri=self._value_uri(folder, names),
            kind=kind,
            bytes=digest.bytes,
            rows=rows,
            schema=schema,
            checksum=str(digest),
            stored_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            files=names,
        )
        written = {"version": 1, "files": names, **receipt.dump()}
        # When this fails the files stay, for `clean`: a receipt whose answer was lost may be there and name them.
        self.files.replace(f"{folder}/{self.receipt_name}", orjson.dumps(written, option=orjson.OPT_INDENT_2))
        if old is not None:
            try:
                self.files.remove([f"{folder}/{name}" for name in old.files])
            except StorageError as error:  # the new value is there
                log.warning("%s. It is of no value any more: `airflow flowstone assets clean` removes it", error)
        return receipt

    def _value_uri(self, folder: str, names: list[str]) -> str:
        return self.files.uri(f"{folder}/{names[0]}")

    def receipt(self, key: AssetKey) -> Receipt | None:
        """See `IOManager.receipt`."""
        return self._read_receipt(folder_of(key))

    def _read_receipt(self, folder: str) -> Receipt | None:
        name = f"{folder}/{self.receipt_name}"
        data = self.files.get(name)
        if data is None:
            return None
        try:
            found = orjson.loads(data)
            if found["version"] != 1:
                raise AssetDamagedError(
                    f"{self.files.uri(name)} has version {found['version']}; this package reads version 1"
                )
            return Receipt(**{name: found[name] for name in Receipt.__dataclass_fields__})
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise AssetDamagedError(f"{self.files.uri(name)} is no receipt: {error!r}; store it again") from error

    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """See `IOManagerHook.get_blob`."""
        digest = self.files.digest()
        ((chunks, _),) = self._open(key, receipt, self.files.chunks)
        yield from digest.through(chunks)
        if str(digest) != receipt.checksum:
            raise AssetDamagedError(
                f"{receipt.uri} is damaged: it has {digest.bytes:,} bytes and {digest}, but {receipt.bytes:,} bytes "
                f"and {receipt.checksum} were stored; store {key} again"
            )

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        return read_parquet(self._open(key, receipt, self.files.open), columns, where)

    def _open(self, key: AssetKey, receipt: Any, how: Callable[[str], Any]) -> list[tuple[Any, str]]:
        """The files of a value, open, each with its URL."""
        names = [f"{folder_of(key)}/{name}" for name in receipt.files]
        try:
            return [(how(name), self.files.uri(name)) for name in names]
        except FileNotFoundError as error:
            now = self.receipt(key)
            if now is None or now.files != receipt.files:
                raise StorageError(f"{key} was replaced or deleted while it was loaded; load it again") from error
            gone = f"{receipt.uri} is gone or lacks a file, although it is stored: store {key} again"
            raise AssetDamagedError(gone) from error

    def delete(self, key: AssetKey) -> None:
        """See `IOManager.delete`."""
        folder = folder_of(key)
        try:
            receipt = self.receipt(key)
            # Not all files of the folder: they may be those of a store that is under way.
            files = [] if receipt is None else [f"{folder}/{name}" for name in receipt.files]
        except AssetDamagedError:
            depth = folder.count("/") + 1
            names = (found.name for found in self.files.list(folder))
            files = [name for name in names if name.count("/") == depth and is_ours(name)]
        # The receipt first: from then on there is no value.
        self.files.remove([f"{folder}/{self.receipt_name}"])
        self.files.remove(files)

    def list_assets(self) -> Iterator[str]:
        """See `IOManager.list_assets`."""
        receipts = (found.name.rpartition("/") for found in self.files.list(""))
        folders = (folder for folder, _, name in receipts if name == self.receipt_name)
        return iter(sorted({folder.partition(f"/{PARTITION}")[0] for folder in folders}))

    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """See `IOManager.list_partitions`."""
        names = (found.name.removeprefix(f"{asset}/") for found in self.files.list(AssetKey(asset).asset))
        found = (name.rpartition("/") for name in names if name.startswith(PARTITION))
        # "2026-01-15/…" is listed before "2026-01/…", but its text comes behind.
        texts = sorted(folder.removeprefix(PARTITION) for folder, _, name in found if name == self.receipt_name)
        return map(decode, texts)

    def uri(self, key: AssetKey) -> str:
        """See `IOManager.uri`."""
        return self.files.uri(folder_of(key))

    def clean(self, before: datetime) -> int:
        """See `IOManager.clean`."""
        removed = 0
        folder, files = None, []
        for found in self.files.list(""):
            at = found.name.rpartition("/")[0]
            if at != folder:
                removed += self._clean(folder, files, before)
                folder, files = at, []
            files.append(found)
        return removed + self._clean(folder, files, before)

    def _clean(self, folder: str | None, files: list[Any], before: datetime) -> int:
        if folder is None:
            return 0
        try:
            receipt = self._read_receipt(folder)
        except AssetDamagedError:  # nobody knows what belongs to the value
            return 0
        kept = {self.receipt_name, *(receipt.files if receipt else [])}
        left = [found for found in files if is_ours(found.name) and found.name.rpartition("/")[2] not in kept]
        if any(found.written is None for found in left):
            raise age_unknown(self.files.uri(folder))
        old = [found for found in left if found.written < before]
        self.files.remove([found.name for found in old])
        return sum(found.size for found in old)


def is_ours(name: str) -> bool:
    """Whether a file has a name that stores give: what others put beside it stays."""
    return bool(_DATA.fullmatch(name.rpartition("/")[2]))


def folder_of(key: AssetKey) -> str:
    """The folder of a value."""
    return key.asset if key.text is None else f"{key.asset}/{PARTITION}{key.text}"
