"""What assets hold: JSON values, bytes, tables; and the Python types that they come as and are given as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain
from math import isfinite
from numbers import Real
from pathlib import Path
from types import NoneType
from typing import Any

import orjson

from flowstone_provider.contracts.io_manager import Condition, Kind
from flowstone_provider.errors import MissingExtraError, ValueKindError
from flowstone_provider.hooks.annotations import type_name

# Bytes of a file that are read at once: as many as a part of an upload to S3, which then need not be copied.
_CHUNK = 8 << 20

_TABLES = (
    "a pyarrow Table, RecordBatch or RecordBatchReader, an iterator of record batches, a pandas or polars DataFrame"
)
_SCALARS = {NoneType, bool, int, str}

_STORABLE = f"JSON values, bytes, a pathlib.Path of a file, {_TABLES}"


def arrow() -> Any:
    """The library pyarrow.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "tables need the library pyarrow: pip install 'airflow-provider-flowstone[parquet]'", extra="parquet"
        ) from error
    return pyarrow


def kind_of(value: Any) -> Kind:
    """What a value is.

    Raises:
        ValueKindError: Nothing that can be stored; the message says what can.
    """
    if isinstance(value, (bytes, bytearray, memoryview, Path)):
        return "bytes"
    if _is_json(value):
        return "json"
    # Anything that speaks Arrow's C interface is a table: those of pyarrow, pandas, polars, DuckDB …
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__") or _is_iterator(value):
        return "table"
    raise ValueKindError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot be stored; what can: {_STORABLE}"
    )


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))


def _is_iterator(value: Any) -> bool:
    return isinstance(value, Iterator)


def json_bytes(value: Any) -> bytes:
    """A JSON value as text.

    Raises:
        ValueKindError: Something in it is not JSON.
    """
    try:
        data = orjson.dumps(value)
    except TypeError as error:
        raise ValueKindError(f"the value is no JSON value: {error}; what can be stored: {_STORABLE}") from error
    # orjson writes dates, UUIDs, enums and dataclasses as texts and objects, and NaN as null: they would come back as
    # something else. It has refused values that contain themselves.
    left = [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind is dict:
            left.extend(each.values())
        elif kind is list or kind is tuple:
            left.extend(each)
        elif kind is float:
            if not isfinite(each):
                raise ValueKindError(f"the value has the number {each} in it, which JSON lacks: make it None or a text")
        elif kind not in _SCALARS:
            raise ValueKindError(
                f"the value has one of type {kind.__module__}.{kind.__qualname__} in it, which would come back as "
                "another: make it a dict, a list, a text or a number"
            )
    return data


def blob(kind: Kind, value: Any) -> Iterable[bytes]:
    """A JSON value or bytes as chunks."""
    if kind == "json":
        return [json_bytes(value)]
    if isinstance(value, Path):
        return _chunks(value)
    return [bytes(value)]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def batches_of(value: Any) -> Any:
    """A table, in whatever form it comes, as a ``pyarrow.RecordBatchReader``.

    Raises:
        ValueKindError: It is a column alone, or has none; an iterator yields no record batch, or nothing.
    """
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        reader = _of_arrow(value)
    else:
        reader = _of_iterator(value)
    if not reader.schema.names:
        raise ValueKindError("a table without columns cannot be stored")
    if len(set(reader.schema.names)) < len(reader.schema.names):
        raise ValueKindError(f"a table with two columns of one name cannot be stored: {reader.schema.names}")
    return reader


def _of_arrow(value: Any) -> Any:
    pa = arrow()
    try:
        if isinstance(value, pa.RecordBatch) or not hasattr(value, "__arrow_c_stream__"):
            batch = pa.record_batch(value)
            return pa.RecordBatchReader.from_batches(batch.schema, [batch])
        return pa.RecordBatchReader.from_stream(value)
    except pa.ArrowException as error:
        kind = type(value)
        raise ValueKindError(
            f"a value of type {kind.__module__}.{kind.__qualname__} is no table, as a column alone is none ({error}); "
            f"what can be stored: {_STORABLE}"
        ) from error


def _of_iterator(value: Iterator[Any]) -> Any:
    pa = arrow()
    first = next(value, None)
    if not isinstance(first, (pa.RecordBatch, pa.Table)):
        what = "yields nothing" if first is None else f"yields {type(first).__qualname__}"
        raise ValueKindError(
            f"an iterator must yield pyarrow record batches; this one {what}. An empty table is stored as "
            "schema.empty_table()"
        )

    def batches() -> Iterator[Any]:
        for each in chain([first], value):
            yield from each.to_batches() if isinstance(each, pa.Table) else [each]

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def schema_of(schema: Any) -> dict[str, str]:
    """A schema as column -> type, in Arrow's words."""
    return {field.name: str(field.type) for field in schema}


# What tells layouts of texts, bytes and lists apart: "large_string", "string_view" …
_LAYOUT = re.compile(r"\blarge_|(?<=string|binary)_view\b")


def of_any_layout(schema: Mapping[str, str]) -> dict[str, str]:
    """Column -> type, where texts are texts: those of pandas and polars lie otherwise in memory than pyarrow's."""
    return {name: _LAYOUT.sub("", type_) for name, type_ in schema.items()}


def selected(reader: Any, columns: Sequence[str] | None, where: Sequence[Condition]) -> Any:
    """A record batch reader with the rows and columns asked for, for managers that cannot select before they read.

    Raises:
        ValueKindError: There is no such column, or no such operator.
    """
    check_selection(reader.schema.names, columns, where)
    check_conditions(reader.schema, where)
    if not where and columns is None:
        return reader
    pa = arrow()
    names = list(columns) if columns is not None else reader.schema.names
    condition = expression(where)
    schema = pa.schema([reader.schema.field(name) for name in names])

    def batches() -> Iterator[Any]:
        for batch in reader:
            chosen = batch if condition is None else batch.filter(condition)
            if chosen.num_rows:
                yield chosen.select(names)

    return pa.RecordBatchReader.from_batches(schema, batches())


def check_selection(names: Sequence[str], columns: Sequence[str] | None, where: Sequence[Condition]) -> None:
    """Check that columns and conditions are about columns that there are.

    Raises:
        ValueKindError: One is not, or has an operator that there is not.
    """
    for name in [*(columns or ()), *(column for column, _, _ in where)]:
        if name not in names:
            raise ValueKindError(f"the table has no column {name!r}; it has {', '.join(names)}")
    for column, operator, value in where:
        if operator not in _OPERATORS:
            raise ValueKindError(f"the condition on {column!r} has the operator {operator!r}, not {_OPERATORS}")
        if operator == "in" and (isinstance(value, (str, bytes)) or not isinstance(value, Sized)):
            raise ValueKindError(f"the condition on {column!r} has {value!r:.100} after in: give a list of values")
        for each in value if operator == "in" else (value,):
            # SQL and Arrow do not agree on what they are equal to, and less than.
            if each is None or (isinstance(each, Real) and each != each):  # noqa: PLR0124  (as NaN does)
                raise ValueKindError(
                    f"the condition on {column!r} compares with {each}, which is equal to nothing: leave it out, and "
                    "look for such rows in what is loaded"
                )


def check_conditions(schema: Any, where: Sequence[Condition]) -> None:
    """Check that conditions compare columns with values of their types.

    Raises:
        ValueKindError: One does not.
    """
    for condition in where:
        try:
            schema.empty_table().filter(expression([condition]))
        except (arrow().ArrowException, TypeError) as error:
            column, operator, value = condition
            raise ValueKindError(
                f"the condition {column} {operator} {value!r:.100} does not fit the column's type, "
                f"{schema.field(column).type}: {error}"
            ) from error


_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in")


def expression(where: Sequence[Condition]) -> Any:
    """Conditions as a ``pyarrow.compute.Expression``; ``None`` when there are none."""
    import pyarrow.compute as pc

    whole = None
    for column, operator, value in where:
        field = pc.field(column)
        term = {
            "=": lambda f, v: f == v,
            "!=": lambda f, v: f != v,
            "<": lambda f, v: f < v,
            "<=": lambda f, v: f <= v,
            ">": lambda f, v: f > v,
            ">=": lambda f, v: f >= v,
            "in": lambda f, v: f.isin(list(v)),
        }[operator](field, value)
        whole = term if whole is None else whole & term
    return whole


def given_as(reader: Any, as_type: Any) -> Any:
    """A table in the type asked for.

    Args:
        reader: A record batch reader.
        as_type: ``pyarrow.Table`` (the default), ``pyarrow.RecordBatchReader`` or ``Iterator`` (a stream of record
            batches), ``pandas.DataFrame``, ``polars.DataFrame``, ``list`` (of dicts).

    Raises:
        ValueKindError: A table is not given as that.
    """
    pa = arrow()
    name = type_name(as_type)
    if name in ("", "pyarrow.Table"):
        return reader.read_all()
    if name == "pyarrow.RecordBatchReader":
        return reader
    if name == "Iterator":
        return iter(reader)
    if name == "list":
        return [row for batch in reader for row in batch.to_pylist()]
    if name == "pandas.DataFrame":
        return reader.read_pandas()
    if name == "polars.DataFrame":
        import polars

        return polars.from_arrow(reader.read_all())
    raise ValueKindError(
        f"a table cannot be given as {name}; as what it can: {pa.Table.__name__}, RecordBatchReader, "
        "Iterator[RecordBatch], pandas.DataFrame, polars.DataFrame, list"
    )


def blob_given_as(kind: Kind, chunks: Iterable[bytes], as_type: Any) -> Any:
    """A JSON value or bytes in the type asked for.

    Raises:
        ValueKindError: It is not given as that.
    """
    name = type_name(as_type)
    if kind == "bytes":
        if name in ("", "bytes"):
            return b"".join(chunks)
        if name == "Iterator":
            return iter(chunks)
        raise ValueKindError(f"bytes cannot be given as {name}; as what they can: bytes, Iterator[bytes]")
    value = orjson.loads(b"".join(chunks))
    if name in ("", "dict", "list", "str", "int", "float", "bool", "Mapping", "Sequence"):
        return value
    if name == "bytes":
        return orjson.dumps(value)
    raise ValueKindError(f"a JSON value cannot be given as {name}")
