from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from typing import Any

import pytest

from flowstone_provider.errors import LedgerError
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.options import Batching, ItemRetry
from tests.support.scatters import Scatter

ONE_BATCH = Batching(max_items=1000)
QUICK = ItemRetry(attempts=3, wait=0)


def test_results_are_kept_in_item_order(tmp_path):
    scatter = Scatter(tmp_path, [3, 1, 2], batching=ONE_BATCH)
    summary = scatter.run(lambda item: item * 10)
    assert (summary.items, summary.succeeded, summary.failed, summary.pending) == (3, 3, 0, 0)
    assert scatter.outcomes("succeeded") == [
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
    assert [line["index"] for line in scatter.outcomes("succeeded")] == [n for n in range(100) if n % 7]
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
    (failed,) = scatter.outcomes()
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
    (failed,) = scatter.outcomes()
    assert failed["index"] == 1
    assert failed["error"]["type"] == "ItemError"
    assert message in failed["error"]["message"]


def test_batch_input_is_given_to_every_call(tmp_path):
    scatter = Scatter(tmp_path, [1, 2], batching=ONE_BATCH)
    scatter.run(lambda item, factor, offset=0: item * factor + offset, arguments={"factor": 10})
    assert [line["result"] for line in scatter.outcomes("succeeded")] == [10, 20]


def test_results_none_keeps_outcomes_without_values(tmp_path):
    scatter = Scatter(tmp_path, [1, 2], results=None)
    scatter.run_all(lambda item: object())
    assert scatter.outcomes("succeeded") == [{"index": i, "status": "succeeded"} for i in range(2)]


def test_flatten_makes_one_result_of_each_element(tmp_path):
    scatter = Scatter(tmp_path, [0, 2, 3], batching=ONE_BATCH, flatten=True)
    scatter.run(lambda item: list(range(item)) if item != 3 else "abc")
    assert [(line["index"], line["result"]) for line in scatter.outcomes("succeeded")] == [(1, 0), (1, 1)]
    assert "flatten=True needs a function that returns lists, not str" in scatter.outcomes()[0]["error"]["message"]


def test_per_batch_gives_the_whole_batch_in_one_call(tmp_path):
    calls = []

    def function(items: list[int]) -> list[int]:
        calls.append(items)
        return [item + 1 for item in items]

    scatter = Scatter(tmp_path, list(range(5)), batching=Batching(max_items=3), per="batch")
    scatter.run_all(function)
    assert calls == [[0, 1, 2], [3, 4]]
    assert [line["result"] for line in scatter.outcomes("succeeded")] == [1, 2, 3, 4, 5]


@pytest.mark.parquet
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
    assert message in scatter.outcomes()[2]["error"]["message"]


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


def test_a_deep_recursion_is_its_items_failure(tmp_path):
    def function(item):
        return function(item) if item else sys.getrecursionlimit()

    assert Scatter(tmp_path, [0, 1], batching=ONE_BATCH).run(function).failed == 1
