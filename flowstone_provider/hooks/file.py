"""The IO manager ``file``: values as files on any filesystem."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from pydantic import Field

from flowstone_provider.contracts.options import Options
from flowstone_provider.hooks._files import Files, PathFiles
from flowstone_provider.hooks._folders import FolderManager
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.storage import storage


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
    """Keeps JSON values, bytes and tables (as Parquet) as files, on a local disk or any object store."""

    conn_type = "flowstone_file"
    hook_name = "FlowStone files"
    options: ClassVar[type[Options]] = FileOptions

    @cached_property
    def files(self) -> Files:
        """See `FolderManager.files`."""
        if self.opts.path is None:
            return PathFiles(storage() / "assets")
        return PathFiles(AirflowResources().path(self.opts.path, self.opts.conn_id))
