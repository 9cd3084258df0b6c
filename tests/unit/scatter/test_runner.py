from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from flowstone_provider.errors import LedgerError, RetryItem
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.options import Batching, ItemRetry, RateLimit, Tolerance
from flowstone_provider.scatter.rate_limit import Pace
from flowstone_provider.scatter.runner import ItemContext
from tests.support.scatters import Scatter

ONE_BATCH = Batching(max_items=1000)
QUICK = ItemRetry(attempts=3, wait=0)


def outcomes(scatter, kind="failed"):
    scatter.gather()
    return scatter.lines(kind)


def test_results_are_kept_in_item_order(tmp_path):
    scatter = Scatter(tmp_path, [3, 1, 2], batching=ONE_BATCH)
    summary = scatter.run(lambda item: item * 10)
    assert (summary.items, summary.succeeded, summary.failed, summary.pending) == (3, 3, 0, 0)
    assert outcomes(scatter, "succeeded") == [
        {"index": i, "status": "succeeded", "result": r} for i, r in enumerate([30, 10, 20])
    ]


@pytest.mark.parametrize("concurrency", [1, 5])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_item_has_one_outcome_however_it_is_run(tmp_path, concurrency, asynchronous):
    def function(item):
        if item % 7 == 0:
            raise ValueError(f"item {item} is bad")
        return {"n": item}

    async def coroutine(item):
        await asyncio.sleep(0)
        return function(item)

    scatter = Scatter(tmp_path, list(range(100)), batching=ONE_BATCH, item_concurrency=concurrency)
    summary = scatter.run(coroutine if asynchronous else function)
    assert (summary.succeeded, summary.failed) == (85, 15)
    assert [line["index"] for line in outcomes(scatter, "succeeded")] == [n for n in range(100) if n % 7]
    assert [line["item"] for line in scatter.lines("failed")] == list(range(0, 100, 7))
    assert summary.errors == {"ValueError: item # is bad": {"count": 15, "index": 0, "message": "item 0 is bad"}}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_are_in_flight_together_but_never_more_than_asked(tmp_path, asynchronous):
    running, most = 0, 0
    lock = threading.Lock()
    three = threading.Barrier(3, timeout=20)

    def enter():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)

    def leave():
        nonlocal running
        with lock:
            running -= 1

    def function(item):
        enter()
        three.wait()  # nobody goes on before three are there
        leave()

    async def coroutine(item):
        enter()
        while most < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        leave()

    scatter = Scatter(tmp_path, list(range(12)), batching=ONE_BATCH, item_concurrency=3)
    scatter.run(coroutine if asynchronous else function)
    assert most == 3


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
    (failed,) = outcomes(scatter)
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
    assert outcomes(scatter)[0]["item"] == {"a": 1}


def test_a_timeout_of_the_task_stops_its_threads(tmp_path):
    class TaskTimeout(BaseException):
        """As Airflow's, which a signal handler raises in the main thread."""

    def ring(signum, frame):
        raise TaskTimeout

    calls: list[int] = []

    def function(item):
        calls.append(item)
        time.sleep(0.01)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        scatter = Scatter(tmp_path, list(range(5000)), batching=Batching(max_items=5000), item_concurrency=3)
        with pytest.raises(TaskTimeout):
            scatter.run(function)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert scatter.gather()["counts"]["succeeded"] >= len(calls) - 3


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


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (SystemExit(3), "SystemExit", "3"),
        (Unprintable(), "Unprintable", "<str() of this Unprintable raises RuntimeError>"),
        (ValueError("\ud800 half a character"), "ValueError", "\\ud800 half a character"),
        (ValueError("x" * 100_000), "ValueError", "x" * 2000),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 2])
def test_whatever_a_function_raises_is_its_items_failure(tmp_path, error, kind, message, concurrency):
    def function(item):
        if item == 1:
            raise error
        return item

    scatter = Scatter(tmp_path, [0, 1, 2], batching=ONE_BATCH, item_concurrency=concurrency)
    assert scatter.run(function).succeeded == 2
    (failed,) = outcomes(scatter)
    assert (failed["error"]["type"], failed["error"]["message"]) == (kind, message)


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_keyboard_interrupt_ends_the_batch_and_keeps_what_is_done(tmp_path, concurrency, asynchronous):
    def function(item):
        if item == 5:
            raise KeyboardInterrupt
        return item

    async def coroutine(item):
        return function(item)

    scatter = Scatter(tmp_path, list(range(10)), batching=ONE_BATCH, item_concurrency=concurrency)
    with pytest.raises(KeyboardInterrupt):
        scatter.run(coroutine if asynchronous else function)
    calls = []
    scatter.run(calls.append)
    assert 5 in calls
    assert set(calls) <= set(range(5, 10)) | {4}
    assert scatter.gather()["counts"] == {"total": 10, "succeeded": 10, "failed": 0, "pending": 0}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (object(), "the function returned what JSON cannot hold: Type is not JSON serializable: object"),
        ({1: 2}, "Dict key must be str"),
        (2**70, "Integer exceeds 64-bit range"),
        ("\ud800", "surrogates not allowed"),
        ((n for n in range(3)), "generator"),
    ],
)
def test_a_result_that_json_cannot_hold_fails_its_item(tmp_path, result, message):
    scatter = Scatter(tmp_path, [0, 1])
    scatter.run_all(lambda item: result if item else 0)
    (failed,) = outcomes(scatter)
    assert failed["index"] == 1
    assert failed["error"]["type"] == "ItemError"
    assert message in failed["error"]["message"]


def test_batch_input_is_given_to_every_call(tmp_path):
    scatter = Scatter(tmp_path, [1, 2], batching=ONE_BATCH)
    scatter.run(lambda item, factor, offset=0: item * factor + offset, arguments={"factor": 10})
    assert [line["result"] for line in outcomes(scatter, "succeeded")] == [10, 20]


def test_results_none_keeps_outcomes_without_values(tmp_path):
    scatter = Scatter(tmp_path, [1, 2], results=None)
    scatter.run_all(lambda item: object())
    assert outcomes(scatter, "succeeded") == [{"index": i, "status": "succeeded"} for i in range(2)]


def test_flatten_makes_one_result_of_each_element(tmp_path):
    scatter = Scatter(tmp_path, [0, 2, 3], batching=ONE_BATCH, flatten=True)
    scatter.run(lambda item: list(range(item)) if item != 3 else "abc")
    assert [(line["index"], line["result"]) for line in outcomes(scatter, "succeeded")] == [(1, 0), (1, 1)]
    assert "flatten=True needs a function that returns lists, not str" in outcomes(scatter)[0]["error"]["message"]


def test_per_batch_gives_the_whole_batch_in_one_call(tmp_path):
    calls = []

    def function(items: list[int]) -> list[int]:
        calls.append(items)
        return [item + 1 for item in items]

    scatter = Scatter(tmp_path, list(range(5)), batching=Batching(max_items=3), per="batch")
    scatter.run_all(function)
    assert calls == [[0, 1, 2], [3, 4]]
    assert [line["result"] for line in outcomes(scatter, "succeeded")] == [1, 2, 3, 4, 5]


def test_per_batch_gives_an_arrow_table_to_who_asks_for_one(tmp_path):
    import pyarrow as pa
    import pyarrow.compute as pc

    def function(table: pa.Table) -> pa.Table:
        return table.append_column("double", pc.multiply(table["n"], 2))

    scatter = Scatter(tmp_path, [{"n": 1}, {"n": 4}], batching=ONE_BATCH, per="batch", results="parquet")
    scatter.run(function)
    scatter.gather()
    assert scatter.manifest()["counts"]["succeeded"] == 2


@pytest.mark.parametrize(
    ("result", "message"),
    [([1], "1 results for 3 items"), ({"a": 1}, "a list with one result for each item, or None, not dict")],
)
def test_per_batch_with_a_wrong_number_of_results_fails_all_items(tmp_path, result, message):
    calls = []

    def function(items):
        calls.append(1)
        return result

    scatter = Scatter(tmp_path, [1, 2, 3], batching=ONE_BATCH, per="batch", retry=ItemRetry(attempts=2, wait=0))
    assert scatter.run(function).failed == 3
    assert len(calls) == 2
    assert message in outcomes(scatter)[2]["error"]["message"]


def test_a_blocked_event_loop_is_said(tmp_path, caplog):
    async def coroutine(item):
        await asyncio.sleep(0)
        time.sleep(1.7)  # what must not be done in a coroutine

    with caplog.at_level(logging.WARNING):
        scatter = Scatter(tmp_path, [0, 1], batching=ONE_BATCH, item_concurrency=1)
        assert scatter.run(coroutine).succeeded == 2
    assert "blocked the event loop for" in caplog.text


def test_storage_that_refuses_ends_the_batch_and_loses_nothing_recorded(tmp_path, mocker):
    record = LedgerCoordinator.record
    full = mocker.patch.object(LedgerCoordinator, "record", autospec=True, side_effect=LedgerError("no space left"))
    scatter = Scatter(tmp_path, list(range(10)), batching=ONE_BATCH)
    with pytest.raises(LedgerError, match="no space left"):
        scatter.run(lambda item: item)
    full.side_effect = record
    assert scatter.run(lambda item: item).succeeded == 10


def test_storage_that_refuses_while_items_run_stops_the_batch_soon(tmp_path, mocker):
    mocker.patch.object(LedgerCoordinator, "record", side_effect=LedgerError("no space left"))
    calls: list[Any] = []

    def function(item):
        calls.append(item)
        time.sleep(0.01)

    scatter = Scatter(tmp_path, list(range(5000)), batching=Batching(max_items=5000))
    with pytest.raises(LedgerError, match="no space left"):
        scatter.run(function, flush_seconds=0.05)
    assert len(calls) < 1000


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


def test_a_deep_recursion_is_its_items_failure(tmp_path):
    def function(item):
        return function(item) if item else sys.getrecursionlimit()

    assert Scatter(tmp_path, [0, 1], batching=ONE_BATCH).run(function).failed == 1
