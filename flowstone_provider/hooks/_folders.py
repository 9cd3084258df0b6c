"""IO managers that keep each value in a folder of files.

::

    flights/enriched/receipt.json                          an asset without partitions
    flights/enriched/4f1a….parquet
    flights/enriched/p=2026-01-15/receipt.json     one partition
    flights/enriched/p=2026-01-15/9c2e….json

The receipt names the value's file, which is never written again. A value is replaced by writing a new file, then the
receipt, at one moment; then the old file goes. What a store that died leaves behind, no receipt names: `clean` removes
it.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import orjson

from flowstone_provider.contracts.io_manager import AssetKey, Condition, Kind, StoredAsset
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import AssetDamagedError, StorageError
from flowstone_provider.hooks._files import Digest, Files
from flowstone_provider.hooks._tables import ParquetStream, read_parquet
from flowstone_provider.hooks.io_manager import IOManagerHook
from flowstone_provider.hooks.values import schema_of

T = TypeVar("T")

_RECEIPT = "receipt.json"
_PARTITION = "p="
_SUFFIXES: dict[Kind, str] = {"json": "json", "bytes": "bin", "table": "parquet"}
_CHUNK = 1 << 20

# How often a reader looks again when a value is replaced under its hands.
_ATTEMPTS = 5


class FolderManager(IOManagerHook):
    """Keeps each value in a folder of files."""

    receipt_name: ClassVar[str] = _RECEIPT

    @cached_property
    @abstractmethod
    def files(self) -> Files:
        """Where the files are."""

    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """See `IOManagerHook.put_blob`."""
        return self._put(key, kind, chunks, lambda: (None, None))

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        stream = ParquetStream(reader)
        return self._put(key, "table", stream.chunks(), lambda: (stream.rows, schema_of(reader.schema)))

    def _put(
        self,
        key: AssetKey,
        kind: Kind,
        chunks: Iterable[bytes],
        about: Callable[[], tuple[int | None, dict[str, str] | None]],
    ) -> StoredAsset:
        folder = _folder(key)
        name = f"{folder}/{uuid.uuid4().hex}.{_SUFFIXES[kind]}"
        digest = Digest()
        old = self._read_receipt(key)
        try:
            self.files.put(name, digest.through(chunks))
            rows, schema = about()
            receipt = StoredAsset(
                uri=self.files.uri(name),
                kind=kind,
                bytes=digest.bytes,
                rows=rows,
                schema=schema,
                checksum=str(digest),
                stored_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            )
            written = {"version": 1, "file": name.rpartition("/")[2], **receipt.dump()}
            self.files.replace(f"{folder}/{self.receipt_name}", orjson.dumps(written, option=orjson.OPT_INDENT_2))
        except BaseException:
            self.files.remove([name])
            raise
        if old is not None:
            self.files.remove([f"{folder}/{old['file']}"])
        return receipt

    def receipt(self, key: AssetKey) -> StoredAsset | None:
        """See `IOManager.receipt`."""
        found = self._read_receipt(key)
        if found is None:
            return None
        return StoredAsset(**{name: found[name] for name in StoredAsset.__dataclass_fields__})

    def _read_receipt(self, key: AssetKey) -> dict[str, Any] | None:
        name = f"{_folder(key)}/{self.receipt_name}"
        data = self.files.get(name)
        if data is None:
            return None
        try:
            found: dict[str, Any] = orjson.loads(data)
            if found["version"] != 1:
                raise AssetDamagedError(
                    f"{self.files.uri(name)} has version {found['version']}; this package reads version 1"
                )
            _ = found["file"], found["checksum"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise AssetDamagedError(f"{self.files.uri(name)} is no receipt: {error!r}; store {key} again") from error
        return found

    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """See `IOManagerHook.get_blob`."""
        digest = Digest()
        with self._open(key, receipt) as file:
            yield from digest.through(iter(lambda: file.read(_CHUNK), b""))
        if str(digest) != receipt.checksum:
            raise AssetDamagedError(
                f"{receipt.uri} is damaged: it has {digest.bytes:,} bytes and {digest}, but {receipt.bytes:,} bytes "
                f"and {receipt.checksum} were stored; store {key} again"
            )

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        return read_parquet([self._open(key, receipt)], receipt.uri, columns, where)

    def _open(self, key: AssetKey, receipt: StoredAsset) -> Any:
        name = f"{_folder(key)}/{receipt.uri.rpartition('/')[2]}"
        try:
            return self.files.open(name)
        except FileNotFoundError as error:
            now = self.receipt(key)
            if now is None or now.uri != receipt.uri:
                raise StorageError(f"{key} was replaced or deleted while it was loaded; load it again") from error
            raise AssetDamagedError(f"{receipt.uri} is gone, although it is stored: store {key} again") from error

    def delete(self, key: AssetKey) -> None:
        """See `IOManager.delete`."""
        folder = _folder(key)
        # The receipt first: from then on there is no value.
        self.files.remove([f"{folder}/{self.receipt_name}"])
        depth = folder.count("/") + 1
        self.files.remove([found.name for found in self.files.list(folder) if found.name.count("/") == depth])

    def list_assets(self) -> Iterator[str]:
        """See `IOManager.list_assets`."""
        receipts = (found.name.rpartition("/") for found in self.files.list(""))
        folders = (folder for folder, _, name in receipts if name == self.receipt_name)
        return iter(sorted({folder.partition(f"/{_PARTITION}")[0] for folder in folders}))

    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """See `IOManager.list_partitions`."""
        for found in self.files.list(AssetKey(asset).asset):
            folder, _, name = found.name.removeprefix(f"{asset}/").rpartition("/")
            if name == self.receipt_name and folder.startswith(_PARTITION):
                yield decode(folder.removeprefix(_PARTITION))

    def uri(self, key: AssetKey) -> str:
        """See `IOManager.uri`."""
        return self.files.uri(_folder(key))

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
        kept = {self.receipt_name}
        data = self.files.get(f"{folder}/{self.receipt_name}")
        if data is not None:
            kept.add(orjson.loads(data)["file"])
        old = [
            found
            for found in files
            if found.name.rpartition("/")[2] not in kept and found.written is not None and found.written < before
        ]
        self.files.remove([found.name for found in old])
        return sum(found.size for found in old)


def _folder(key: AssetKey) -> str:
    return key.asset if key.text is None else f"{key.asset}/{_PARTITION}{key.text}"
