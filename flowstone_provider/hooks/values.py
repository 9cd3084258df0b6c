"""What assets hold: JSON values, bytes, tables; and the Python types that they come as and are given as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import orjson

from flowstone_provider.contracts.io_manager import Condition, Kind
from flowstone_provider.errors import MissingExtraError, ValueKindError

# Bytes of a file that are read at once: as many as a part of an upload to S3, which then need not be copied.
_CHUNK = 8 << 20

_TABLES = (
    "a pyarrow Table, RecordBatch or RecordBatchReader, an iterator of record batches, a pandas or polars DataFrame"
)
TABLE_TYPES = ("pyarrow.Table", "pyarrow.RecordBatchReader", "Iterator", "pandas.DataFrame", "polars.DataFrame")
"""Names of types that a table is given as, and only a table; see `type_name`."""

# Annotations as text.
_OPTIONAL = re.compile(r"(?:typing\.)?Optional\[(.+)\]|(.+?)\s*\|\s*None")
_LIST = re.compile(r"(?:typing\.)?(?:list|List|Sequence)\[(.+)\]")

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
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError as error:
        raise ValueKindError(f"the value is no JSON value: {error}; what can be stored: {_STORABLE}") from error


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
        ValueKindError: It has no column; an iterator yields no record batch, or nothing.
    """
    pa = arrow()
    if isinstance(value, pa.RecordBatch):
        reader = pa.RecordBatchReader.from_batches(value.schema, [value])
    elif hasattr(value, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(value)
    elif hasattr(value, "__arrow_c_array__"):
        batch = pa.record_batch(value)
        reader = pa.RecordBatchReader.from_batches(batch.schema, [batch])
    else:
        reader = _of_iterator(value)
    if not reader.schema.names:
        raise ValueKindError("a table without columns cannot be stored")
    if len(set(reader.schema.names)) < len(reader.schema.names):
        raise ValueKindError(f"a table with two columns of one name cannot be stored: {reader.schema.names}")
    return reader


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
    for column, operator, _ in where:
        if operator not in _OPERATORS:
            raise ValueKindError(f"the condition on {column!r} has the operator {operator!r}, not {_OPERATORS}")


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


def type_name(as_type: Any) -> str:
    """A type, or an annotation of one, as the name it is known by; empty for any type.

    The libraries need not be installed, and an annotation may be text.
    """
    if not isinstance(as_type, str):
        # Of "X | None", X.
        members = [member for member in get_args(as_type) if member is not NoneType]
        if get_origin(as_type) in (Union, UnionType) and len(members) == 1:
            as_type = members[0]
    if as_type is None or as_type is Any:
        return ""
    text = as_type if isinstance(as_type, str) else _qualified(getattr(as_type, "__origin__", None) or as_type)
    optional = _OPTIONAL.fullmatch(text.strip("\"' "))
    text = (optional[1] or optional[2]) if optional else text
    bare = text.partition("[")[0].strip("\"' ")
    last = bare.rpartition(".")[2]
    if last in ("Table", "RecordBatchReader"):
        return f"pyarrow.{last}"
    if last == "DataFrame":
        return "polars.DataFrame" if bare.startswith(("polars", "pl.")) else "pandas.DataFrame"
    if last in ("Iterator", "Iterable", "Generator"):
        return "Iterator"
    return "" if last in ("Any", "object", "_empty") else last


def element_of(as_type: Any) -> Any:
    """Of ``list[X]``, also as text, the X; otherwise any type."""
    if isinstance(as_type, str):
        found = _LIST.fullmatch(as_type.strip("\"' "))
        return found[1] if found else None
    return next(iter(get_args(as_type)), None) if get_origin(as_type) is not None else None


def _qualified(cls: Any) -> str:
    module = getattr(cls, "__module__", "").partition(".")[0]
    name = getattr(cls, "__qualname__", str(cls))
    return name if module in ("builtins", "typing", "collections") else f"{module}.{name}"


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
