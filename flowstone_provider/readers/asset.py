"""The rows of an asset as a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, model_validator

from flowstone_provider import registry
from flowstone_provider.contracts.io_manager import (
    AssetKey,
    IOManager,
    StoredAsset,
    check_reference,
    meant_by,
    replaced,
)
from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Json, Page, ReaderOptions, limited
from flowstone_provider.contracts.options import is_deferred
from flowstone_provider.errors import (
    AssetReplacedError,
    PartitionError,
    ReaderError,
    SourceChangedError,
    SourceNotFoundError,
)
from flowstone_provider.readers._arrow import readable, values

_PAGE_ITEMS = 1_000


class AssetOptions(ReaderOptions):
    """Options of the ``asset`` reader."""

    title: ClassVar[str] = "asset"

    reference: dict[str, Any] | None = Field(
        default=None,
        description="What a task returned that stored the asset. It names all the rest; if the asset was replaced "
        "since, that is an error.",
    )
    asset: str | None = Field(default=None, description="The asset's name, in the place of a reference.")
    partition: str | list[str] | None = Field(
        default=None, description="Its partition; a list has a part for each dimension."
    )
    io_manager: str = Field(default="file", description="The name of the IO manager that keeps it.")

    @model_validator(mode="after")
    def _one_way(self) -> AssetOptions:
        if (self.reference is None) == (self.asset is None):
            raise ValueError("give either reference or asset")
        if isinstance(self.reference, dict):
            check_reference(self.reference)
        if not is_deferred(self.io_manager):
            registry.io_managers.lookup(self.io_manager)
        return self


class AssetReader(ItemReader):
    """Items are the rows of a table, as dicts, or the elements of a JSON list.

    Of a table only some batches are in memory; a list is, whole. A reading that goes on reads the rows before it once
    more.
    """

    options: ClassVar[type[ReaderOptions]] = AssetOptions
    repeatable: ClassVar[bool] = True

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the rows, a thousand a page at most.

        Raises:
            SourceNotFoundError: The asset has no value.
            SourceChangedError: The value is not the one that the reference or the checkpoint was made from.
            PartitionError: The partition was rendered to none.
            ReaderError: The value is neither a table nor a JSON list.
        """
        key, manager, receipt = self._opened()
        row = after["row"] if after else 0
        if after and after["checksum"] != receipt.checksum:
            raise SourceChangedError(f"{key} was replaced at {receipt.stored_at}, while it was read: start again")
        yield from limited(self._pages(key, manager, receipt, row), self.opts.max_items, row)

    def _pages(self, key: AssetKey, manager: IOManager, receipt: StoredAsset, start: int) -> Iterator[Page]:
        row = start
        for items in self._items(key, manager, receipt, start):
            row += len(items)
            yield Page(items, {"row": row, "checksum": receipt.checksum}, receipt.uri)

    def _items(self, key: AssetKey, manager: IOManager, receipt: StoredAsset, start: int) -> Iterator[list[Json]]:
        as_type = "pyarrow.RecordBatchReader" if receipt.kind == "table" else None
        try:
            value = manager.load(key, as_type, checksum=receipt.checksum)
        except AssetReplacedError as error:
            raise SourceChangedError(error.message) from error
        if receipt.kind == "table":
            yield from _rows(value, str(key), start)
            return
        if not isinstance(value, list):
            raise ReaderError(
                f"{key} is a value of kind {receipt.kind}, of type {type(value).__name__}: items are the rows of a "
                "table, or the elements of a JSON list"
            )
        for at in range(start, len(value), _PAGE_ITEMS):
            yield value[at : at + _PAGE_ITEMS]

    def _opened(self) -> tuple[AssetKey, IOManager, StoredAsset]:
        name, checksum = self.opts.io_manager, None
        if self.opts.reference is not None:
            key, name, checksum = meant_by(self.opts.reference)
        else:
            partition = self.opts.partition
            if partition is None and "partition" in self.opts.model_fields_set:
                raise PartitionError(
                    f"the partition of {self.opts.asset} is None: the task that it comes from found nothing; for the "
                    "asset without partitions leave it out"
                )
            key = AssetKey(self.opts.asset, tuple(partition) if isinstance(partition, list) else partition)
        manager = registry.create_io_manager(name)
        receipt = manager.receipt(key)
        if receipt is None:
            raise SourceNotFoundError(f"{name} has no value of {key}: run the task that stores it")
        if checksum is not None and checksum != receipt.checksum:
            raise SourceChangedError(replaced(key, receipt, checksum).message)
        return key, manager, receipt

    def count(self) -> int | None:
        """The number of rows, from the receipt; ``None`` for a JSON list, which would have to be loaded."""
        rows = self._opened()[2].rows
        return rows if rows is None or self.opts.max_items is None else min(rows, self.opts.max_items)


def _rows(reader: Any, what: str, start: int) -> Iterator[list[Json]]:
    schema = readable(reader.schema, what, "store it without")
    skip = start
    for batch in reader:
        for at in range(min(skip, batch.num_rows), batch.num_rows, _PAGE_ITEMS):
            yield values(batch.slice(at, _PAGE_ITEMS), schema)
        skip = max(0, skip - batch.num_rows)
