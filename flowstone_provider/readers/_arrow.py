"""Rows of Arrow record batches as items."""

from __future__ import annotations

from typing import Any

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.errors import ReaderError


def readable(schema: Any, where: str, remedy: str) -> Any:
    """The schema with types that Python has.

    Args:
        schema: That of what is read.
        where: What is read, for messages.
        remedy: What to do about a column that cannot be read.

    Raises:
        ReaderError: A column has no JSON form.
    """
    import pyarrow as pa

    for field in schema:
        if pa.types.is_duration(field.type) or pa.types.is_interval(field.type):
            raise ReaderError(
                f"{where}: the column {field.name!r} holds {field.type}, which has no JSON form; {remedy}",
                url=where,
                column=field.name,
            )
    return pa.schema([pa.field(field.name, _without_nanoseconds(field.type, text=False)) for field in schema])


def values(batch: Any, schema: Any) -> list[Json]:
    """The rows of a batch as dicts of Python values; the schema is that of `readable`."""
    import pyarrow as pa

    if batch.schema.types == schema.types:
        return batch.to_pylist()  # type: ignore[no-any-return]
    try:
        columns = [column.cast(kind) for column, kind in zip(batch.columns, schema.types, strict=True)]
    except pa.ArrowInvalid:
        columns = [_with_nanoseconds(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=schema.names).to_pylist()


def _with_nanoseconds(column: Any) -> Any:
    """The column with nanosecond times, also those within its values, as text in ISO 8601."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = column.cast(_without_nanoseconds(column.type, text=True))
    if pa.types.is_timestamp(column.type) and text.type == pa.string():
        return pc.replace_substring(text, " ", "T", max_replacements=1)
    return text


def _without_nanoseconds(kind: Any, *, text: bool) -> Any:
    """An Arrow type with microseconds, or text, in the place of nanoseconds, which Python has no type for."""
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pa.string() if text else pa.timestamp("us", kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return pa.string() if text else pa.time64("us")
    if types.is_struct(kind):
        kind = pa.struct([field.with_type(_without_nanoseconds(field.type, text=text)) for field in kind])
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        # Any kind of list is the same list in Python.
        kind = pa.large_list(_without_nanoseconds(kind.value_type, text=text))
    elif types.is_map(kind):
        kind = pa.map_(kind.key_type, _without_nanoseconds(kind.item_type, text=text))
    return kind
