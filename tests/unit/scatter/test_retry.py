from __future__ import annotations

import time
from collections import Counter

import pytest

from flowstone_provider.errors import RetryItem
from flowstone_provider.scatter.options import Batching, ItemRetry, RateLimit, Tolerance
from flowstone_provider.scatter.rate_limit import Pace
from flowstone_provider.scatter.runner import ItemContext
from tests.support.scatters import Scatter

ONE_BATCH = Batching(max_items=1000)
QUICK = ItemRetry(attempts=3, wait=0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_item_is_tried_again_and_says_so(tmp_path, asynchronous):
    calls: Counter[int] = Counter()

    def function(item: int, item_context: ItemContext) -> int:
        calls[item] += 1
        assert item_context.attempt == calls[item]
        assert (item_context.index, item_context.batch, item_context.source) == (item, 0, None)
        if item == 1 and calls[1] < 3:
            raise TimeoutError("later")
        if item == 2:
            raise TimeoutError("never")
        return calls[item]

    async def coroutine(item: int, item_context: ItemContext) -> int:
        return function(item, item_context)

    scatter = Scatter(tmp_path, [0, 1, 2], batching=ONE_BATCH, retry=QUICK)
    scatter.run(coroutine if asynchronous else function)
    assert dict(calls) == {0: 1, 1: 3, 2: 3}
    (failed,) = scatter.outcomes()
    assert (failed["index"], failed["attempts"], failed["error"]["type"]) == (2, 3, "TimeoutError")
    assert failed["error"]["message"] == "never"
    assert 'raise TimeoutError("never")' in failed["error"]["traceback"]
    assert "flowstone_provider" not in failed["error"]["traceback"]
    assert failed["duration"] >= 0


@pytest.mark.parametrize("options", [{}, {"per": "batch"}, {"item_concurrency": 2}])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_attempt_gets_the_item_as_it_was(tmp_path, options, asynchronous):
    seen = []

    def function(item):
        seen.append(repr(item))
        (item[0] if isinstance(item, list) else item).clear()
        raise ValueError

    async def coroutine(item):
        return function(item)

    scatter = Scatter(tmp_path, [{"a": 1}], retry=ItemRetry(attempts=2, wait=0), **options)
    scatter.run(coroutine if asynchronous else function)
    assert len(seen) == 2
    assert len(set(seen)) == 1
    assert scatter.outcomes()[0]["item"] == {"a": 1}


def test_only_the_errors_asked_for_are_tried_again(tmp_path):
    calls: Counter[str] = Counter()

    class HttpError(Exception):
        pass

    class HttpBusy(HttpError):
        pass

    errors = {"busy": HttpBusy, "os": ConnectionResetError, "value": ValueError, "ask": RetryItem}

    def function(item):
        calls[item] += 1
        raise errors[item]("no")

    retry = ItemRetry(attempts=2, wait=0, on=("Http*", ConnectionError))
    scatter = Scatter(tmp_path, list(errors), batching=ONE_BATCH, retry=retry, tolerance=Tolerance.any())
    scatter.run(function)
    assert calls == {"busy": 2, "os": 2, "value": 1, "ask": 2}


def test_a_servers_own_delay_is_honoured(tmp_path):
    times = []

    def function(item):
        times.append(time.monotonic())
        if len(times) == 1:
            raise RetryItem("busy", after=0.3)

    Scatter(tmp_path, [0], retry=ItemRetry(attempts=2, wait=1000)).run(function)
    assert 0.3 <= times[1] - times[0] < 100


def test_a_pace_never_exceeds_its_rate():
    now = 0.0
    pace = Pace(10, clock=lambda: now)
    starts = []
    for _ in range(30):
        now += pace.delay()
        starts.append(now)
        now += 0.02
    for start in starts:
        assert sum(start <= other < start + 1 - 1e-9 for other in starts) <= 10


@pytest.mark.parametrize(
    ("batches", "options", "max_active", "per_second"),
    [(100, {}, 16, 10.0), (100, {"max_active_batches": 4}, 16, 40.0), (2, {}, 16, 80.0), (100, {}, None, 1.6)],
)
def test_the_batches_that_can_be_active_share_the_rate(tmp_path, mocker, batches, options, max_active, per_second):
    pace = mocker.patch("flowstone_provider.scatter.batch.Pace", return_value=None)
    scatter = Scatter(tmp_path, range(batches), batching=Batching(max_items=1), rate_limit=RateLimit(160), **options)
    scatter.run(lambda item: item, max_active=max_active)
    pace.assert_called_once_with(per_second)


def test_the_rate_limit_counts_attempts(tmp_path):
    starts = []

    def function(item):
        starts.append(time.monotonic())
        raise ValueError

    options = {"rate_limit": RateLimit(50), "retry": ItemRetry(attempts=4, wait=0), "tolerance": Tolerance.any()}
    Scatter(tmp_path, list(range(5)), batching=ONE_BATCH, item_concurrency=4, **options).run(function)
    starts.sort()
    assert len(starts) == 20
    assert starts[-1] - starts[0] >= 19 / 50 * 0.9
