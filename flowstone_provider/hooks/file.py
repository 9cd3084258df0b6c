"""The IO manager ``file``: values as files on any filesystem."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from flowstone_provider.contracts.io_manager import AssetKey, Condition, StoredAsset
from flowstone_provider.contracts.options import Options
from flowstone_provider.hooks._arrow_streams import ArrowStream, read_arrow
from flowstone_provider.hooks._files import Files, PathFiles
from flowstone_provider.hooks._folders import FolderManager
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.storage import storage
from flowstone_provider.hooks.values import schema_of


class FileOptions(Options):
    """Options of the ``file`` IO manager."""

    title: ClassVar[str] = "file"

    path: str | None = Field(
        default=None,
        description="The folder of all assets, as a URL that ObjectStoragePath knows; by default the folder `assets` "
        "in `[flowstone] storage`.",
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection for the filesystem.")


class FileIOManager(FolderManager):
    """Keeps JSON values, bytes and tables as files, on a local disk or any object store.

    Tables are in Arrow's streaming format, compressed with zstd: made to be handed over, and read as a whole.
    """

    conn_type = "flowstone_file"
    hook_name = "FlowStone files"
    options: ClassVar[type[Options]] = FileOptions

    @cached_property
    def files(self) -> Files:
        """See `FolderManager.files`."""
        if self.opts.path is None:
            return PathFiles(storage() / "assets")
        return PathFiles(AirflowResources().path(self.opts.path, self.opts.conn_id))

    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """See `IOManagerHook.put_table`."""
        return self.put_stream(key, ArrowStream(reader), schema_of(reader.schema))

    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """See `IOManagerHook.get_table`."""
        chunks = iter(self.get_blob(key, receipt))
        return read_arrow(chunks, list(receipt.schema or {}), receipt.uri, columns, where)
