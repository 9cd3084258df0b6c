"""The planner: one reader becomes many batches."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import orjson

from flowstone_provider import registry
from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Page, ReaderSpec, Resources
from flowstone_provider.contracts.scatter import UNCOUNTED_STRIDE, Batch, Plan, Progress, ScatterCoordinator
from flowstone_provider.errors import ItemError, TooManyBatchesError
from flowstone_provider.scatter.batcher import by_function, by_group, by_size, growing
from flowstone_provider.scatter.items import encode_page, key_function, selector
from flowstone_provider.scatter.options import ScatterOptions

log = logging.getLogger(__name__)

# How many batches are aimed at when the number of items is known and nobody bounds the batches.
TARGET_BATCHES = 100

# The planner saves a checkpoint, and says how far it is, at most this often, in seconds.
_CHECKPOINT_EVERY = 2.0


def make_plan(
    reader: ItemReader,
    options: ScatterOptions,
    coordinator: ScatterCoordinator,
    progress: Progress,
    *,
    limit: int,
    resources: Resources,
    read_now: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Plan:
    """Plan a scatter and seal the plan, going on from where an earlier try stopped.

    Args:
        reader: Yields the items; closed at the end.
        options: How to batch, select and drop duplicates.
        coordinator: Keeps the batches; already open.
        progress: What `ScatterCoordinator.open` said.
        limit: Most batches, i.e. Airflow's ``[core] max_map_length``.
        resources: For the readers of splits.
        read_now: Read and keep the items even where the source could be split.
        clock: Seconds, growing.

    Raises:
        TooManyBatchesError: More than ``limit`` batches; the message names the option to change.
        ReaderError: The source cannot be read, or changed since the checkpoint.
        ItemError: An item is not JSON, or an option cannot be applied to it.
    """
    with contextlib.closing(reader):
        if progress.plan is not None:
            return progress.plan
        splits = None if read_now else _splits(reader, options, limit, resources)
        if splits is not None:
            plan = _plan_of_splits(splits)
        else:
            plan = _read(reader, options, coordinator, progress.checkpoint, limit, clock)
    coordinator.seal(plan)
    return plan


def _splits(
    reader: ItemReader, options: ScatterOptions, limit: int, resources: Resources
) -> list[tuple[ReaderSpec, int | None]] | None:
    """Splits of the source that can serve as batches as they are, or ``None``."""
    most = options.batching.max_items
    if options.batching.exact or options.key is not None or (most is not None and not reader.repeatable):
        return None
    total = None if most is None else reader.count()
    if most is not None and total is None:
        return None
    if most is not None and total is not None:
        wanted = math.ceil(total / most)
        if wanted > limit:
            raise _too_many(limit, options, total)
    else:
        wanted = min(limit, TARGET_BATCHES)
    specs = reader.splits(max(wanted, 1))
    if specs is None:
        return None
    if not reader.repeatable:  # what is counted now may have changed when the batch reads it
        return [(spec, None) for spec in specs]
    counted = []
    for spec in specs:
        with contextlib.closing(registry.create_reader(spec, resources)) as part:
            counted.append((spec, part.count()))
    if most is not None and any(items is None or items > most for _, items in counted):
        return None
    return [(spec, items) for spec, items in counted if items != 0]


def _plan_of_splits(splits: list[tuple[ReaderSpec, int | None]]) -> Plan:
    counts = [items for _, items in splits if items is not None]
    if len(counts) == len(splits):
        firsts = [0, *accumulate(counts)]
    else:
        firsts = [number * UNCOUNTED_STRIDE for number in range(len(splits))]
    return Plan(
        batches=tuple(Batch(n, firsts[n], items, spec) for n, (spec, items) in enumerate(splits)),
        items=firsts[-1] if len(counts) == len(splits) else None,
    )


def _read(
    reader: ItemReader,
    options: ScatterOptions,
    coordinator: ScatterCoordinator,
    saved: dict[str, Any] | None,
    limit: int,
    clock: Callable[[], float],
) -> Plan:
    """Read the items and keep them batch by batch."""
    batching = options.batching
    # Grouping needs the last item before the first batch, a function may hold items back: those start over.
    resumable = batching.group_by is None and batching.function is None
    if saved is not None and not resumable:
        log.info("planning starts over: batches by group or function cannot be resumed in the middle")
        saved = None
    sizes: list[int] = list(saved["batches"]) if saved else []
    last = clock()
    with contextlib.closing(_Source(reader, options, coordinator, saved)) as source:
        for lines in _batches(source.lines(), options, _size(reader, options, limit), len(sizes)):
            if len(sizes) >= limit:
                raise _too_many(limit, options, reader.count())
            coordinator.add_batch(len(sizes), lines)
            sizes.append(len(lines))
            source.passed(len(lines))
            if clock() - last >= _CHECKPOINT_EVERY:
                last = clock()
                log.info("planned %s items in %s batches so far", f"{sum(sizes):,}", len(sizes))
                if resumable:
                    coordinator.checkpoint({**source.position(), "batches": sizes})
    firsts = [0, *accumulate(sizes)]
    return Plan(
        batches=tuple(Batch(number=n, first=firsts[n], items=items) for n, items in enumerate(sizes)),
        items=firsts[-1],
    )


def _size(reader: ItemReader, options: ScatterOptions, limit: int) -> Callable[[int], int]:
    most = options.batching.max_items
    if most is None and options.batching.max_bytes is None:
        total = reader.count()
        if total is None:
            return growing(limit)
        batches = min(limit, TARGET_BATCHES)
        if options.batching.group_by is not None:
            # Groups are not cut, so batches end before they are full: two neighbours may hold as much as one could.
            batches = max(1, min(limit // 2, TARGET_BATCHES))
        most = max(1, math.ceil(total / batches))
    return lambda _: most or (1 << 62)


def _batches(
    lines: Iterator[bytes], options: ScatterOptions, size: Callable[[int], int], first: int
) -> Iterator[list[bytes]]:
    batching = options.batching
    if batching.function is not None:
        return by_function(lines, batching.function)
    if batching.group_by is not None:
        return by_group(lines, batching.group_by, size, batching.max_bytes, batching.group_size)
    return by_size(lines, size, batching.max_bytes, first)


class _Source:
    """The item lines of a reader, and where it stands.

    The saved position is the checkpoint *before* the page in which the last batch ended, and how many lines of that
    page are in batches. So batches need not end where pages do, and nothing is read twice into the plan.
    """

    def __init__(
        self,
        reader: ItemReader,
        options: ScatterOptions,
        coordinator: ScatterCoordinator,
        saved: dict[str, Any] | None,
    ) -> None:
        self._reader = reader
        self._select = selector(options.select)
        self._after: Checkpoint | None = saved["after"] if saved else None
        self._skip = int(saved["skip"]) if saved else 0
        self._passed = sum(saved["batches"]) if saved else 0
        # Pages whose lines are not all in batches yet: (lines out before the page, checkpoint before it).
        self._pages: deque[tuple[int, Checkpoint | None]] = deque()
        self._fresh = None
        if options.key is not None:
            self._fresh = _Fresh(options.key)
            for number in range(len(saved["batches"]) if saved else 0):
                self._fresh(list(coordinator.lines(number)))

    def lines(self) -> Iterator[bytes]:
        """The lines from the saved position on."""
        index, before = self._passed, self._after
        skip = self._skip
        for page in self._reader.pages(self._after):
            self._pages.append((index - skip, before))
            before = page.checkpoint
            if skip >= len(page.items) > 0 and self._fresh is None:
                skip -= len(page.items)
                continue
            rest = page if skip == 0 else Page(page.items[skip:], page.checkpoint, page.source)
            skip = 0
            lines = encode_page(rest, index, self._select)
            if self._fresh is not None:
                lines = _renumbered(self._fresh(lines), index)
            index += len(lines)
            yield from lines

    def close(self) -> None:
        """Let go of the keys seen."""
        if self._fresh is not None:
            self._fresh.close()

    def passed(self, lines: int) -> None:
        """So many more lines are in batches."""
        self._passed += lines
        while len(self._pages) > 1 and self._pages[1][0] <= self._passed:
            self._pages.popleft()

    def position(self) -> dict[str, Any]:
        """Where to go on, for the checkpoint."""
        start, after = self._pages[0]
        # With a key, what is already planned is dropped as a duplicate.
        skip = self._passed - start if self._fresh is None else 0
        return {"after": after, "skip": skip}


class _Fresh:
    """Drops lines whose item has a key that was seen before; the keys lie in a temporary SQLite file."""

    def __init__(self, key: Any) -> None:
        self._key_of = key_function(key)
        self._db = sqlite3.connect("")
        self._db.execute("create table seen (key blob primary key) without rowid")

    def __call__(self, lines: list[bytes]) -> list[bytes]:
        return [line for line in lines if self._is_new(line)]

    def _is_new(self, line: bytes) -> bool:
        record = orjson.loads(line)
        try:
            # A record that could not be read is told apart by its place, which its message names.
            key = self._key_of(record["item"]) if "item" in record else orjson.dumps(record["bad"])
        except Exception as error:
            raise ItemError(
                f"key fails at item {record['index']}: {type(error).__name__}: {error}", index=record["index"]
            ) from error
        return self._db.execute("insert or ignore into seen values (?)", (key,)).rowcount == 1

    def close(self) -> None:
        self._db.close()


def _renumbered(lines: list[bytes], first: int) -> list[bytes]:
    return [b'{"index":%d%b' % (index, line[line.index(b",") :]) for index, line in enumerate(lines, first)]


def _too_many(limit: int, options: ScatterOptions, total: int | None) -> TooManyBatchesError:
    most = options.batching.max_items
    if most is not None and total is not None and not options.batching.exact:
        remedy = f"raise Batching(max_items=…) from {most} to at least {math.ceil(total / limit)}"
    elif options.batching.function is not None:
        remedy = "let the batching function make larger batches"
    else:
        bounds = [name for name in ("max_items", "max_bytes") if getattr(options.batching, name) is not None]
        remedy = (
            f"raise {' and '.join(f'Batching({name}=…)' for name in bounds)}"
            if bounds
            else ("give Batching(max_items=…)")
        )
    return TooManyBatchesError(
        f"the plan has more than {limit} batches, the most that Airflow maps over ([core] max_map_length): "
        f"{remedy}, or raise [core] max_map_length",
        limit=limit,
        total=total,
    )
