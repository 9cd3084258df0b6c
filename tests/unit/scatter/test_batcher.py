from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone_provider.errors import ItemError
from flowstone_provider.scatter.batcher import by_function, by_group, by_size, growing


def lines(items):
    return [orjson.dumps({"index": i, "item": item}) + b"\n" for i, item in enumerate(items)]


def items(batches):
    return [[orjson.loads(line)["item"] for line in batch] for batch in batches]


@given(st.lists(st.binary(max_size=30)), st.integers(1, 10), st.integers(1, 60) | st.none())
def test_every_line_is_in_one_batch_in_order_within_the_bounds(data, most, max_bytes):
    batches = list(by_size(iter(data), lambda _: most, max_bytes))
    assert list(itertools.chain.from_iterable(batches)) == data
    for batch in batches:
        assert 0 < len(batch) <= most
        assert max_bytes is None or len(batch) == 1 or sum(map(len, batch)) <= max_bytes
    for one, two in itertools.pairwise(batches):  # no batch ends before it is full
        full = len(one) == most or (max_bytes is not None and sum(map(len, one)) + len(two[0]) > max_bytes)
        assert full


def test_an_item_over_max_bytes_is_a_batch_of_its_own():
    data = lines(["a", "b" * 500, "c"])
    assert items(by_size(iter(data), lambda _: 9, 100)) == [["a"], ["b" * 500], ["c"]]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", 1, None, True]), st.integers(-5, 5))),
    st.integers(1, 6),
    st.integers(1, 4) | st.none(),
)
def test_a_group_stays_together(pairs, most, group_size):
    data = lines([list(pair) for pair in pairs])
    batches = list(by_group(iter(data), lambda item: item[0], lambda _: most, None, group_size))
    assert sorted(itertools.chain.from_iterable(batches)) == sorted(data)
    for batch in items(batches):
        groups = {orjson.dumps(item[0]) for item in batch}
        assert len(batch) <= most or len(groups) == 1
        assert group_size is None or len(batch) <= max(most, group_size)
    if group_size is None:
        seen = [{orjson.dumps(item[0]) for item in batch} for batch in items(batches)]
        assert all(not one & two for one, two in itertools.combinations(seen, 2))


def test_groups_come_in_the_order_of_their_first_item_and_by_field_name():
    data = lines([{"k": "b", "n": 1}, {"k": "a", "n": 2}, {"k": "b", "n": 3}])
    batches = items(by_group(iter(data), "k", lambda _: 2, None, None))
    assert [[item["n"] for item in batch] for batch in batches] == [[1, 3], [2]]


def test_group_by_a_field_that_an_item_lacks_says_which_item():
    with pytest.raises(ItemError, match=r"group_by fails at item 1.*no field 'k'; it has 'x'"):
        list(by_group(iter(lines([{"k": 1}, {"x": 1}])), "k", lambda _: 2, None, None))


def test_a_function_cuts_the_stream():
    def function(stream):
        for _, group in itertools.groupby(stream, lambda item: item // 10):
            yield list(group)

    assert items(by_function(iter(lines([1, 2, 11, 12, 21])), function)) == [[1, 2], [11, 12], [21]]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda stream: [sorted(stream, reverse=True)], "in their order"),
        (lambda stream: [[1000, *stream]], "the very items"),
        (lambda stream: [list(itertools.islice(stream, 2))], "stopped before the last"),
        (lambda stream: [list(stream)[:-1]], "left the last 1 items out"),
    ],
)
def test_a_function_that_loses_or_invents_items_is_an_error(function, message):
    with pytest.raises(ItemError, match=message):
        list(by_function(iter(lines([1, 2, 3])), function))


def test_equal_items_are_different_items_for_a_function():
    assert items(by_function(iter(lines([7, 7, 7])), lambda stream: [[next(stream)], list(stream)])) == [[7], [7, 7]]


@pytest.mark.parametrize("limit", [1, 2, 10, 100, 1024, 4096])
def test_growing_batches_fit_the_limit(limit):
    size = growing(limit)
    assert sum(size(n) for n in range(limit)) >= 100_000_000


def test_growing_batches_are_few_for_few_items_and_a_hundred_for_a_million():
    size = growing(1024)
    count = lambda total: next(n for n in itertools.count(1) if sum(map(size, range(n))) >= total)  # noqa: E731
    assert [count(10), count(1_000_000), count(100_000_000)] == [2, 114, 531]
