"""Lines into batches: iterators in, iterators out."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import orjson

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.errors import ItemError
from flowstone_provider.scatter.items import key_function
from flowstone_provider.scatter.options import BatchFunction

# A plan of this many items must fit into the batches there may be, when nobody bounds the batches.
_CAPACITY = 100_000_000


def growing(limit: int) -> Callable[[int], int]:
    """Batch sizes when nobody bounds the batches: number -> items.

    Batch *n* holds ``2 (n + 1)²`` items, so that ten items make 2 batches, a million 114 and a hundred million 531,
    and no batch is more than a few percent of the whole. A small ``limit`` makes them all larger.
    """
    factor = 2
    while factor * limit * (limit + 1) * (2 * limit + 1) // 6 < _CAPACITY:
        factor *= 2
    return lambda number: factor * (number + 1) ** 2


def by_size(
    lines: Iterator[bytes], size: Callable[[int], int], max_bytes: int | None, first: int = 0
) -> Iterator[list[bytes]]:
    """Cut after ``size(batch number)`` lines or before ``max_bytes``, whichever comes first.

    Args:
        lines: Item lines.
        size: Most lines in a batch, by its number.
        max_bytes: Most bytes in a batch; a line over it is a batch of its own.
        first: The number of the first batch.
    """
    if max_bytes is None:
        while batch := list(islice(lines, size(first))):
            yield batch
            first += 1
        return
    batch, held = [], 0
    for line in lines:
        if batch and (held + len(line) > max_bytes or len(batch) >= size(first)):
            yield batch
            batch, held = [], 0
            first += 1
        batch.append(line)
        held += len(line)
    if batch:
        yield batch


def by_group(
    lines: Iterator[bytes],
    group_by: str | Callable[[Json], object],
    size: Callable[[int], int],
    max_bytes: int | None,
    group_size: int | None,
) -> Iterator[list[bytes]]:
    """Keep a group's items together, wherever they stand, in memory bounded by a batch.

    Groups come in the order in which they first appear. Whole groups are packed up to the bounds; a larger group is a
    batch of its own, or several of ``group_size`` items. The sorting is SQLite's, in a temporary file.

    Raises:
        ItemError: The group of an item cannot be told.
    """
    batch: list[bytes] = []
    held, number = 0, 0
    for group in _groups(lines, group_by, group_size):
        length = sum(map(len, group))
        full = len(batch) + len(group) > size(number) or (max_bytes is not None and held + length > max_bytes)
        if batch and full:
            yield batch
            batch, held = [], 0
            number += 1
        batch += group
        held += length
    if batch:
        yield batch


def _groups(
    lines: Iterator[bytes], group_by: str | Callable[[Json], object], group_size: int | None
) -> Iterator[list[bytes]]:
    group_of = key_function(group_by)

    def rows() -> Iterator[tuple[bytes, bytes]]:
        for line in lines:
            record = orjson.loads(line)
            try:
                yield group_of(record["item"]) if "item" in record else b"", line
            except Exception as error:
                raise ItemError(
                    f"group_by fails at item {record['index']}: {type(error).__name__}: {error}",
                    index=record["index"],
                ) from error

    # The empty name is SQLite's for a temporary database that spills to disk and disappears when closed.
    with contextlib.closing(sqlite3.connect("")) as db:
        db.execute("create table item (seq integer primary key, grp blob not null, line blob not null)")
        db.executemany("insert into item (grp, line) values (?, ?)", rows())
        db.execute("create table grp as select grp, min(seq) as start from item group by grp")
        cursor = db.execute("select g.start, i.line from item i join grp g on g.grp = i.grp order by g.start, i.seq")
        group: list[bytes] = []
        current = None
        for start, line in cursor:
            if group and (start != current or len(group) == group_size):
                yield group
                group = []
            current = start
            group.append(line)
        if group:
            yield group


def by_function(lines: Iterator[bytes], function: BatchFunction) -> Iterator[list[bytes]]:
    """Let the user's function cut the stream of items into lists; it keeps their order.

    Raises:
        ItemError: The function leaves items out, invents some, or changes their order.
    """
    waiting: deque[tuple[Json, bytes]] = deque()

    def items() -> Iterator[Json]:
        for line in lines:
            item = orjson.loads(line).get("item")
            waiting.append((item, line))
            yield item

    for batch in function(items()):
        taken = []
        for item in batch:
            if not waiting or waiting[0][0] is not item:
                raise ItemError(
                    "the batching function must yield the very items that it was given, in their order; it yields "
                    f"{item!r}"[:500]
                    + (f" where {waiting[0][0]!r} comes next"[:500] if waiting else "")
                )
            taken.append(waiting.popleft()[1])
        if taken:
            yield taken
    for _ in lines:
        raise ItemError("the batching function stopped before the last item")
    if waiting:
        raise ItemError(f"the batching function left the last {len(waiting)} items out of every batch")
