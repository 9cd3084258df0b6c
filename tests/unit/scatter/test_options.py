from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone_provider.errors import OptionsError
from flowstone_provider.scatter.options import Batching, ItemRetry, RateLimit, ScatterOptions, Tolerance


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Batching(max_item=3), ["Batching", "'max_item'", "did you mean 'max_items'"]),
        (lambda: Batching(max_items=0), ["max_items=0", "greater than 0"]),
        (lambda: Batching(max_items="many"), ["max_items='many'", "integer"]),
        (lambda: Batching(group_size=3), ["group_size needs group_by"]),
        (lambda: Batching(function=list, max_items=3), ["function decides alone"]),
        (lambda: Tolerance(percent=-1), ["percent=-1"]),
        (lambda: Tolerance(percent=101), ["percent=101"]),
        (lambda: Tolerance(percent=math.nan), ["percent=nan"]),
        (lambda: Tolerance(count=-1), ["count=-1"]),
        (lambda: RateLimit(0), ["per_second=0"]),
        (lambda: RateLimit(math.inf), ["finite"]),
        (lambda: ItemRetry(attempts=0), ["attempts=0"]),
        (lambda: ScatterOptions(tolerance={"percents": 3}), ["tolerance", "percents", "did you mean 'percent'"]),
        (lambda: ScatterOptions(results="csv"), ["results='csv'", "'jsonl' or 'parquet'"]),
        (lambda: ScatterOptions(per="batch", item_concurrency=4), ['per="batch"']),
    ],
)
def test_a_wrong_option_is_named_with_the_remedy(make, words):
    with pytest.raises(OptionsError) as error:
        make()
    for word in words:
        assert word in str(error.value)


def test_templates_and_outputs_pass_until_they_are_rendered():
    class Output:
        resolve = iter_references = None

    output = Output()
    options = ScatterOptions(
        batching=Batching(max_items="{{ params.n }}"), tolerance={"percent": output}, item_concurrency="{{ 4 }}"
    )
    assert options.dump() == {
        "batching": {"max_items": "{{ params.n }}"},
        "tolerance": {"percent": output},
        "item_concurrency": "{{ 4 }}",
    }
    assert ScatterOptions(batching={"max_items": "7"}).batching.max_items == 7


def test_the_dump_makes_the_same_options_again():
    options = ScatterOptions(
        retry=ItemRetry(attempts=4, on=(TimeoutError, "Http*")), rate_limit=RateLimit(3), results=None
    )
    assert ScatterOptions(**options.dump()) == options
    assert options.dump()["retry"]["on"] == ("builtins.TimeoutError", "Http*")


@pytest.mark.parametrize(
    ("tolerance", "total", "allowed"),
    [
        (Tolerance(), 1000, 0),
        (Tolerance(count=0), 1000, 0),
        (Tolerance(count=3), None, 3),
        (Tolerance(percent=0.1), 1000, 1),
        (Tolerance(percent=0.1), 999, 0),
        (Tolerance(percent=0.3), 1000, 3),
        (Tolerance(percent=100), 7, 7),
        (Tolerance(percent=50, count=2), 100, 2),
        (Tolerance(percent=50), None, None),
        (Tolerance.any(), 5, 5),
        (Tolerance.any(), 0, 0),
    ],
)
def test_how_many_may_not_succeed(tolerance, total, allowed):
    assert tolerance.allowed(total) == allowed


@given(st.integers(0, 10**9), st.integers(0, 1000), st.integers(1, 1000))
def test_a_percentage_is_exact(total, numerator, denominator):
    percent = min(100.0, numerator / denominator)
    allowed = Tolerance(percent=percent).allowed(total)
    assert allowed == int(Decimal(repr(percent)) * total / 100)
