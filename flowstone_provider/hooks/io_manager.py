"""The base of IO managers that are Airflow hooks: options from a connection, lineage, checks.

A manager of a plugin subclasses `IOManagerHook` and writes the primitives: ``put_blob``, ``put_table``, ``get_blob``,
``get_table``, ``receipt``, ``delete``, ``list_assets``, ``list_partitions``, ``uri``.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import BaseHook

from flowstone_provider import lineage, telemetry
from flowstone_provider.contracts.io_manager import (
    AssetKey,
    Condition,
    IOManager,
    Kind,
    StoredAsset,
    meant_by,
    replaced,
)
from flowstone_provider.contracts.options import Options
from flowstone_provider.errors import (
    AssetDamagedError,
    AssetError,
    AssetNotFoundError,
    OptionsError,
    ValueKindError,
)
from flowstone_provider.hooks.annotations import TABLE_TYPES, element_of, type_name
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.values import (
    arrow,
    batches_of,
    blob,
    blob_given_as,
    given_as,
    kind_of,
    of_any_layout,
    schema_of,
)
from flowstone_provider.registry import create_io_manager

log = logging.getLogger(__name__)

_CONN_TYPE = "flowstone_"


class IOManagerHook(BaseHook, IOManager):
    """An IO manager that is an Airflow hook.

    Args:
        flowstone_conn_id: A connection of the hook's type: its extra has options, for those that are not given here.
        **options: See the class's ``options`` model.

    Raises:
        OptionsError: An option is misspelt, or does not fit.
    """

    conn_name_attr = "flowstone_conn_id"
    options: ClassVar[type[Options]] = Options
    kinds: ClassVar[tuple[Kind, ...]] = ("json", "bytes", "table")
    """What it can keep."""

    def __init__(self, flowstone_conn_id: str | None = None, **options: Any) -> None:
        super().__init__()
        self.flowstone_conn_id = flowstone_conn_id
        self._given = options
        if flowstone_conn_id is None:
            _ = self.opts

    @cached_property
    def opts(self) -> Any:
        """The options, with those of the connection.

        Raises:
            OptionsError: One is misspelt or does not fit, or the connection is of another type.
            SourceAccessError: There is no such connection.
        """
        extra: dict[str, Any] = {}
        if self.flowstone_conn_id is not None:
            connection = AirflowResources().connection(self.flowstone_conn_id)
            if connection.conn_type != self.conn_type:
                raise OptionsError(
                    f"the connection {self.flowstone_conn_id!r} is of type {connection.conn_type!r}, not "
                    f"{self.conn_type!r}"
                )
            extra = {name: value for name, value in connection.extra_dejson.items() if value not in (None, "")}
        return self.options(**{**extra, **self._given})

    @property
    def known_as(self) -> str:
        """See `IOManager.known_as`."""
        return self.registered_as or self.conn_type.removeprefix(_CONN_TYPE)

    # What a subclass writes

    @abstractmethod
    def put_blob(self, key: AssetKey, kind: Kind, chunks: Iterable[bytes]) -> StoredAsset:
        """Keep a JSON value or bytes, whole or not at all, in the place of what is there."""

    @abstractmethod
    def put_table(self, key: AssetKey, reader: Any) -> StoredAsset:
        """Keep a table, a record batch reader, whole or not at all, in the place of what is there."""

    @abstractmethod
    def get_blob(self, key: AssetKey, receipt: StoredAsset) -> Iterable[bytes]:
        """What `put_blob` kept."""

    @abstractmethod
    def get_table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        """What `put_table` kept, as a record batch reader."""

    # What users call

    def store(self, key: AssetKey, value: Any) -> StoredAsset:
        """See `IOManager.store`."""
        kind = kind_of(value)
        if kind not in self.kinds:
            raise ValueKindError(
                f"{key}: {type(self).__name__} keeps {' and '.join(self.kinds)}, not a value of kind {kind} "
                f"({type(value).__qualname__}); choose another io_manager for it"
            )
        about = self._about(key)
        started = time.monotonic()
        with telemetry.span("flowstone.asset.store", about):
            if kind == "table":
                receipt = self.put_table(key, batches_of(value))
            else:
                receipt = self.put_blob(key, kind, blob(kind, value))
        measured = {"bytes": receipt.bytes, "rows": receipt.rows or 0, "seconds": time.monotonic() - started}
        telemetry.emit("flowstone.asset.store", measured, about)
        log.info("stored %s: %s", key, receipt.uri)
        lineage.stored(self, key, receipt)
        return receipt

    def load(
        self,
        key: AssetKey,
        as_type: Any = None,
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
        checksum: str | None = None,
    ) -> Any:
        """See `IOManager.load`."""
        receipt = self._receipt(key, checksum)
        if receipt.kind == "table":
            value = given_as(self._table(key, receipt, columns, where), as_type)
        else:
            if columns is not None or where:
                raise ValueKindError(f"{key} is no table: it has no columns and rows to select")
            value = blob_given_as(receipt.kind, self.get_blob(key, receipt), as_type)
        self._loaded(key, receipt)
        return value

    def load_many(
        self,
        keys: Iterable[AssetKey],
        as_type: Any = None,
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
        checksums: Sequence[str] | None = None,
    ) -> Any:
        """See `IOManager.load_many`. Tables must have one schema."""
        keys = list(keys)
        meant: Sequence[str | None] = [None] * len(keys) if checksums is None else checksums
        found = [(key, self._receipt(key, checksum)) for key, checksum in zip(keys, meant, strict=True)]
        if not found:
            raise AssetNotFoundError("no key is given, so there is nothing to load")
        if any(receipt.kind != "table" for _, receipt in found):
            return [
                self.load(key, as_type, columns=columns, where=where, checksum=checksum)
                for key, checksum in zip(keys, meant, strict=True)
            ]
        (first_key, first), *others = found
        reader = self._table(first_key, first, columns, where)

        def types_of(table: Any) -> dict[str, str]:
            return of_any_layout(schema_of(table.schema))

        def batches() -> Iterator[Any]:
            yield from reader
            for key, receipt in others:
                table = self._table(key, receipt, columns, where)
                if table.schema.names != reader.schema.names or types_of(table) != types_of(reader):
                    raise ValueKindError(
                        f"{key} has other columns than {first_key}: {_described(table.schema)} instead of "
                        f"{_described(reader.schema)}; load them apart, or only `columns` that are the same in both"
                    )
                same = table.schema.types == reader.schema.types
                yield from table if same else (batch.cast(reader.schema) for batch in table)

        value = given_as(arrow().RecordBatchReader.from_batches(reader.schema, batches()), as_type)
        for key, receipt in found:
            self._loaded(key, receipt)
        return value

    def load_all(
        self,
        asset: str,
        as_type: Any = None,
        *,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
    ) -> Any:
        """All partitions of an asset as one value, in the order of their texts; see `load_many`."""
        keys = [AssetKey(asset, partition) for partition in self.list_partitions(asset)]
        if not keys:
            raise AssetNotFoundError(f"the IO manager {self.known_as} has no partition of {asset}")
        return self.load_many(keys, as_type, columns=columns, where=where)

    def _receipt(self, key: AssetKey, checksum: str | None) -> StoredAsset:
        receipt = self.receipt(key)
        if receipt is None:
            raise self.missing(key)
        if checksum is not None and receipt.checksum != checksum:
            raise replaced(key, receipt, checksum)
        return receipt

    def _table(
        self, key: AssetKey, receipt: StoredAsset, columns: Sequence[str] | None, where: Sequence[Condition]
    ) -> Any:
        reader = self.get_table(key, receipt, columns, where)
        # How many rows meet the conditions, nobody wrote down.
        return reader if where else _counted(key, reader, receipt.rows)

    def _loaded(self, key: AssetKey, receipt: StoredAsset) -> None:
        telemetry.emit("flowstone.asset.load", {"bytes": receipt.bytes, "rows": receipt.rows or 0}, self._about(key))
        lineage.loaded(self, key, receipt)

    def _about(self, key: AssetKey) -> dict[str, str]:
        return {"io_manager": self.known_as, "asset": key.asset, "partition": key.text or ""}


def _counted(key: AssetKey, reader: Any, rows: int | None) -> Any:
    """The same batches; at their end the rows are as many as were stored, or else it is an error."""

    def batches() -> Iterator[Any]:
        found = 0
        for batch in reader:
            found += batch.num_rows
            yield batch
        if rows is not None and found != rows:
            raise AssetDamagedError(f"{key} has {found:,} rows, but {rows:,} were stored: store it again", key=str(key))

    return arrow().RecordBatchReader.from_batches(reader.schema, batches())


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def load_reference(
    reference: Any, as_type: Any = None, *, columns: Sequence[str] | None = None, where: Sequence[Condition] = ()
) -> Any:
    """The value that a reference stands for.

    Raises:
        ReferenceError: It is no reference to an asset, or one of another version.
        AssetNotFoundError: The value is deleted.
        AssetReplacedError: It was replaced.
    """
    key, name, checksum = meant_by(reference)
    return create_io_manager(name).load(key, as_type, columns=columns, where=where, checksum=checksum)


def load_references(
    references: Sequence[Any],
    as_type: Any = None,
    *,
    columns: Sequence[str] | None = None,
    where: Sequence[Condition] = (),
) -> Any:
    """The values of several references: as a type of tables one table of all, otherwise a list of the values.

    Args:
        references: In the order of the values.
        as_type: ``list[X]`` gives each value as an ``X``.
        columns: Of tables, only these.
        where: Of tables, only the rows that meet all of these.

    Raises:
        ReferenceError: One is no reference to an asset, or of another version.
        AssetError: For one table of all, they must have one IO manager.
        AssetNotFoundError: A value is deleted.
        AssetReplacedError: A value was replaced.
    """
    if type_name(as_type) not in TABLE_TYPES:
        each = element_of(as_type)
        return [load_reference(reference, each, columns=columns, where=where) for reference in references]
    meant = [meant_by(reference) for reference in references]
    names = {name for _, name, _ in meant}
    if len(names) != 1:
        raise AssetError(
            f"values of the IO managers {', '.join(sorted(names))} cannot be loaded as one table: ask for a list"
        )
    return create_io_manager(*names).load_many(
        [key for key, _, _ in meant],
        as_type,
        columns=columns,
        where=where,
        checksums=[checksum for _, _, checksum in meant],
    )
