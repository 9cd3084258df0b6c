"""The IO manager ``parquet``: tables as Hive-partitioned Parquet datasets on any filesystem, for other tools too.

::

    flights/enriched/p=2026-01-15/_receipt.json
    flights/enriched/p=2026-01-15/9c2e…-00000.parquet
    flights/enriched/p=2026-01-15/9c2e…-00001.parquet      of a large table

Other tools read an asset as one table with the column ``p``: Spark and pyarrow its folder, for they leave out names
that begin with ``_``; DuckDB and polars ``flights/enriched/p=*/*.parquet``. They know nothing of receipts: while a
partition is replaced they may see the rows of both values, and those that a store that died left behind until `clean`
removed them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from flowstone_provider.contracts.io_manager import AssetKey, Kind, StoredAsset
from flowstone_provider.contracts.options import Options
from flowstone_provider.errors import AssetDamagedError, ValueKindError
from flowstone_provider.folders import list_folders
from flowstone_provider.hooks._files import Files, PathFiles
from flowstone_provider.hooks._folders import PARTITION, FolderManager, folder_of
from flowstone_provider.hooks._tables import ParquetStream
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.storage import storage
from flowstone_provider.hooks.values import of_any_layout, schema_of

log = logging.getLogger(__name__)

# A table is split into files of about this size, so that Spark and its like read one with several machines, and no
# upload is larger. Spark and Delta Lake aim at the same.
_FILE_BYTES = 1 << 30

# Neighbours that are asked for their schema: a folder without receipt is what a store that died left.
_NEIGHBOURS = 3


class ParquetOptions(Options):
    """Options of the ``parquet`` IO manager."""

    title: ClassVar[str] = "parquet"

    path: str | None = Field(
        default=None,
        description="The folder of all assets, as a URL that ObjectStoragePath knows; by default the folder `tables` "
        "in `[flowstone] storage`.",
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection for the filesystem.")
    compression: Literal["snappy", "zstd", "gzip", "lz4", "none"] = Field(
        default="snappy", description="The codec of the files: `zstd` makes smaller ones, `snappy` is read everywhere."
    )
    schema_change: Literal["warn", "error"] = Field(
        default="warn",
        description="What becomes of a table whose columns or types are not those of the value that it replaces, or "
        "else of the partition before it: a warning in the log, or an error that keeps the old value.",
    )


class ParquetIOManager(FolderManager):
    """Keeps tables as Parquet files, one Hive partition for each partition of an asset."""

    conn_type = "flowstone_parquet"
    hook_name = "FlowStone Parquet"
    options: ClassVar[type[Options]] = ParquetOptions
    kinds: ClassVar[tuple[Kind, ...]] = ("table",)
    receipt_name: ClassVar[str] = "_receipt.json"

    @cached_property
    def files(self) -> Files:
        """See `FolderManager.files`."""
        return PathFiles(self._root)

    @cached_property
    def _root(self) -> Any:
        if self.opts.path is None:
            return storage() / "tables"
        return AirflowResources().path(self.opts.path, self.opts.conn_id)

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`.

        Raises:
            ValueKindError: The schema changed, with ``schema_change="error"``.
        """
        schema = schema_of(reader.schema)
        self._compare(key, schema)
        return self.put_stream(key, ParquetStream(reader, self.opts.compression, _FILE_BYTES), schema)

    def _value_uri(self, folder: str, names: list[str]) -> str:
        # The partition, as other tools call it: it stays the same when the value is replaced.
        return self.files.uri(folder)

    def _compare(self, key: AssetKey, schema: dict[str, str]) -> None:
        """Notice that a schema is another than before."""
        before, what = self._schema_before(key)
        if before is None:
            return
        before, schema = of_any_layout(before), of_any_layout(schema)
        if list(before.items()) == list(schema.items()):
            return
        changed = f"the columns of {key} are not those of {what}: {_difference(before, schema)}"
        if self.opts.schema_change == "error":
            raise ValueKindError(f"{changed}. Store the columns of before, or set schema_change to 'warn'")
        log.warning("%s. Partitions of different columns cannot be loaded as one", changed)

    def _schema_before(self, key: AssetKey) -> tuple[dict[str, str] | None, str]:
        """The schema of the value that is there, or else of the partition before the key's, or else after it."""
        try:
            if receipt := self.receipt(key):
                return receipt.schema, "the value that it replaces"
            if key.partition is None:
                return None, ""
            for folder in self._neighbours(key):
                if receipt := self._read_receipt(folder):
                    return receipt.schema, f"partition {folder.rpartition(PARTITION)[2]}"
        except AssetDamagedError as error:
            log.warning("whether the schema changed is unknown: %s", error)
        return None, ""

    def _neighbours(self, key: AssetKey) -> list[str]:
        """Folders of other partitions, the nearest before the key's first."""
        own = folder_of(key)
        names = [folder.name for folder in list_folders(self._root / key.asset)]
        others = [f"{key.asset}/{name}" for name in names if name.startswith(PARTITION)]
        earlier = [other for other in others if other < own]
        later = [other for other in others if other > own]
        return [*reversed(earlier[-_NEIGHBOURS:]), *later[:_NEIGHBOURS]]


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changes = [f"{name} is new" for name in now if name not in before]
    changes += [f"{name} is gone" for name in before if name not in now]
    both = [name for name in now if name in before]
    changes += [f"{name} is {now[name]}, was {before[name]}" for name in both if now[name] != before[name]]
    return ", ".join(changes) or f"their order is {', '.join(now)}, was {', '.join(before)}"
