"""Batches that are splits of a source which may change: their first try keeps the items."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest

from flowstone_provider import Batching, registry
from flowstone_provider.contracts.item_reader import ItemReader, Page, ReaderOptions, ReaderSpec
from tests.support.scatters import Scatter


class RangeOptions(ReaderOptions):
    first: int = 0
    last: int = 1 << 30


class LiveReader(ItemReader):
    """The numbers that are in a set now."""

    options = RangeOptions
    numbers: ClassVar[set[int]] = set()
    readings: ClassVar[list[int]] = []

    def pages(self, after=None):
        self.readings.append(self.opts.first)
        found = sorted(
            n for n in self.numbers if self.opts.first <= n < self.opts.last and n > (after or {"n": -1})["n"]
        )
        for n in found:
            yield Page([n], {"n": n})

    def count(self):
        return len(self.numbers)

    def splits(self, at_most):
        borders = [0, 10, 20, 1 << 30]
        return [ReaderSpec(reader="live", options={"first": a, "last": b}) for a, b in pairwise(borders)]


@pytest.fixture
def live(tmp_path):
    registry.readers.register("live", LiveReader)
    LiveReader.numbers = set(range(30))
    LiveReader.readings.clear()
    yield Scatter(tmp_path, ReaderSpec(reader="live"), tolerance={"count": 30})
    registry.readers.unregister("live")


def test_the_plan_reads_nothing_and_a_batch_keeps_what_it_reads(live):
    plan = live.plan()
    assert [(batch.items, batch.reader is None) for batch in plan.batches] == [(None, False)] * 3
    assert LiveReader.readings == []
    live.run(lambda n: n)
    assert LiveReader.readings == [0]
    assert len((live.folder / "plan" / "00000.jsonl").read_bytes().splitlines()) == 10


def test_a_later_try_processes_the_very_items_of_the_first(live):
    seen = []

    def fails_at_odd_ones(n):
        seen.append(n)
        if n % 2:
            raise ValueError(n)

    live.run(fails_at_odd_ones)
    # The first item goes, and one comes between: by position, every other item would now be another.
    LiveReader.numbers = set(range(1, 30)) | {5.5}
    seen.clear()
    assert live.run(seen.append).succeeded == 10
    assert seen == [1, 3, 5, 7, 9]


def test_a_killed_try_leaves_its_items_to_the_next(live):
    def dies(n):
        if n == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live.run(dies)
    LiveReader.numbers = set(range(100, 130))
    seen = []
    assert live.run(seen.append).succeeded == 10
    assert seen[-1] == 9


def test_the_gather_lists_the_kept_items_and_those_of_batches_that_never_ran(live):
    live.run(lambda n: 1 / n)
    LiveReader.numbers = {15, 25}
    assert live.gather()["counts"] == {"total": 12, "succeeded": 9, "failed": 1, "pending": 2}
    assert [line["item"] for line in live.lines("failed")] == [0]
    assert [line["item"] for line in live.lines("pending")] == [15, 25]


def test_a_batch_that_is_not_to_start_keeps_nothing(live):
    live.plan()
    live.ledger.cancel("enough")
    assert live.run(lambda n: n).pending == 10
    assert not live.ledger.has_batch(0)


def test_a_bound_on_items_holds_although_the_source_may_grow(live):
    scatter = Scatter(live.storage / "bounded", live.spec, batching=Batching(max_items=10))
    plan = scatter.plan()
    LiveReader.numbers = set(range(100))
    assert [batch.items for batch in plan.batches] == [10, 10, 10]
    assert [len(batch) for batch in scatter.batches()] == [10, 10, 10]
