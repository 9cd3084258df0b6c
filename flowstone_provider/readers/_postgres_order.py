"""The order that a query is read in, and a place in it as conditions that an index can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Key: TypeAlias = Sequence[str | None]
"""The values of the first terms of an order, as PostgreSQL writes them as text."""


@dataclass(frozen=True)
class Term:
    """One expression that rows are ordered by: ascending, nulls last, as an index is by default."""

    expression: Any
    """SQL of the driver's ``sql`` module."""
    type: str
    """The SQL type that a value's text is cast to."""
    nullable: bool = True


class Order:
    """The terms of an order, the most significant first.

    Args:
        sql: The module ``psycopg.sql`` or ``psycopg2.sql``, which have the same names.
        terms: At least one.
    """

    def __init__(self, sql: Any, terms: Sequence[Term]) -> None:
        self._sql = sql
        self._terms = list(terms)

    def by(self) -> Any:
        """What follows ``ORDER BY``."""
        return self._sql.SQL(", ").join([term.expression for term in self._terms])

    def ranges(self, start: Key | None, end: Key | None, *, inclusive: bool) -> list[Any]:
        """The rows between two places, as conditions on consecutive ranges in order.

        There is a range of its own for the nulls of a column, which come last: an index finds either of the two, but
        not what ``column >= x OR column IS NULL`` says.

        Args:
            start: Where to begin; ``None`` is the beginning.
            end: Where to end, itself excluded; ``None`` is the end, with the nulls.
            inclusive: Whether rows equal to ``start`` are in.
        """
        fixed, terms = [], self._terms
        while start and end and start[0] == end[0]:
            fixed.append(self._equal(terms[0], start[0]))
            terms, start, end = terms[1:], start[1:], end[1:]
        if not start and not end:
            return [self._all(fixed)]
        return [self._all([*fixed, *part]) for part in self._halves(terms, start, end, inclusive)]

    def _halves(self, terms: list[Term], start: Key | None, end: Key | None, inclusive: bool) -> list[list[Any]]:
        """The conditions where the first term has a value, and those where it is null."""
        first, rest = replace(terms[0], nullable=False), terms[1:]
        halves = []
        if not start or start[0] is not None:
            values = []
            if start:
                values += [self._compare(first, ">=", start[0]), self._after([first, *rest], start, inclusive)]
            if end and end[0] is not None:
                values += [self._compare(first, "<=", end[0]), self._before([first, *rest], end)]
            elif not start:
                values.append(self._null(first, "IS NOT NULL"))
            halves.append(values)
        if terms[0].nullable and (not end or end[0] is None):
            nulls = [self._null(first, "IS NULL")]
            if start and start[0] is None:
                nulls.append(self._after(rest, start[1:], inclusive))
            if end:
                nulls.append(self._before(rest, end[1:]))
            halves.append(nulls)
        return halves

    def _after(self, terms: list[Term], key: Key, inclusive: bool) -> Any:
        if not key:
            return self._sql.SQL("TRUE" if inclusive else "FALSE")
        term, value = terms[0], key[0]
        equal = self._all([self._equal(term, value), self._after(terms[1:], key[1:], inclusive)])
        if value is None:
            return equal
        later = [self._compare(term, ">", value), equal]
        return self._any([*later, self._null(term, "IS NULL")] if term.nullable else later)

    def _before(self, terms: list[Term], key: Key) -> Any:
        if not key:
            return self._sql.SQL("FALSE")
        term, value = terms[0], key[0]
        earlier = self._null(term, "IS NOT NULL") if value is None else self._compare(term, "<", value)
        return self._any([earlier, self._all([self._equal(term, value), self._before(terms[1:], key[1:])])])

    def _equal(self, term: Term, value: str | None) -> Any:
        return self._null(term, "IS NULL") if value is None else self._compare(term, "=", value)

    def _null(self, term: Term, test: str) -> Any:
        return self._sql.SQL("{} {}").format(term.expression, self._sql.SQL(test))

    def _compare(self, term: Term, operator: str, value: str | None) -> Any:
        sql = self._sql
        return sql.SQL("{} {} {}::{}").format(
            term.expression, sql.SQL(operator), sql.Literal(value), sql.SQL(term.type)
        )

    def _all(self, conditions: list[Any]) -> Any:
        return self._joined(" AND ", conditions or [self._sql.SQL("TRUE")])

    def _any(self, conditions: list[Any]) -> Any:
        return self._joined(" OR ", conditions)

    def _joined(self, word: str, conditions: list[Any]) -> Any:
        return self._sql.SQL("({})").format(self._sql.SQL(word).join(conditions))
