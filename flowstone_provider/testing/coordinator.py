"""The contract tests of a scatter coordinator, for plugin authors.

::

    class TestMine(CoordinatorContract):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: MyCoordinator(UPath(str(tmp_path)))

``make`` gives a new object over the same storage each time, as another process would have.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.contracts.scatter import Barrier, Batch, BatchSummary, Plan, ScatterCoordinator

BARRIER = Barrier("a dag", "run 2026-01-01T00:00:00+00:00", "group.one")

Make = Callable[[], ScatterCoordinator]


def item(index: int) -> bytes:
    """An item line."""
    return b'{"index":%d,"item":%d}\n' % (index, index * 10)


def success(index: int, result: int = 0) -> bytes:
    """The outcome line of an item that succeeded."""
    return b'{"index":%d,"status":"succeeded","result":%d}\n' % (index, result)


def failure(index: int) -> bytes:
    """The outcome line of an item that failed."""
    error = {"type": "ValueError", "message": "no", "traceback": ""}
    line = {"index": index, "status": "failed", "item": index, "source": None, "error": error}
    return orjson.dumps({**line, "attempts": 1, "duration": 0.1}) + b"\n"


def opened(make: Make, barrier: Barrier = BARRIER) -> ScatterCoordinator:
    """A coordinator attached to a scatter."""
    coordinator = make()
    coordinator.open(barrier)
    return coordinator


class CoordinatorContract:
    """What every scatter coordinator must do; a subclass gives the fixture ``make``."""

    def test_a_new_scatter_has_no_progress(self, make: Make) -> None:
        """Nothing was planned."""
        progress = make().open(BARRIER)
        assert (progress.plan, progress.checkpoint) == (None, None)

    def test_a_checkpoint_is_found_by_another_process(self, make: Make) -> None:
        """With the batches it covers."""
        one = opened(make)
        one.add_batch(0, [item(0), item(1)])
        one.checkpoint({"batches": [2], "after": {"at": 2}})
        two = make()
        assert two.open(BARRIER).checkpoint == {"batches": [2], "after": {"at": 2}}
        assert list(two.lines(0)) == [item(0), item(1)]
        assert two.has_batch(0)
        assert not two.has_batch(1)

    def test_a_batch_that_is_kept_is_what_was_there_first(self, make: Make) -> None:
        """Two processes may run the first try of a batch at once."""
        one, two = opened(make), opened(make)
        one.keep_batch(0, [item(0)])
        two.keep_batch(0, [item(7), item(8)])
        assert list(one.lines(0)) == list(two.lines(0)) == [item(0)]

    def test_a_batch_added_again_replaces_the_first(self, make: Make) -> None:
        """As a resumed plan does."""
        one = opened(make)
        one.add_batch(0, [item(0)])
        one.add_batch(0, [item(1), item(2)])
        assert list(opened(make).lines(0)) == [item(1), item(2)]
        assert one.batch_uri(0)

    def test_a_sealed_plan_comes_back_as_it_was(self, make: Make) -> None:
        """Counted, uncounted, with readers."""
        split = ReaderSpec(reader="jsonl", options={"path": "a.jsonl", "part": {"start": 0, "end": 9}})
        plan = Plan(batches=(Batch(0, 0, 2), Batch(1, 2**32, None, split)), items=None)
        opened(make).seal(plan)
        assert make().open(BARRIER).plan == plan

    def test_scatters_do_not_meet(self, make: Make) -> None:
        """Not even when their ids are alike."""
        opened(make, Barrier("a", "b", "c/d")).add_batch(0, [item(0)])
        opened(make, Barrier("a", "b/c", "d")).add_batch(0, [item(1)])
        assert list(opened(make, Barrier("a", "b", "c/d")).lines(0)) == [item(0)]

    def test_the_later_outcome_of_an_item_comes_later(self, make: Make) -> None:
        """Over parts of one try, and over tries."""
        one = opened(make)
        first = one.begin(0)
        one.record(0, first, [failure(0), success(1)], 1)
        one.record(0, first, [success(2)], 1)
        two = opened(make)
        two.record(0, two.begin(0), [success(0, 7)], 0)
        lines = list(opened(make).outcomes(0))
        assert sorted(lines) == sorted([failure(0), success(1), success(2), success(0, 7)])
        assert lines.index(success(0, 7)) > lines.index(failure(0))
        assert list(opened(make).outcomes(1)) == []

    def test_tries_at_the_same_time_do_not_overwrite_each_other(self, make: Make) -> None:
        """Airflow may take a process for dead that is not."""
        one, two = opened(make), opened(make)
        first, second = one.begin(0), two.begin(0)
        one.record(0, first, [success(0)], 0)
        two.record(0, second, [success(1)], 0)
        assert set(opened(make).outcomes(0)) == {success(0), success(1)}

    def test_failures_are_those_of_the_latest_tries_since_the_last_gather(self, make: Make) -> None:
        """A retried batch does not count twice, and what was gathered not at all."""
        one = opened(make)
        generation = one.begin(0)
        one.record(0, generation, [failure(0)], 1)
        one.record(0, generation, [failure(1)], 2)
        one.record(1, one.begin(1), [failure(2)], 1)
        assert opened(make).failures() == 3
        again = opened(make)
        again.begin(0)
        assert opened(make).failures() == 1
        opened(make).gather({"version": 1})
        assert opened(make).failures() == 0

    def test_cancel_holds_until_the_next_gather(self, make: Make) -> None:
        """And is seen by all."""
        assert opened(make).cancelled() is None
        opened(make).cancel("too many failures")
        assert opened(make).cancelled() == "too many failures"
        opened(make).gather({"version": 1})
        assert opened(make).cancelled() is None

    def test_a_summary_holds_until_more_outcomes_come(self, make: Make) -> None:
        """Then it is not given any more."""
        one = opened(make)
        one.record(0, one.begin(0), [success(0)], 0)
        summary = BatchSummary(number=0, items=1, succeeded=1, files={"succeeded": {"name": "x", "items": 1}})
        one.close_batch(summary)
        assert opened(make).summaries() == {0: summary}
        two = opened(make)
        two.record(0, two.begin(0), [success(1)], 0)
        assert opened(make).summaries() == {}

    def test_files_and_the_manifest_can_be_read_by_their_uri(self, make: Make) -> None:
        """In the form that another task is given."""
        one = opened(make)
        generation = one.begin(0)
        one.record(0, generation, [success(0)], 0)
        assert one.write("FAILED_0.jsonl", iter([b"a\n", b"b\n"])) == "FAILED_0.jsonl"
        assert one.write_outcomes("SUCCEEDED_0.jsonl", 0, generation) == "SUCCEEDED_0.jsonl"
        uri = one.gather({"version": 1, "counts": {}})
        assert uri.startswith(one.uri)

    def test_status_counts_what_is_recorded(self, make: Make) -> None:
        """Closed batches and running ones."""
        one = opened(make)
        assert not one.status().sealed
        one.seal(Plan(batches=(Batch(0, 0, 2), Batch(1, 2, 2)), items=4))
        one.record(0, one.begin(0), [success(0), failure(1)], 1)
        status = opened(make).status()
        assert (status.sealed, status.batches, status.items) == (True, 2, 4)
        assert (status.succeeded, status.failed, status.cancelled) == (1, 1, None)

    def test_what_was_never_added_is_an_error(self, make: Make) -> None:
        """Not an empty batch."""
        with pytest.raises(OSError, match="batch 5"):
            list(opened(make).lines(5))
