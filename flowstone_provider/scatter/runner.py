"""The runner: one batch, item by item, until each has an outcome."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import tenacity
from orjson import dumps, loads

from flowstone_provider.errors import ItemError, RetryItem
from flowstone_provider.scatter.items import DUMP_OPTIONS, to_json
from flowstone_provider.scatter.options import ItemRetry
from flowstone_provider.scatter.outcomes import bad_line, failed_line
from flowstone_provider.scatter.rate_limit import Pace
from flowstone_provider.scatter.recorder import FLUSH_BYTES, Recorder

log = logging.getLogger(__name__)

# What a user's function may raise that is the item's failure. Other BaseExceptions (KeyboardInterrupt, Airflow's own
# for timeouts) end the batch.
ITEM_ERRORS = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class ItemContext:
    """What a function may ask about the item it works on, by a parameter named ``item_context``."""

    index: int
    """Tells items apart and grows in the order of the source; the position in the scatter where that is known."""
    attempt: int
    """1 for the first attempt at the item within this try of the batch."""
    batch: int
    """Number of the batch."""
    source: str | None
    """Where the item comes from, e.g. the URL of a file."""


class Runner:
    """Calls a function for every item of a batch and hands the outcomes to a recorder.

    Args:
        function: Called with the item, and `arguments`; may be a coroutine function.
        recorder: Takes the outcomes; its ``stop`` ends the run between items.
        batch: Number of the batch.
        arguments: Further keyword arguments of every call.
        retry: Attempts at items that fail.
        concurrency: Calls in flight.
        pace: Spaces the attempts out.
        results: Whether results are kept.
        flatten: The function must return lists.
        on_retry: Called with (attempt that failed, seconds to wait, type of the error).
    """

    def __init__(
        self,
        function: Callable[..., Any],
        recorder: Recorder,
        *,
        batch: int = 0,
        arguments: dict[str, Any] | None = None,
        retry: ItemRetry | None = None,
        concurrency: int = 1,
        pace: Pace | None = None,
        results: bool = True,
        flatten: bool = False,
        on_retry: Callable[[int, float, str], None] = lambda attempt, wait, error: None,
    ) -> None:
        self._recorder = recorder
        self._batch = batch
        self._arguments = arguments or {}
        self._retry = retry or ItemRetry(attempts=1)
        self._concurrency = concurrency
        self._pace = pace
        self._results = results
        self._flatten = flatten
        self._on_retry = on_retry
        self._function = function
        self._is_async = is_async(function)
        self._wants_context = wants_item_context(function)
        self._outcome = self._outcome_of()

    def run(self, lines: Iterable[bytes]) -> None:
        """Work through item lines.

        Raises:
            BaseException: What ends a batch: the storage of the outcomes, a `KeyboardInterrupt`. Never an item's.
        """
        if self._is_async:
            asyncio.run(self._run_async(iter(lines)))
        elif self._concurrency == 1:
            self._work(lines)
        else:
            self._run_threads(_Feed(lines))

    # --- one call after the other, in this thread or in several

    def _parse(self, line: bytes) -> dict[str, Any]:
        """The record of an item line, anew for each attempt: a function may change the item it is given."""
        record: dict[str, Any] = loads(line)
        return record

    def _work(self, feed: Iterable[bytes]) -> None:
        # This loop is what a scatter costs per item: everything in it is local and counts.
        recorder, parse, outcome, add = self._recorder, self._parse, self._outcome, self._recorder.add
        stopped, pace, clock = recorder.stop.is_set, self._pace, time.perf_counter
        held = 0
        for line in feed:
            if pace is not None and (wait := pace.delay()) > 0:
                recorder.stop.wait(wait)
            if stopped():
                return
            started = clock()
            try:
                result = outcome(parse(line), 1)
            except ITEM_ERRORS as error:
                self._again(line, error, started)
            else:
                add(result)
                held += len(result)
                if held > FLUSH_BYTES:
                    recorder.flush()
                    held = 0

    def _again(self, line: bytes, first: BaseException, started: float) -> None:
        """Further attempts after the first failed, then the outcome."""
        if "bad" in (record := self._parse(line)):
            return self._recorder.add_failed(bad_line(record))
        attempts = 0

        def attempt() -> bytes:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise first
            if self._pace is not None:
                self._recorder.stop.wait(self._pace.delay())
            return self._outcome(self._parse(line), attempts)

        try:
            result = self._retrying(tenacity.Retrying, tenacity.sleep_using_event(self._recorder.stop))(attempt)
        except ITEM_ERRORS as error:
            self._fail(record, error, attempts, started)
        else:
            self._recorder.add(result)

    def _run_threads(self, feed: _Feed) -> None:
        crashed: list[BaseException] = []

        def work() -> None:
            try:
                self._work(feed)
            except BaseException as error:  # noqa: BLE001  (raised again below)
                crashed.append(error)
                self._recorder.stop.set()

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work,), name=f"item-{n}", daemon=True)
            for n in range(self._concurrency)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:  # Airflow's timeout, a signal: it comes up here, in the main thread
            self._recorder.stop.set()
            raise
        if crashed:
            raise crashed[0]

    # --- many calls in flight on one event loop

    async def _run_async(self, feed: Iterator[bytes]) -> None:
        watch = asyncio.create_task(_warn_when_blocked(self._function))
        tasks = [asyncio.create_task(self._work_async(feed)) for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (watch, *tasks):
                task.cancel()
            await asyncio.gather(watch, *tasks, return_exceptions=True)

    async def _work_async(self, feed: Iterator[bytes]) -> None:
        recorder = self._recorder
        for line in feed:
            await self._keep_pace()
            if recorder.stop.is_set():
                return
            started = time.perf_counter()
            try:
                record = self._parse(line)
                recorder.add(self._line(record, await self._call(record, 1)))
            except ITEM_ERRORS as error:
                await self._again_async(line, error, started)

    async def _again_async(self, line: bytes, first: BaseException, started: float) -> None:
        if "bad" in (record := self._parse(line)):
            return self._recorder.add_failed(bad_line(record))
        attempts = 0

        async def attempt() -> bytes:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise first
            await self._keep_pace()
            fresh = self._parse(line)
            return self._line(fresh, await self._call(fresh, attempts))

        try:
            result = await self._retrying(tenacity.AsyncRetrying, self._sleep)(attempt)
        except ITEM_ERRORS as error:
            self._fail(record, error, attempts, started)
        else:
            self._recorder.add(result)

    async def _keep_pace(self) -> None:
        if self._pace is not None:
            await self._sleep(self._pace.delay())

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not past a stop by more than a quarter of a second."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._recorder.stop.is_set():
            await asyncio.sleep(min(left, 0.25))

    # --- outcomes

    def _outcome_of(self) -> Callable[[dict[str, Any], int], bytes]:
        """A function of record and attempt that calls the user's and makes the outcome line."""
        call, line = self._call, self._line
        if self._wants_context or self._arguments or self._flatten or not self._results:
            return lambda record, attempt: line(record, call(record, attempt))
        function = self._function

        def outcome(record: dict[str, Any], attempt: int) -> bytes:  # noqa: ARG001
            # The plain case of the above in one piece: two calls less are a tenth of what an item costs.
            result = function(record["item"])
            try:
                return b'{"index":%d,"status":"succeeded","result":%b}\n' % (
                    record["index"],
                    dumps(result, to_json, DUMP_OPTIONS),
                )
            except TypeError:
                return line(record, result)

        return outcome

    def _call(self, record: dict[str, Any], attempt: int) -> Any:
        if not self._wants_context:
            return self._function(record["item"], **self._arguments)
        context = ItemContext(record["index"], attempt, self._batch, record.get("source"))
        return self._function(record["item"], item_context=context, **self._arguments)

    def _line(self, record: dict[str, Any], result: Any) -> bytes:
        index: int = record["index"]
        if not self._results:
            return b'{"index":%d,"status":"succeeded"}\n' % index
        if self._flatten and not isinstance(result, (list, tuple)):
            raise ItemError(f"flatten=True needs a function that returns lists, not {type(result).__name__}")
        try:
            return b'{"index":%d,"status":"succeeded","result":%b}\n' % (index, dumps(result, to_json, DUMP_OPTIONS))
        except TypeError as error:
            raise ItemError(f"the function returned what JSON cannot hold: {error}") from error

    def _fail(self, record: dict[str, Any], error: BaseException, attempts: int, started: float) -> None:
        if self._recorder.stop.is_set() and attempts < self._retry.attempts and self._worth_retrying(error):
            return  # stopped between attempts: pending, not failed
        self._recorder.add_failed(failed_line(record, error, attempts, time.perf_counter() - started))

    def _retrying(self, kind: Any, sleep: Callable[[float], Any]) -> Any:
        return kind(
            stop=tenacity.stop_after_attempt(self._retry.attempts) | tenacity.stop_when_event_set(self._recorder.stop),
            wait=self._wait,
            retry=tenacity.retry_if_exception(self._worth_retrying),
            before_sleep=self._before_sleep,
            sleep=sleep,
            reraise=True,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, RetryItem) and error.data["after"] is not None:
            return float(error.data["after"])
        return tenacity.wait_random_exponential(multiplier=self._retry.wait, max=self._retry.max_wait)(state)

    def _worth_retrying(self, error: BaseException) -> bool:
        patterns = self._retry.on
        return isinstance(error, ITEM_ERRORS) and (
            patterns is None
            or isinstance(error, RetryItem)
            or any(
                fnmatchcase(cls.__name__, pattern) or fnmatchcase(f"{cls.__module__}.{cls.__qualname__}", pattern)
                for cls in type(error).__mro__
                for pattern in map(str, patterns)
            )
        )

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self._on_retry(state.attempt_number, state.upcoming_sleep, type(error).__name__)


class _Feed:
    """An iterator that several threads may share."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._lock:
            return next(self._lines)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling a function gives a coroutine."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def wants_item_context(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter named ``item_context``."""
    return "item_context" in inspect.signature(function).parameters


async def _warn_when_blocked(function: Callable[..., Any], every: float = 0.5, late: float = 1.0) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(every)
        blocked = time.monotonic() - before - every
        if blocked > late:
            log.warning(
                "%s blocked the event loop for %.1f s: while it waits, no other item of the batch goes on. Await in "
                "it, or make it a plain function: then item_concurrency means threads",
                getattr(function, "__qualname__", function),
                blocked,
            )
