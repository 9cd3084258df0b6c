"""The IO manager ``memory``: values in this process, for tests and ``dag.test()``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar

from flowstone_provider.contracts.io_manager import AssetKey, Condition, Kind, StoredAsset
from flowstone_provider.contracts.options import Options
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import AssetNotFoundError
from flowstone_provider.hooks._files import Digest
from flowstone_provider.hooks.io_manager import IOManagerHook
from flowstone_provider.hooks.values import arrow, schema_of, selected


class MemoryOptions(Options):
    """Options of the ``memory`` IO manager: none."""

    title: ClassVar[str] = "memory"


class MemoryIOManager(IOManagerHook):
    """Keeps values in this process. Another process, such as another task's on any executor, finds none of them."""

    conn_type = "flowstone_memory"
    hook_name = "FlowStone memory"
    options: ClassVar[type[Options]] = MemoryOptions
    _values: ClassVar[dict[tuple[str, str | None], tuple[StoredAsset, Any]]] = {}

    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """See `IOManagerHook.put_blob`."""
        digest = Digest()
        data = b"".join(digest.through(chunks))
        return self._keep(key, data, kind, digest.bytes, None, None, str(digest))

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        table = reader.read_all()
        digest = Digest()
        sink = arrow().BufferOutputStream()
        with arrow().ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        for _ in digest.through([sink.getvalue()]):
            pass
        return self._keep(key, table, "table", table.nbytes, table.num_rows, schema_of(table.schema), str(digest))

    def _keep(
        self, key: AssetKey, value: Any, kind: Kind, size: int, rows: Any, schema: Any, checksum: str
    ) -> StoredAsset:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        receipt = StoredAsset(self.uri(key), kind, size, rows, schema, checksum, now)
        self._values[key.asset, key.text] = receipt, value
        return receipt

    def receipt(self, key: AssetKey) -> StoredAsset | None:
        """See `IOManager.receipt`."""
        found = self._values.get((key.asset, key.text))
        return None if found is None else found[0]

    def missing(self, key: AssetKey) -> AssetNotFoundError:
        """See `IOManager.missing`."""
        error = super().missing(key)
        return AssetNotFoundError(
            f"{error.message}. The IO manager memory keeps values in one process (this is {os.getpid()}): what another "
            "task stored is not here; choose file, s3, parquet or postgres for tasks in processes of their own",
            **error.data,
        )

    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """See `IOManagerHook.get_blob`."""
        return [self._values[key.asset, key.text][1]]

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        return selected(self._values[key.asset, key.text][1].to_reader(), columns, where)

    def delete(self, key: AssetKey) -> None:
        """See `IOManager.delete`."""
        self._values.pop((key.asset, key.text), None)

    def list_assets(self) -> Iterator[str]:
        """See `IOManager.list_assets`."""
        return iter(sorted({asset for asset, _ in self._values}))

    def list_partitions(self, asset: str) -> Iterator[Partition]:
        """See `IOManager.list_partitions`."""
        return map(decode, sorted(text for name, text in self._values if name == asset and text is not None))

    def uri(self, key: AssetKey) -> str:
        """See `IOManager.uri`."""
        return f"memory://{os.getpid()}/{key.asset}" + (f"/{key.text}" if key.text else "")
