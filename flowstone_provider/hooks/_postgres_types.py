"""Arrow's types in PostgreSQL: what a column becomes, how its values travel, and how they become what they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from flowstone_provider.contracts.io_manager import Condition
from flowstone_provider.errors import AssetDamagedError, ValueKindError
from flowstone_provider.hooks._postgres_sql import any_connection, psycopg_sql

if TYPE_CHECKING:
    from psycopg.sql import Composable

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


def selected_as(column: str, kind: str, now: str) -> Composable:
    """A column in a query.

    Args:
        column: Its name.
        kind: Its type when it was stored.
        now: Its type by now.
    """
    sql = psycopg_sql()
    selected = "{}"
    if now != kind:
        selected = "CAST({} AS text)"
    elif kind == "numeric[]":
        # ADBC gives a numeric as its text by itself, but not one in an array.
        selected = "CAST({} AS text[])"
    return sql.SQL(selected).format(sql.Identifier(column))


_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def condition(column: str, kind: str, where: Condition) -> Composable:
    """A condition in a query.

    Args:
        column: Its name.
        kind: Its type.
        where: The condition, with an operator that there is.

    Raises:
        ValueKindError: SQL has no literal for its value.
    """
    sql = psycopg_sql()
    _, operator, value = where
    # Texts are compared byte by byte as by the other IO managers, whatever the database's collation is.
    side = sql.SQL('{} COLLATE "C"' if kind == "text" else "{}").format(sql.Identifier(column))
    if operator != "in":
        compared = sql.SQL(" ").join([side, sql.SQL(_OPERATORS[operator]), _literal(value)])
        if operator in (">", ">=") and kind in ("real", "double precision"):
            # For PostgreSQL, NaN is greater than any number.
            return sql.SQL("({} AND {} <> 'NaN')").format(compared, side)
        return compared
    if not len(value):
        return sql.SQL("FALSE")
    return sql.SQL("{} IN ({})").format(side, sql.SQL(", ").join(map(_literal, value)))


def _literal(value: Any) -> Composable:
    from psycopg import Error

    if hasattr(value, "item"):
        # A number of numpy.
        value = value.item()
    # The text of others, e.g. of an array, psycopg quotes past `any_connection`.
    if not isinstance(value, (type(None), str, int, float, Decimal, bytes, datetime, date, time)):
        raise ValueKindError(f"a condition has the value {value!r:.100}, of a type that SQL has no literal for")
    found = psycopg_sql().Literal(value)
    try:
        found.as_string(any_connection())
    except (Error, UnicodeEncodeError) as error:
        # The character NUL, or half a character.
        raise ValueKindError(f"a condition has {value!r:.100}, which PostgreSQL cannot hold: {error}") from error
    return found
