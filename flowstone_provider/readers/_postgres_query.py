"""The statements of the ``postgres`` reader: rows as JSON, counts, the borders of splits.

PostgreSQL makes the JSON: one text arrives for a row, instead of a value for each column that Python makes an object
of first. What JSON would lose is cast before, as the item rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.readers._postgres_order import Order, Term

# Object ids of built-in types (PostgreSQL's catalogue src/include/catalog/pg_type.dat); they never change.
_BYTEA, _NUMERIC = 17, 1700

# Types whose equal values all have one text: bool, bytea, "char", name, int8, int2, int4, oid, date, time, timestamp,
# timestamptz, uuid. Elsewhere 1.0 = 1.00, 0 = -0, '1 day' = '24 hours', and 'a' = 'A' under some collations.
_ONE_TEXT = {16, _BYTEA, 18, 19, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 2950}

# Of these the JSON has the very text, or the number: "char", name, int8, int2, int4, oid, date, uuid.
_SAME_IN_JSON = {18, 19, 20, 21, 23, 26, 1082, 2950}

# encode() breaks lines after 76 characters, as RFC 2045 has it.
_BASE64 = "translate(encode({field}, 'base64'), chr(10), '')"
_BASE64_OF_EACH = """
    CASE WHEN {field} IS NOT NULL THEN ARRAY(
        SELECT translate(encode(e, 'base64'), chr(10), '') FROM unnest({field}) WITH ORDINALITY AS u(e, n) ORDER BY n
    ) END"""

BEFORE_QUERY = "SELECT * FROM (\n"
"""What stands before the query in the statement that describes it."""


@dataclass(frozen=True)
class Column:
    """A column of the query."""

    name: str
    type: str
    """As SQL writes it, that of a domain being the one it is based on."""
    oid: int
    """The id of the type."""
    element: int
    """The id of the elements' type in an array; that of the type itself elsewhere."""


def describe(sql: Any, text: str) -> Any:
    """A statement with the columns of the query, and no row."""
    return sql.SQL(BEFORE_QUERY + "{}\n) q LIMIT 0").format(sql.SQL(text))


def types_of(sql: Any, oids: Sequence[int]) -> Any:
    """A statement with (id, name, id of the innermost elements) of types."""
    # The elements of an array may be of a domain, which is based on another type.
    return sql.SQL(
        """
        WITH RECURSIVE inner_type(of, at) AS (
            SELECT oid, oid FROM pg_catalog.pg_type WHERE oid = ANY({}::oid[])
            UNION ALL
            SELECT i.of, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
            FROM inner_type i JOIN pg_catalog.pg_type t ON t.oid = i.at
            WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)
        )
        SELECT i.of, pg_catalog.format_type(i.of, -1), i.at
        FROM inner_type i JOIN pg_catalog.pg_type t ON t.oid = i.at
        WHERE t.typtype <> 'd' AND NOT (t.typcategory = 'A' AND t.typelem <> 0)
        """
    ).format(sql.Literal(list(oids)))


class Query:
    """A user's query with its columns, ordered by its cursor.

    Args:
        sql: The module ``psycopg.sql`` or ``psycopg2.sql``.
        text: The query, with its parameters bound.
        columns: All of its columns.
        cursor: Those that it is read along.
    """

    def __init__(self, sql: Any, text: str, columns: Sequence[Column], cursor: Sequence[Column]) -> None:
        self._sql = sql
        self._text = text
        self._columns = columns
        self._cursor = cursor
        self.key_of: Callable[[Json], Any] | None = None
        """Takes an item's cursor values, or the only one, where its JSON has them as they are: `rows` then has none."""
        if all(column.oid in _SAME_IN_JSON for column in cursor):
            self.key_of = itemgetter(*[column.name for column in cursor])

    def order(self, *, total: bool = False) -> Order:
        """The order of the cursor.

        Args:
            total: Whether rows that are equal there are ordered too, by the digest of their JSON; `total_key` has the
                values for its ranges.
        """
        sql, terms = self._sql, []
        for column in self._cursor:
            terms.append(Term(self._field(column), column.type))
            if column.oid not in _ONE_TEXT:
                # Equal values are told apart by their text, so that text alone tells where a tie ends.
                text = sql.SQL('{}::text COLLATE "C"').format(self._field(column))
                terms.append(Term(text, "text", nullable=False))
        if total:
            terms.append(Term(self._digest(), "bytea", nullable=False))
        return Order(sql, terms)

    def key(self, values: Sequence[str | None], digest: str | None = None) -> list[str | None]:
        """The values of the order's terms.

        Args:
            values: The text of each cursor column.
            digest: Of the row, for the total order.
        """
        key = []
        for column, value in zip(self._cursor, values, strict=True):
            key += [value] if column.oid in _ONE_TEXT else [value, value]
        return key if digest is None else [*key, rf"\x{digest}"]

    def rows(self, condition: Any, *, total: bool = False) -> Any:
        """A statement with the rows of a range in order: JSON, the text of each cursor column, and maybe the digest.

        There is no text of the cursor columns where `key_of` finds them, except in the total order.
        """
        sql = self._sql
        values = [sql.SQL("row_to_json(r.*)::text")]
        if total or self.key_of is None:
            values += [sql.SQL("{}::text").format(self._field(column)) for column in self._cursor]
        if total:
            values.append(sql.SQL("encode({}, 'hex')").format(self._digest()))
        return sql.SQL("SELECT {} {} CROSS JOIN LATERAL (SELECT {}) r WHERE {} ORDER BY {}").format(
            sql.SQL(", ").join(values),
            self._from(),
            sql.SQL(", ").join([self._projected(column) for column in self._columns]),
            condition,
            self.order(total=total).by(),
        )

    def count(self, conditions: Sequence[Any]) -> Any:
        """A statement with the number of rows in some ranges."""
        either = self._sql.SQL(" OR ").join(conditions)
        return self._sql.SQL("SELECT count(*) {} WHERE {}").format(self._from(), either)

    def borders(self, step: int) -> Any:
        """A statement with the text of the cursor columns at the first row, and about every so many rows, in order.

        Of each so many rows it is the first that begins a tie, if there is one.
        """
        sql = self._sql
        names = [sql.Identifier(f"c{number}") for number in range(len(self._cursor))]
        inner = [
            sql.SQL("{} AS {}").format(self._field(column), name)
            for column, name in zip(self._cursor, names, strict=True)
        ]
        return sql.SQL(
            """
            SELECT DISTINCT ON ((n - 1) / {step}) {texts}
            FROM (
                SELECT {inner}, row_number() OVER w AS n, rank() OVER w AS tie {source} WINDOW w AS (ORDER BY {order})
            ) numbered
            WHERE n = tie ORDER BY (n - 1) / {step}, n
            """
        ).format(
            step=sql.Literal(step),
            texts=sql.SQL(", ").join([sql.SQL("{}::text").format(name) for name in names]),
            inner=sql.SQL(", ").join(inner),
            source=self._from(),
            order=self.order().by(),
        )

    def _from(self) -> Any:
        # The line ends keep a comment at the end of the query from going on.
        return self._sql.SQL("FROM (\n{}\n) q").format(self._sql.SQL(self._text))

    def _field(self, column: Column) -> Any:
        return self._sql.SQL("q.{}").format(self._sql.Identifier(column.name))

    def _digest(self) -> Any:
        return self._sql.SQL("sha256(convert_to(row_to_json(r.*)::text, 'UTF8'))")

    def _projected(self, column: Column) -> Any:
        form = "{field}"
        if column.element == _NUMERIC:
            form = "{field}::text" if column.oid == _NUMERIC else "{field}::text[]"
        elif column.element == _BYTEA:
            form = _BASE64 if column.oid == _BYTEA else _BASE64_OF_EACH
        return self._sql.SQL(form + " AS {name}").format(
            field=self._field(column), name=self._sql.Identifier(column.name)
        )
