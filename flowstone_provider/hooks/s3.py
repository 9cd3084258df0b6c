"""The IO manager ``s3``: values as objects of an S3 bucket."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from flowstone_provider.contracts.options import Options
from flowstone_provider.hooks._folders import FolderManager, is_ours
from flowstone_provider.hooks._s3_files import S3Files
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.s3_objects import check_bucket


class S3IOOptions(Options):
    """Options of the ``s3`` IO manager."""

    title: ClassVar[str] = "s3"

    bucket: Annotated[str, AfterValidator(check_bucket)] = Field(
        description="The bucket, or the alias of an access point."
    )
    prefix: Annotated[str, AfterValidator(lambda value: value.strip("/"))] = Field(
        default="", description="The folder of all assets in the bucket."
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection of AWS; by default `aws_default`.")


class S3IOManager(FolderManager):
    """Keeps JSON values, bytes and tables (as Parquet) as objects of an S3 bucket."""

    conn_type = "flowstone_s3"
    hook_name = "FlowStone S3"
    options: ClassVar[type[Options]] = S3IOOptions

    @cached_property
    def files(self) -> S3Files:
        """See `FolderManager.files`."""
        opts = self.opts
        return S3Files(lambda: AirflowResources().client("s3", opts.conn_id), opts.bucket, opts.prefix)

    def clean(self, before: datetime) -> int:
        """See `IOManager.clean`. Uploads that were never completed go, too: they cost what their parts take."""
        return super().clean(before) + self.files.abort_uploads(before, is_ours)
