"""The gather: reconcile the ledger with the plan, judge, write the manifest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from flowstone_provider import telemetry
from flowstone_provider.contracts.scatter import Barrier, Batch, Plan, ScatterCoordinator
from flowstone_provider.errors import ToleranceExceededError
from flowstone_provider.scatter.options import ScatterOptions, Tolerance
from flowstone_provider.scatter.results import close_batch, merge_errors

log = logging.getLogger(__name__)

MANIFEST_VERSION = 1

REFERENCE_KEY = "flowstone"
"""The key that tells a result reference from any other dict; its value is what kind of reference it is."""


def gather(
    coordinator: ScatterCoordinator,
    barrier: Barrier,
    plan: Plan,
    options: ScatterOptions,
    item_lines: Callable[[Batch], Iterator[bytes]],
    succeeded_batches: frozenset[int] | None = None,
) -> dict[str, Any]:
    """Close a scatter: every item of the plan is succeeded, failed or pending.

    Args:
        coordinator: Open.
        barrier: Which scatter.
        plan: The sealed plan.
        options: The scatter's.
        item_lines: All item lines of a batch.
        succeeded_batches: Given when another operator than ours ran the batches: those whose task instance succeeded,
            and so did their items.

    Returns:
        The result reference, which also holds the verdict's numbers.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    started = time.monotonic()
    summaries = coordinator.summaries()
    said = started
    for batch in plan.batches:
        summary = summaries.get(batch.number)
        # A batch that crashed or never ran left no summary: its ledger tells. What another operator did may have
        # changed since the last gather, and the DAG may want results otherwise than when the batch ran.
        if (
            summary is None
            or (summary.results, summary.flatten) != (options.results, options.flatten)
            or succeeded_batches is not None
        ):
            summaries[batch.number] = close_batch(
                coordinator,
                batch,
                item_lines(batch),
                options.results,
                flatten=options.flatten,
                assume_succeeded=batch.number in (succeeded_batches or ()),
            )
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            log.info("gathered %s of %s batches", batch.number + 1, len(plan.batches))
    ordered = [summaries[batch.number] for batch in plan.batches]
    counts = {
        "total": sum(summary.items for summary in ordered),
        "succeeded": sum(summary.succeeded for summary in ordered),
        "failed": sum(summary.failed for summary in ordered),
        "pending": sum(summary.pending for summary in ordered),
    }
    errors = merge_errors(ordered)
    not_succeeded = counts["failed"] + counts["pending"]
    allowed = options.tolerance.allowed(counts["total"])
    verdict = "succeeded" if allowed is None or not_succeeded <= allowed else "exceeded"
    uri = coordinator.gather(
        {
            "version": MANIFEST_VERSION,
            "dag_id": barrier.dag_id,
            "run_id": barrier.run_id,
            "scatter": barrier.scatter_id,
            "gathered_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "verdict": verdict,
            "tolerance": str(options.tolerance),
            "counts": counts,
            "batches": len(ordered),
            "results": options.results,
            "files": {
                kind: [summary.files[kind] for summary in ordered if kind in summary.files]
                for kind in ("succeeded", "failed", "pending")
            },
            "errors": errors,
        }
    )
    telemetry.emit(
        "flowstone.scatter.gather.stop",
        {
            "items": counts["total"],
            **{kind: counts[kind] for kind in ("succeeded", "failed", "pending")},
            "batches": len(ordered),
            "seconds": time.monotonic() - started,
        },
        {
            "dag_id": barrier.dag_id,
            "run_id": barrier.run_id,
            "scatter_id": barrier.scatter_id,
            "verdict": verdict,
        },
    )
    return {
        REFERENCE_KEY: "scatter",
        "manifest": uri,
        "results": options.results,
        "verdict": verdict,
        "counts": counts,
        "batches": len(ordered),
        "errors": errors[:3],
    }


def exceeded(
    what: str,
    counts: dict[str, int],
    errors: Iterable[dict[str, Any]],
    tolerance: Tolerance,
    manifest: str | None = None,
) -> ToleranceExceededError:
    """The error of a scatter, or of a batch, in which more went wrong than is allowed."""
    not_succeeded = counts["failed"] + counts["pending"]
    top = [f"{entry['count']:,} × {entry['signature']} (item {entry['index']})" for entry in list(errors)[:3]]
    lines = [
        f"{what}: {not_succeeded:,} of {counts['total']:,} items did not succeed ({counts['failed']:,} failed, "
        f"{counts['pending']:,} pending); the tolerance is {tolerance}",
        *(["most frequent errors: " + "; ".join(top)] if top else []),
        *([f"manifest: {manifest}"] if manifest else []),
    ]
    return ToleranceExceededError(". ".join(lines), counts=counts, errors=top, manifest=manifest)
