"""One try of one batch: what is left of it, run, recorded, closed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from flowstone_provider import registry, telemetry
from flowstone_provider.contracts.item_reader import Page, ReaderSpec, Resources
from flowstone_provider.contracts.scatter import Barrier, Batch, BatchSummary, Plan, ScatterCoordinator
from flowstone_provider.errors import FlowstoneError, LedgerError
from flowstone_provider.scatter.items import encode_page, selector
from flowstone_provider.scatter.ledger import index_of, is_success
from flowstone_provider.scatter.manifest import exceeded
from flowstone_provider.scatter.options import ScatterOptions
from flowstone_provider.scatter.per_batch import BatchRunner
from flowstone_provider.scatter.rate_limit import Pace, share
from flowstone_provider.scatter.recorder import FLUSH_SECONDS, Recorder
from flowstone_provider.scatter.results import close_batch, merge_errors
from flowstone_provider.scatter.runner import Runner

log = logging.getLogger(__name__)

# A progress line at most this often, in seconds.
_PROGRESS_EVERY = 10.0


def item_lines(
    coordinator: ScatterCoordinator, batch: Batch, options: ScatterOptions, resources: Resources
) -> Iterator[bytes]:
    """All item lines of a batch, from the ledger or from its split of the source.

    A batch that has run found them in the ledger, or left them there if its split cannot be read the same way twice.

    Raises:
        LedgerError: The ledger does not hold what was planned.
        ReaderError: The split cannot be read, or its source changed since it was planned.
    """
    count = 0
    if batch.reader is None or (not _repeatable(batch.reader) and coordinator.has_batch(batch.number)):
        for line in coordinator.lines(batch.number):
            count += 1
            yield line
    else:
        select = selector(options.select)
        with contextlib.closing(registry.create_reader(batch.reader, resources)) as reader:
            for page in reader.pages():
                yield from encode_page(Page(page.items, {}, page.source), batch.first + count, select)
                count += len(page.items)
    if batch.items is not None and count != batch.items:
        raise LedgerError(
            f"batch {batch.number} of {coordinator.uri} has {count} items, but {batch.items} were planned: storage "
            "lost or changed a part of it"
        )


def _repeatable(spec: ReaderSpec) -> bool:
    return registry.readers.lookup(spec.reader).cls.repeatable


def _keep_items(coordinator: ScatterCoordinator, batch: Batch, options: ScatterOptions, resources: Resources) -> None:
    """Keep the items of a split that might not be the same when it is read again; outcomes are told apart by index."""
    if batch.reader is None or _repeatable(batch.reader) or coordinator.has_batch(batch.number):
        return
    coordinator.keep_batch(batch.number, list(item_lines(coordinator, batch, options, resources)))


def run_batch(
    function: Callable[..., Any],
    coordinator: ScatterCoordinator,
    barrier: Barrier,
    plan: Plan,
    number: int,
    options: ScatterOptions,
    resources: Resources,
    *,
    arguments: dict[str, Any] | None = None,
    max_active: int | None = None,
    on_start: Callable[[Recorder], None] = lambda recorder: None,
    flush_seconds: float = FLUSH_SECONDS,
) -> BatchSummary:
    """Process every item of a batch that has not succeeded yet.

    Args:
        function: The user's, called per item or per batch.
        coordinator: Open.
        barrier: Which scatter; for telemetry.
        plan: The sealed plan.
        number: Which batch.
        options: The scatter's.
        resources: For the readers of splits.
        arguments: The batch input.
        max_active: How many batches can run at once, whatever the options say; the rate limit is shared among them.
        on_start: Is given the recorder, whose ``stop`` ends the run between items.
        flush_seconds: Seconds between writes of outcomes.

    Returns:
        What became of the batch. Items are pending when the batch was stopped.

    Raises:
        LedgerError: Outcomes cannot be kept.
        BaseException: What ends a batch, such as `KeyboardInterrupt`; outcomes so far are kept.
    """
    batch = plan.batches[number]
    about = {"dag_id": barrier.dag_id, "run_id": barrier.run_id, "scatter_id": barrier.scatter_id}
    about_batch = {**about, "batch": number}

    def lines() -> Iterator[bytes]:
        return item_lines(coordinator, batch, options, resources)

    done = _succeeded(coordinator, number)
    started = time.monotonic()
    todo = None if batch.items is None else batch.items - len(done)
    telemetry.emit("flowstone.scatter.batch.start", {"items": todo or 0}, about_batch)
    watch = _Watch(coordinator, plan, options, about, number, todo)
    with Recorder(coordinator, number, watch.flushed, flush_seconds) as recorder:
        watch.recorder = recorder
        on_start(recorder)
        if (reason := coordinator.cancelled()) is not None:
            log.warning("batch %s does not start: %s", number, reason)
            recorder.stop.set()
        else:
            _keep_items(coordinator, batch, options, resources)
            kind = BatchRunner if options.per == "batch" else Runner
            runner = kind(
                function,
                recorder,
                batch=number,
                arguments=arguments,
                retry=options.retry,
                concurrency=options.item_concurrency,
                pace=_pace(options, plan, max_active),
                results=options.results is not None,
                flatten=options.flatten,
                on_retry=lambda attempt, wait, error: telemetry.emit(
                    "flowstone.scatter.item.retry",
                    {"attempt": attempt, "wait": wait},
                    {**about_batch, "error": error},
                ),
            )
            runner.run(lines() if not done else (line for line in lines() if index_of(line) not in done))
    summary = close_batch(
        coordinator,
        batch,
        lines(),
        options.results,
        flatten=options.flatten,
        in_order=recorder.generation if _in_order(options, done, recorder, batch) else None,
    )
    telemetry.emit(
        "flowstone.scatter.batch.stop",
        {
            "succeeded": summary.succeeded,
            "failed": summary.failed,
            "pending": summary.pending,
            "seconds": time.monotonic() - started,
        },
        about_batch,
    )
    return summary


def _in_order(options: ScatterOptions, done: set[int], recorder: Recorder, batch: Batch) -> bool:
    """Whether the outcomes just recorded are one success for each item, in item order, and the results as they are."""
    complete = not done and recorder.failed == 0 and recorder.done == batch.items
    return complete and options.item_concurrency == 1 and options.results != "parquet" and not options.flatten


def _succeeded(coordinator: ScatterCoordinator, number: int) -> set[int]:
    latest = {index_of(line): is_success(line) for line in coordinator.outcomes(number)}
    return {index for index, success in latest.items() if success}


def _pace(options: ScatterOptions, plan: Plan, max_active: int | None) -> Pace | None:
    if options.rate_limit is None:
        return None
    bounds = [len(plan.batches), *(bound for bound in (options.max_active_batches, max_active) if bound)]
    return Pace(share(options.rate_limit.per_second, min(bounds)))


class _Watch:
    """Looks up from the work after each write: says how far it is, and whether to stop."""

    def __init__(
        self,
        coordinator: ScatterCoordinator,
        plan: Plan,
        options: ScatterOptions,
        about: dict[str, Any],
        number: int,
        todo: int | None,
    ) -> None:
        self.recorder: Recorder | None = None
        self._coordinator = coordinator
        self._options = options
        self._plan = plan
        self._about = about
        self._number = number
        self._todo = todo
        self._started = self._said = time.monotonic()
        self._failed = 0

    def flushed(self, done: int, failed: int) -> None:
        """After a write: ``done`` outcomes are recorded by this try, ``failed`` of them failures."""
        now = time.monotonic()
        seconds = now - self._started
        if done:
            telemetry.emit(
                "flowstone.scatter.batch.progress",
                {"done": done, "failed": failed, "seconds": seconds},
                {**self._about, "batch": self._number},
            )
        if now - self._said >= _PROGRESS_EVERY:
            self._said = now
            log.info("batch %s: %s", self._number, progress(done, failed, self._todo, seconds))
        if not self._options.early_stop:
            return
        if failed > self._failed:
            self._failed = failed
            self._judge()
        if self.recorder is not None and not self.recorder.stop.is_set():
            reason = self._coordinator.cancelled()
            if reason is not None:
                log.warning("batch %s stops: %s", self._number, reason)
                self.recorder.stop.set()

    def _judge(self) -> None:
        failures = self._coordinator.failures()
        allowed = self._options.tolerance.allowed(self._plan.items)
        if allowed is not None and failures > allowed and self._coordinator.cancelled() is None:
            reason = f"{failures} items failed, the tolerance is {self._options.tolerance}"
            self._coordinator.cancel(reason)
            telemetry.emit("flowstone.scatter.cancel", {"failed": failures}, {**self._about, "reason": reason})


def progress(done: int, failed: int, todo: int | None, seconds: float) -> str:
    """How far a batch is, e.g. ``"480 of 2,000 done, 2 failed, 48/s, 31 s to go"``."""
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{done:,}{f' of {todo:,}' if todo is not None else ''} done, {failed:,} failed, {rate:,.1f}/s"
    if todo is not None and rate > 0:
        text += f", {(todo - done) / rate:,.0f} s to go"
    return text


def own_failure(summary: BatchSummary, plan: Plan, options: ScatterOptions) -> FlowstoneError | None:
    """The error of a batch whose own failures already exceed the tolerance."""
    allowed = options.tolerance.allowed(plan.items)
    if allowed is None or summary.failed <= allowed:
        return None
    counts = {"total": summary.items, "failed": summary.failed, "pending": summary.pending}
    return exceeded(f"batch {summary.number}", counts, merge_errors([summary]), options.tolerance)
