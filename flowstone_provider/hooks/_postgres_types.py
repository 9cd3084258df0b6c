"""Arrow's types in PostgreSQL: what a column becomes, how its values travel, and how they become what they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from flowstone_provider.contracts.io_manager import Condition
from flowstone_provider.errors import AssetDamagedError, ValueKindError

# PostgreSQL counts times in microseconds.
_UNIT = "us"


class Form(NamedTuple):
    """How PostgreSQL keeps a column."""

    sql: str
    """Its type, as ``format_type`` writes it."""
    arrow: Any
    """The type of the values that travel."""


def form_of(field: Any) -> Form:
    """The form of a column.

    Args:
        field: A ``pyarrow.Field``.

    Raises:
        ValueKindError: PostgreSQL cannot keep it so that it comes back as it is.
    """
    form = _form(field.type)
    if form is None:
        raise ValueKindError(
            f"the column {field.name!r} is of type {field.type}, which PostgreSQL cannot give back as it is: make it "
            "text, numbers or several columns, or store the table with the IO manager parquet",
            column=field.name,
        )
    return form


def _form(kind: Any) -> Form | None:
    import pyarrow as pa

    t = pa.types
    # An order of categories is nothing that PostgreSQL knows.
    if t.is_dictionary(kind):
        return None if kind.ordered else _form(kind.value_type)
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        element = None if t.is_nested(kind.value_type) else _form(kind.value_type)
        return element and Form(f"{element.sql}[]", pa.list_(element.arrow))
    if t.is_timestamp(kind):
        if kind.tz is None:
            return Form("timestamp without time zone", pa.timestamp(_UNIT))
        return Form("timestamp with time zone", pa.timestamp(_UNIT, "UTC"))
    forms: list[tuple[Any, str, Any]] = [
        (t.is_boolean, "boolean", pa.bool_()),
        (lambda k: k in (pa.int8(), pa.uint8(), pa.int16()), "smallint", pa.int16()),
        (lambda k: k in (pa.uint16(), pa.int32()), "integer", pa.int32()),
        (lambda k: k in (pa.uint32(), pa.int64()), "bigint", pa.int64()),
        # More than a bigint holds.
        (lambda k: k == pa.uint64(), "numeric", pa.decimal128(20, 0)),
        (lambda k: k in (pa.float16(), pa.float32()), "real", pa.float32()),
        (lambda k: k == pa.float64(), "double precision", pa.float64()),
        (lambda k: t.is_decimal(k) and k.precision <= 38, "numeric", None),
        (t.is_decimal256, "numeric", kind),
        (lambda k: t.is_string(k) or t.is_large_string(k) or t.is_string_view(k), "text", pa.string()),
        (
            lambda k: t.is_binary(k) or t.is_large_binary(k) or t.is_binary_view(k) or t.is_fixed_size_binary(k),
            "bytea",
            pa.binary(),
        ),
        (t.is_date, "date", pa.date32()),
        (t.is_time, "time without time zone", pa.time64(_UNIT)),
        (t.is_null, "text", pa.string()),
    ]
    for fits, sql, arrow in forms:
        if fits(kind):
            return Form(sql, arrow or pa.decimal128(kind.precision, kind.scale))
    return None


def travelling(batch: Any, columns: Sequence[str], forms: Sequence[Form]) -> Any:
    """A record batch of a value as PostgreSQL takes it.

    Raises:
        ValueKindError: Digits of a value would be lost.
    """
    import pyarrow as pa

    arrays = []
    for field, array, form in zip(batch.schema, batch.columns, forms, strict=True):
        try:
            arrays.append(array if array.type == form.arrow else array.cast(form.arrow))
        except pa.ArrowException as error:
            raise ValueKindError(
                f"the column {field.name!r} of type {field.type} has a value that PostgreSQL's {form.sql} cannot hold: "
                f"{error}; round it, or store the table with the IO manager parquet",
                column=field.name,
            ) from error
    return pa.record_batch(arrays, names=list(columns))


def restored(array: Any, field: Any, sql: str) -> Any:
    """What came from PostgreSQL as the array that it was.

    Args:
        array: A ``pyarrow.Array``.
        field: The column as it was stored.
        sql: The type that the column has by now.

    Raises:
        AssetDamagedError: It cannot be that any more.
    """
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        # A numeric comes as its text.
        array = array.storage
    if array.type == field.type:
        return array
    try:
        if pa.types.is_null(field.type):
            return pa.nulls(len(array))
        if pa.types.is_dictionary(field.type):
            plain = array.cast(field.type.value_type).dictionary_encode()
            indices = plain.indices.cast(field.type.index_type)
            return pa.DictionaryArray.from_arrays(indices, plain.dictionary)
        return array.cast(field.type)
    except pa.ArrowException as error:
        raise AssetDamagedError(
            f"the column {field.name!r} was stored as {field.type} and is {sql} in PostgreSQL by now: {error}; give it "
            "its type back, or store the value again",
            column=field.name,
        ) from error


def selected_as(column: str, sql: str, now: str) -> str:
    """The SQL of a column in a query.

    Args:
        column: Its name, quoted.
        sql: Its type when it was stored.
        now: Its type by now.
    """
    if now != sql:
        return f"CAST({column} AS text)"
    # ADBC gives a numeric as its text by itself, but not one in an array.
    return f"CAST({column} AS text[])" if sql == "numeric[]" else column


def condition(column: str, sql: str, where: Condition) -> str:
    """A condition as SQL. COPY takes no parameters, so that values stand in it as literals.

    Args:
        column: Its name, quoted.
        sql: Its type.
        where: The condition, with an operator that there is.

    Raises:
        ValueKindError: SQL has no such literal.
    """
    _, operator, value = where
    # Texts are compared byte by byte as by the other IO managers, whatever the database's collation is.
    side = f'{column} COLLATE "C"' if sql == "text" else column
    if operator == "in":
        return f"{side} IN ({', '.join(literal(each) for each in value)})" if len(value) else "FALSE"
    return f"{side} {'<>' if operator == '!=' else operator} {literal(value)}"


def literal(value: Any) -> str:
    """A Python value as an SQL literal, for a session with ``standard_conforming_strings``.

    Raises:
        ValueKindError: There is none.
    """
    if hasattr(value, "item"):
        # A number of numpy.
        value = value.item()
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return quote_text(value)
    if isinstance(value, (bool, int)):
        return str(value).upper()
    kinds: list[tuple[Any, str, Any]] = [
        (float, "double precision", repr),
        (Decimal, "numeric", str),
        (bytes, "bytea", lambda v: f"\\x{v.hex()}"),
        (datetime, "timestamp", str),
        (date, "date", str),
        (time, "time", str),
    ]
    for cls, sql, text in kinds:
        if isinstance(value, cls):
            zone = "tz" if isinstance(value, datetime) and value.tzinfo is not None else ""
            return f"CAST({quote_text(text(value))} AS {sql}{zone})"
    raise ValueKindError(f"a condition has the value {value!r:.100}, of a type that SQL has no literal for")


def quote_text(text: str) -> str:
    """A text as an SQL literal.

    Raises:
        ValueKindError: It has the character NUL.
    """
    if "\0" in text:
        raise ValueKindError(f"the text {text!r:.100} has the character NUL, which PostgreSQL cannot hold")
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """An identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'
