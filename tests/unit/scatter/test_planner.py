from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from itertools import count as counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone_provider.contracts.item_reader import Page, ReaderSpec
from flowstone_provider.errors import ItemError, TooManyBatchesError
from flowstone_provider.scatter.options import Batching
from tests.support.scatters import Scatter, sequence


def pages(items, sizes):
    """A function reader over a list, in pages of the given sizes, which notes what it reads."""
    read = []

    def function(checkpoint):
        position = checkpoint["at"] if checkpoint else 0
        step = checkpoint["step"] if checkpoint else 0
        while position < len(items):
            size = sizes[step % len(sizes)]
            read.append(position)
            position, step = position + size, step + 1
            yield Page(items[position - size : position], {"at": position, "step": step}, "somewhere")

    return ReaderSpec(reader="function", options={"function": function}), read


def test_no_items_make_no_batches(tmp_path):
    plan = Scatter(tmp_path, []).plan()
    assert (plan.batches, plan.items) == ((), 0)


def test_one_item_makes_one_batch(tmp_path):
    scatter = Scatter(tmp_path, [{"a": 1}])
    assert scatter.plan().items == 1
    assert scatter.batches() == [[{"a": 1}]]


def test_a_known_number_of_items_makes_a_hundred_even_batches(tmp_path):
    sizes = [batch.items for batch in Scatter(tmp_path, list(range(1000))).plan().batches]
    assert sizes == [10] * 100


def test_explicit_bounds_hold_and_indexes_run_through(tmp_path):
    scatter = Scatter(tmp_path, list(range(25)), batching=Batching(max_items=10))
    assert [(b.first, b.items) for b in scatter.plan().batches] == [(0, 10), (10, 10), (20, 5)]
    assert [orjson.loads(line)["index"] for line in scatter.ledger.lines(1)] == list(range(10, 20))


def test_few_instances_allowed_make_larger_batches(tmp_path):
    spec, _ = pages(list(range(10_000)), [1000])
    assert len(Scatter(tmp_path, spec).plan(limit=10).batches) <= 10
    assert len(Scatter(tmp_path / "2", list(range(10_000))).plan(limit=10).batches) == 10


def test_groups_fit_the_limit_when_nobody_bounds_the_batches(tmp_path):
    items = [{"g": n // 60} for n in range(1000)]
    scatter = Scatter(tmp_path, items, batching=Batching(group_by="g"))
    assert len(scatter.plan(limit=10).batches) <= 10


def test_too_many_batches_names_the_option_to_change(tmp_path):
    with pytest.raises(TooManyBatchesError, match=r"more than 10 batches.*max_items=…\) from 100 to at least 1000"):
        Scatter(tmp_path, list(range(10_000)), batching=Batching(max_items=100)).plan(limit=10)
    with pytest.raises(TooManyBatchesError, match=r"raise Batching\(max_bytes=…\), or raise \[core\] max_map_length"):
        Scatter(tmp_path / "2", list(range(100)), batching=Batching(max_bytes=50)).plan(limit=10)
    spec, read = pages(list(range(100_000)), [10])
    with pytest.raises(TooManyBatchesError, match=r"raise Batching\(max_items=…\), or"):
        Scatter(tmp_path / "3", spec, batching=Batching(max_items=5)).plan(limit=10)
    assert len(read) < 10, "it is said before the whole source is read"


def test_values_that_json_lacks_become_text(tmp_path):
    item = {"d": Decimal("1.50"), "t": datetime(2013, 1, 1, tzinfo=timezone.utc), "b": b"\x00\xff"}
    assert Scatter(tmp_path, sequence([item])).batches() == [
        [{"d": "1.50", "t": "2013-01-01T00:00:00+00:00", "b": "AP8="}]
    ]


def test_an_item_that_is_not_json_is_named(tmp_path):
    spec, _ = pages([1, 2, {"x": {1, 2}}, 4], [2])
    with pytest.raises(
        ItemError, match=r"item 2 from somewhere cannot be written as JSON: TypeError: .*serializable: set"
    ):
        Scatter(tmp_path, spec).plan()


def test_unicode_newlines_and_long_strings_survive(tmp_path):
    items = ["zeile\numbruch\r\n", "\u2028 ü 🎈", "x" * 100_000, {"ключ": "знач"}]
    assert [item for batch in Scatter(tmp_path, items).batches() for item in batch] == items


def test_select_by_names_by_new_names_and_by_function(tmp_path):
    items = [{"a": 1, "b": 2, "c": 3}]
    assert Scatter(tmp_path / "1", items, select=["a", "c"]).batches() == [[{"a": 1, "c": 3}]]
    assert Scatter(tmp_path / "2", items, select={"x": "b"}).batches() == [[{"x": 2}]]
    assert Scatter(tmp_path / "3", items, select=lambda item: item["b"]).batches() == [[2]]
    with pytest.raises(ItemError, match=r"item 0 cannot be selected from.*no field 'z'; it has 'a', 'b', 'c'"):
        Scatter(tmp_path / "4", items, select=["z"]).plan()


def test_equal_items_are_two_items_unless_a_key_says_otherwise(tmp_path):
    items = [{"k": 1, "n": 1}, {"k": 1, "n": 1}, {"k": 2, "n": 3}]
    assert Scatter(tmp_path / "1", items).plan().items == 3
    scatter = Scatter(tmp_path / "2", items, key="k", batching=Batching(max_items=10))
    assert scatter.batches() == [[items[0], items[2]]]
    assert [orjson.loads(line)["index"] for line in scatter.ledger.lines(0)] == [0, 1]


class Killed(BaseException):
    pass


def interrupted_plan(scatter, after, clock):
    """Plan until so many batches are added, then die; the clock lets every batch be followed by a checkpoint."""
    from flowstone_provider.scatter.ledger import LedgerCoordinator

    class Dying(LedgerCoordinator):
        def add_batch(self, number, lines):
            if number >= after:
                raise Killed
            super().add_batch(number, lines)

    import flowstone_provider.scatter.planner as planner
    from flowstone_provider import registry
    from tests.support.scatters import BARRIER

    coordinator = Dying(scatter.storage)
    progress = coordinator.open(BARRIER)
    reader = registry.create_reader(scatter.spec, scatter.resources)
    planner.make_plan(
        reader, scatter.options, coordinator, progress, limit=1024, resources=scatter.resources, clock=clock
    )


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 60),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    most=st.integers(1, 9),
    deaths=st.lists(st.integers(0, 8), max_size=3),
    checkpoint_every=st.sampled_from([1, 3]),
    keyed=st.booleans(),
)
def test_a_killed_plan_goes_on_without_losing_or_doubling(
    tmp_path_factory, total, sizes, most, deaths, checkpoint_every, keyed
):
    items = [{"n": n, "k": n // 2 if keyed else n} for n in range(total)]
    spec, _ = pages(items, sizes)
    options = {"batching": Batching(max_items=most)} | ({"key": "k"} if keyed else {})
    scatter = Scatter(tmp_path_factory.mktemp("plan"), spec, **options)
    ticks = counter(step=3 / checkpoint_every)
    for death in sorted(deaths):
        try:
            interrupted_plan(scatter, death, clock=lambda: next(ticks))
        except Killed:
            pass
    planned = [item for batch in scatter.batches() for item in batch]
    assert planned == [item for item in items if not keyed or item["n"] % 2 == 0]
    indexes = [orjson.loads(line)["index"] for b in scatter.plan().batches for line in scatter.ledger.lines(b.number)]
    assert indexes == list(range(len(planned)))
    assert all(b.items == most for b in scatter.plan().batches[:-1])


def test_a_record_that_cannot_be_read_is_planned_once_also_with_a_key(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"k": 1}\nno json\n{"k": 1}\nno json\n{"k": 2}\n')
    spec = ReaderSpec(reader="jsonl", options={"path": str(path), "bad_records": "fail"})
    scatter = Scatter(tmp_path / "ledger", spec, key="k", batching=Batching(max_items=1))
    with pytest.raises(Killed):
        interrupted_plan(scatter, 2, clock=counter(step=3).__next__)
    lines = [orjson.loads(line) for batch in scatter.plan().batches for line in scatter.ledger.lines(batch.number)]
    assert [line.get("item", "bad") for line in lines] == [{"k": 1}, "bad", "bad", {"k": 2}]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]


def test_a_resumed_plan_does_not_read_what_is_before_its_checkpoint(tmp_path):
    spec, read = pages(list(range(100)), [10])
    scatter = Scatter(tmp_path, spec, batching=Batching(max_items=10))
    with pytest.raises(Killed):
        interrupted_plan(scatter, 6, clock=counter(step=3).__next__)
    read.clear()
    scatter.plan()
    assert min(read) >= 50


def test_a_sealed_plan_is_used_again(tmp_path):
    spec, read = pages(list(range(10)), [5])
    scatter = Scatter(tmp_path, spec)
    first = scatter.plan()
    read.clear()
    assert scatter.plan() == first
    assert read == []


def test_grouping_starts_over_and_loses_nothing(tmp_path):
    spec, _ = pages([{"g": n % 3, "n": n} for n in range(30)], [7])
    scatter = Scatter(tmp_path, spec, batching=Batching(group_by="g", max_items=10))
    with pytest.raises(Killed):
        interrupted_plan(scatter, 2, clock=counter(step=3).__next__)
    assert [{item["g"] for item in batch} for batch in scatter.batches()] == [{0}, {1}, {2}]


def test_a_source_that_splits_is_planned_without_reading_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(1000)))
    scatter = Scatter(tmp_path / "ledger", ReaderSpec(reader="jsonl", options={"path": str(path)}))
    plan = scatter.plan()
    assert plan.items is None
    assert all(batch.reader is not None for batch in plan.batches)
    assert [item["n"] for batch in scatter.batches() for item in batch] == list(range(1000))
    firsts = [batch.first for batch in plan.batches]
    assert firsts == sorted(set(firsts))


@pytest.mark.parquet
def test_parquet_is_planned_from_its_footers_with_exact_counts(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"n": list(range(1000))}), tmp_path / "a.parquet", row_group_size=300)
    spec = ReaderSpec(reader="parquet", options={"path": str(tmp_path / "a.parquet")})
    scatter = Scatter(tmp_path / "ledger", spec, batching=Batching(max_items=64))
    plan = scatter.plan()
    assert plan.items == 1000
    assert max(batch.items for batch in plan.batches) <= 64
    assert not list((tmp_path / "ledger").rglob("*.jsonl"))
    assert [item["n"] for batch in scatter.batches() for item in batch] == list(range(1000))
    with pytest.raises(TooManyBatchesError, match="at least 100"):
        Scatter(tmp_path / "ledger2", spec, batching=Batching(max_items=64)).plan(limit=10)
