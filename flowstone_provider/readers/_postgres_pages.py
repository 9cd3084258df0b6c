"""Reading the rows of a query in order, a page at a time, to go on behind any page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.readers._postgres_connection import Connection
from flowstone_provider.readers._postgres_order import Key
from flowstone_provider.readers._postgres_query import Query

PAGE_ITEMS = 200
"""Rows of a page; a page that fits the processor's cache is parsed, converted and freed quicker than a larger one."""

PAGE_CHARACTERS = 1 << 20
"""Characters of JSON that a page has about, where rows are long."""

# A block is what the server is asked for at once; where rows are long, the first must not be large either.
_PAGES_OF_A_BLOCK = 5
_FIRST_PAGE_ITEMS = 2

Row: TypeAlias = tuple[Any, ...]
"""The JSON of a row, the text of each cursor column unless the JSON has it, and, in the total order, the digest."""


@dataclass(frozen=True)
class Place:
    """Behind which row a reading stands."""

    key: Key | None = None
    """The cursor's values, as text; ``None`` at the beginning."""
    digest: str | None = None
    """Of the row, where rows with equal cursor values may be on both sides of the place."""
    done: int = 0
    """How many rows with this key and digest, which are one item several times, lie before the place."""


class Walk:
    """Goes through the rows between two places.

    Rows with equal cursor values are ordered by the SHA-256 of their JSON, so that all readings have one order. As long
    as such ties are short, the server sorts by the cursor only, the client within ties, and a page ends where the
    cursor's value changes. Before a tie that exceeds a block the query is run again, in the same snapshot, and from
    there on the server sorts by the digest too; then a page may end anywhere.

    Args:
        connection: In whose transaction the query runs.
        query: What is read.
        start: The cursor's values to begin at; ``None`` is the beginning.
        end: Those to end at, themselves excluded; ``None`` is the end.
        place: Where to go on; an empty one is the start.
        parse: Makes items of rows.
    """

    def __init__(
        self,
        connection: Connection,
        query: Query,
        start: Key | None,
        end: Key | None,
        place: Place,
        parse: Callable[[list[Row]], list[Json]],
    ) -> None:
        self.place = place
        """Where the walk stands after each page."""
        self._connection = connection
        self._query = query
        self._start = start
        self._end = end
        self._parse = parse
        self._page_items = min(PAGE_ITEMS, _FIRST_PAGE_ITEMS)

    def pages(self) -> Iterator[list[Json]]:
        """Yield the items, a page at a time."""
        if self.place.digest is not None or (yield from self._whole_ties()):
            yield from self._within_ties()

    def _whole_ties(self) -> Generator[list[Json], None, bool]:
        """Yield pages that end where the cursor's value changes; return whether that fails, as a tie is too long."""
        for condition in self._ranges(self.place):
            rows: list[Row] = []
            for block, last in self._connection.stream(self._query.rows(condition), self._block_items):
                self._fit(block)
                rows += block
                start = 0
                while start < len(rows):
                    items: list[Json] = []
                    end = start + self._page_items
                    while not items and (last or end <= len(rows)):
                        items = self._cut(rows[start:end], complete=last and end >= len(rows))
                        end += self._page_items
                    if not items:
                        break
                    yield items
                    start += len(items)
                del rows[:start]
                if len(rows) > self._block_items():
                    return True
        return False

    def _cut(self, rows: list[Row], *, complete: bool) -> list[Json]:
        """The items of the rows, in the total order, without the last tie unless it is complete."""
        items = self._parse(rows)
        key_of = self._query.key_of
        keys: list[Any] = [row[1:] for row in rows] if key_of is None else list(map(key_of, items))
        count = len(keys)
        if not complete:
            while count and keys[count - 1] == keys[-1]:
                count -= 1
            if count == 0:
                return []
        key = keys[count - 1]
        self.place = Place(key if key_of is None else _texts(key))
        if len(set(keys)) == len(keys):
            return items[:count]
        ties = groupby(range(count), keys.__getitem__)
        return [items[n] for _, tie in ties for n in sorted(tie, key=lambda n: _digest(rows[n]))]

    def _within_ties(self) -> Iterator[list[Json]]:
        skip = self.place.done
        for condition in self._ranges(self.place):
            for block, _ in self._connection.stream(self._query.rows(condition, total=True), self._block_items):
                self._fit(block)
                first = 0
                while skip and first < len(block) and self._stands_at(block[first]):
                    first += 1
                    skip -= 1
                for start in range(first, len(block), self._page_items):
                    skip = 0
                    rows = block[start : start + self._page_items]
                    self.place = self._behind(rows)
                    yield self._parse(rows)

    def _ranges(self, place: Place) -> list[Any]:
        order, query = self._query.order(total=True), self._query
        end = None if self._end is None else query.key(self._end)
        if place.key is not None:
            # Some of the rows equal to the last one may be left: those are skipped one by one.
            return order.ranges(query.key(place.key, place.digest), end, inclusive=place.digest is not None)
        return order.ranges(None if self._start is None else query.key(self._start), end, inclusive=True)

    def _stands_at(self, row: Row) -> bool:
        return self.place.key is not None and row[1:] == (*self.place.key, self.place.digest)

    def _behind(self, rows: list[Row]) -> Place:
        last = rows[-1][1:]
        done = 0
        while done < len(rows) and rows[-1 - done][1:] == last:
            done += 1
        if done == len(rows) and self._stands_at(rows[-1]):
            done += self.place.done
        return Place(last[:-1], last[-1], done)

    def _block_items(self) -> int:
        return _PAGES_OF_A_BLOCK * self._page_items

    def _fit(self, block: list[Row]) -> None:
        """Make the next pages as long as rows of this length allow."""
        if block:
            length = sum([len(row[0]) for row in block]) // len(block)
            self._page_items = max(1, min(PAGE_ITEMS, PAGE_CHARACTERS // max(1, length)))


def _texts(key: Any) -> Key:
    values = key if isinstance(key, tuple) else (key,)
    return [None if value is None else str(value) for value in values]


def _digest(row: Row) -> bytes:
    return hashlib.sha256(row[0].encode()).digest()
