"""Closing a batch: its outcomes, in item order, into the files that the manifest names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from flowstone_provider.contracts.scatter import Batch, BatchSummary, ScatterCoordinator
from flowstone_provider.scatter.ledger import index_of, is_success
from flowstone_provider.scatter.options import ResultsFormat
from flowstone_provider.scatter.parquet import parquet

# Signatures of errors kept per batch; the rest is counted as one.
_SIGNATURES = 50

_OTHERS = "other errors"


def latest_outcomes(coordinator: ScatterCoordinator, number: int) -> dict[int, bytes]:
    """The outcome line of each index of a batch that has one: of two the later."""
    return {index_of(line): line for line in coordinator.outcomes(number)}


def close_batch(
    coordinator: ScatterCoordinator,
    batch: Batch,
    item_lines: Iterable[bytes],
    results: ResultsFormat,
    *,
    flatten: bool = False,
    in_order: str | None = None,
    assume_succeeded: bool = False,
) -> BatchSummary:
    """Write ``SUCCEEDED_n``, ``FAILED_n`` and ``PENDING_n`` of a batch and keep its summary.

    Args:
        coordinator: Keeps the outcomes.
        batch: The batch.
        item_lines: All item lines of the batch, in order.
        results: The format of the results.
        flatten: Results are lists; each element is written on its own.
        in_order: A try in which every item succeeded, one after the other. Its outcomes then are the results file, and
            need not be looked at; for JSON Lines that are not flattened.
        assume_succeeded: Items without outcome count as succeeded: another operator than ours ran the batch, and its
            task instance succeeded.

    Raises:
        ResultsError: The results cannot be written as Parquet.
    """
    summary = BatchSummary(number=batch.number, results=results, flatten=flatten)

    def keep(kind: str, lines: Callable[[], Iterable[bytes]], items: int) -> None:
        if not items:
            return
        name = f"{kind.upper()}_{batch.number}.jsonl"
        if kind == "succeeded" and results == "parquet":
            name = coordinator.write(name.replace("jsonl", "parquet"), parquet(lines, flatten, batch.number))
        elif kind == "succeeded" and flatten:
            coordinator.write(name, flattened(lines()))
        elif kind == "succeeded" and in_order is not None:
            coordinator.write_outcomes(name, batch.number, in_order)
        else:
            coordinator.write(name, lines())
        summary.files[kind] = {"name": name, "items": items}
        if kind == "succeeded":
            rows = sum(len(orjson.loads(line)["result"]) for line in lines()) if flatten else items
            summary.files[kind]["rows"] = rows

    if in_order is not None and batch.items is not None:
        summary.items = summary.succeeded = batch.items
        keep("succeeded", tuple, batch.items)
        coordinator.close_batch(summary)
        return summary

    latest = latest_outcomes(coordinator, batch.number)
    pending: list[bytes] = []
    succeeded: list[int] = []
    failed: list[bytes] = []
    for item_line in item_lines:
        index = index_of(item_line)
        line = latest.get(index)
        if line is None and assume_succeeded:
            line = latest[index] = b'{"index":%d,"status":"succeeded"}\n' % index
        if line is None:
            pending.append(item_line)
        elif is_success(line):
            succeeded.append(index)
        else:
            failed.append(line)
            _count_error(summary, orjson.loads(line))
    summary.succeeded, summary.failed, summary.pending = len(succeeded), len(failed), len(pending)
    summary.items = summary.succeeded + summary.failed + summary.pending
    keep("succeeded", lambda: (latest[index] for index in succeeded), len(succeeded))
    keep("failed", lambda: failed, len(failed))
    keep("pending", lambda: pending, len(pending))
    coordinator.close_batch(summary)
    return summary


# What differs between two messages of one error: numbers and addresses.
_PARTICULARS = re.compile(r"0x[0-9a-fA-F]+|[0-9]+(?:[.,][0-9]+)*")


def signature(kind: str, message: str) -> str:
    """What makes two errors the same one: the type, and the first line of the message without its particulars."""
    return f"{kind}: {_PARTICULARS.sub('#', message.partition(chr(10))[0][:200])}"


def _count_error(summary: BatchSummary, outcome: dict[str, Any]) -> None:
    error = outcome["error"]
    name = signature(error["type"], error["message"])
    if name not in summary.errors and len(summary.errors) >= _SIGNATURES:
        name = _OTHERS
    entry = summary.errors.setdefault(name, {"count": 0, "index": outcome["index"], "message": error["message"][:500]})
    entry["count"] += 1


def merge_errors(summaries: Iterable[BatchSummary]) -> list[dict[str, Any]]:
    """Errors of all batches by signature, the most frequent first."""
    merged: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        for name, entry in summary.errors.items():
            known = merged.setdefault(name, {"signature": name, **entry, "count": 0})
            known["count"] += entry["count"]
    return sorted(merged.values(), key=lambda entry: (-entry["count"], entry["index"]))


def flattened(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Outcome lines whose results are lists, as one line for each element."""
    for line in lines:
        outcome = orjson.loads(line)
        for element in outcome["result"]:
            yield orjson.dumps({**outcome, "result": element}) + b"\n"
