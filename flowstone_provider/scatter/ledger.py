"""The ledger: the default coordinator, on any filesystem.

One folder a scatter, ``<dag>/<run>/<scatter>/``::

    plan/00012.jsonl                      the items of batch 12, unless it reads a file that tells when it changed
    plan/checkpoint.json                  reader checkpoint and counters, written after the batches it covers
    plan/sealed.json                      the batches; its presence says that planning is complete
    outcomes/00012/0002-4f1a9c2e-00003.jsonl   the third part of the second try of batch 12
    outcomes/00012/summary.json           what became of batch 12, and which parts that was read from
    failures/<epoch>/00012-0002-4f1a9c2e-00017   empty; batch 12 had 17 failures in its second try
    cancelled/<epoch>.json                why the batches should stop
    SUCCEEDED_12.jsonl  FAILED_12.jsonl  PENDING_12.jsonl
    manifest.json                         names those files; closes an epoch
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import orjson

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.contracts.scatter import (
    Barrier,
    Batch,
    BatchSummary,
    Plan,
    Progress,
    ScatterCoordinator,
    ScatterStatus,
)
from flowstone_provider.errors import LedgerError, NotPlannedError
from flowstone_provider.folders import list_names, segment
from flowstone_provider.store import (
    copy_whole,
    exists,
    read_or_none,
    read_whole,
    uri_of,
    write_first,
    write_stream,
    write_whole,
)

LAYOUT = 1
"""Version of the layout above; written into the sealed plan and the manifest."""


class LedgerCoordinator(ScatterCoordinator):
    """Keeps a scatter in files."""

    def open(self, barrier: Barrier) -> Progress:
        """See `ScatterCoordinator.open`."""
        return self.attach(
            self.storage / segment(barrier.dag_id) / segment(barrier.run_id) / segment(barrier.scatter_id)
        )

    def attach(self, folder: Any) -> Progress:
        """As `open`, by the scatter's folder."""
        self.folder = folder
        sealed = read_or_none(self.folder / "plan" / "sealed.json")
        if sealed is not None:
            return Progress(plan=_plan(self._parse(sealed, "plan/sealed.json")))
        saved = read_or_none(self.folder / "plan" / "checkpoint.json")
        return Progress(checkpoint=None if saved is None else self._parse(saved, "plan/checkpoint.json"))

    @property
    def uri(self) -> str:
        """See `ScatterCoordinator.uri`."""
        return uri_of(self.folder)

    # --- the plan

    def add_batch(self, number: int, lines: Sequence[bytes]) -> None:
        """See `ScatterCoordinator.add_batch`."""
        write_whole(self._batch(number), b"".join(lines))

    def keep_batch(self, number: int, lines: Sequence[bytes]) -> None:
        """See `ScatterCoordinator.keep_batch`."""
        write_first(self._batch(number), b"".join(lines))

    def has_batch(self, number: int) -> bool:
        """See `ScatterCoordinator.has_batch`."""
        return exists(self._batch(number))

    def checkpoint(self, state: dict[str, Any]) -> None:
        """See `ScatterCoordinator.checkpoint`."""
        write_whole(self.folder / "plan" / "checkpoint.json", orjson.dumps(state))

    def seal(self, plan: Plan) -> None:
        """See `ScatterCoordinator.seal`."""
        batches = [
            {"number": b.number, "first": b.first, "items": b.items}
            | ({"reader": b.reader.model_dump()} if b.reader else {})
            for b in plan.batches
        ]
        sealed = {"layout": LAYOUT, "items": plan.items, "batches": batches}
        write_whole(self.folder / "plan" / "sealed.json", orjson.dumps(sealed))

    def batch_uri(self, number: int) -> str:
        """See `ScatterCoordinator.batch_uri`."""
        return uri_of(self._batch(number))

    def lines(self, number: int) -> Iterator[bytes]:
        """See `ScatterCoordinator.lines`."""
        try:
            return _lines(read_whole(self._batch(number)))
        except FileNotFoundError:
            raise LedgerError(
                f"the items of batch {number} are gone: {self._batch(number)} does not exist; is [flowstone] storage "
                "shared between all workers?"
            ) from None

    def _batch(self, number: int) -> Any:
        return self.folder / "plan" / f"{number:05d}.jsonl"

    # --- outcomes

    def begin(self, number: int) -> str:
        """See `ScatterCoordinator.begin`."""
        tries = [int(name.partition("-")[0]) for name in self._parts(number)]
        # Two processes may run the same try for a moment, when Airflow takes one for dead: hence the random part.
        generation = f"{max(tries, default=0) + 1:04d}-{uuid.uuid4().hex[:8]}"
        self._mark(number, generation, 0)
        return generation

    def record(self, number: int, generation: str, lines: Sequence[bytes], failed: int) -> None:
        """See `ScatterCoordinator.record`."""
        part = self._next_part.get(generation, 0)
        write_whole(self._outcomes(number) / f"{generation}-{part:05d}.jsonl", b"".join(lines))
        self._next_part[generation] = part + 1
        self._mark(number, generation, failed)

    @cached_property
    def _next_part(self) -> dict[str, int]:
        return {}

    def outcomes(self, number: int) -> Iterator[bytes]:
        """See `ScatterCoordinator.outcomes`."""
        for name in self._parts(number):
            yield from _lines(read_whole(self._outcomes(number) / name))

    def write_outcomes(self, name: str, number: int, generation: str) -> str:
        """See `ScatterCoordinator.write_outcomes`."""
        parts = [self._outcomes(number) / part for part in self._parts(number) if part.startswith(f"{generation}-")]
        if len(parts) == 1:
            copy_whole(parts[0], self.folder / name)
        else:
            write_stream(self.folder / name, map(read_whole, parts))
        return name

    def _outcomes(self, number: int) -> Any:
        return self.folder / "outcomes" / f"{number:05d}"

    def _parts(self, number: int) -> list[str]:
        return [name for name in list_names(self._outcomes(number)) if name.endswith(".jsonl")]

    # --- failures so far, and the wish to stop

    @cached_property
    def _epoch(self) -> int:
        """How many times the scatter was gathered: what failed before then does not stop anybody now."""
        manifest = read_or_none(self.folder / "manifest.json")
        return 0 if manifest is None else int(self._parse(manifest, "manifest.json")["epoch"]) + 1

    def _mark(self, number: int, generation: str, failed: int) -> None:
        """The count is in the name, so that one listing tells all."""
        marked = self._marked.get(generation)
        if marked == failed or (marked is None and failed == 0 and generation.startswith("0001-")):
            return
        folder = self.folder / "failures" / f"{self._epoch:05d}"
        write_whole(folder / f"{number:05d}-{generation}-{failed:09d}", b"")
        self._marked[generation] = failed

    @cached_property
    def _marked(self) -> dict[str, int]:
        return {}

    def failures(self) -> int:
        """See `ScatterCoordinator.failures`."""
        latest: dict[str, int] = {}
        for name in list_names(self.folder / "failures" / f"{self._epoch:05d}"):
            batch, _, rest = name.partition("-")
            latest[batch] = int(rest.rpartition("-")[2])  # sorted by try, then count
        return sum(latest.values())

    def cancel(self, reason: str) -> None:
        """See `ScatterCoordinator.cancel`."""
        write_whole(self._cancelled(), orjson.dumps({"reason": reason}))

    def cancelled(self) -> str | None:
        """See `ScatterCoordinator.cancelled`."""
        saved = read_or_none(self._cancelled())
        return None if saved is None else str(self._parse(saved, self._cancelled())["reason"])

    def _cancelled(self) -> Any:
        return self.folder / "cancelled" / f"{self._epoch:05d}.json"

    # --- summaries and the manifest

    def close_batch(self, summary: BatchSummary) -> None:
        """See `ScatterCoordinator.close_batch`."""
        kept = {"parts": self._parts(summary.number), **asdict(summary)}
        write_whole(self._outcomes(summary.number) / "summary.json", orjson.dumps(kept))

    def summaries(self) -> dict[int, BatchSummary]:
        """See `ScatterCoordinator.summaries`."""
        parts: dict[int, list[str]] = {}
        closed = []
        for path in list_names(self.folder / "outcomes"):
            batch, _, name = path.partition("/")
            if name == "summary.json":
                closed.append(int(batch))
            elif name.endswith(".jsonl"):
                parts.setdefault(int(batch), []).append(name)
        summaries = {}
        for number in closed:
            kept = self._parse(read_whole(self._outcomes(number) / "summary.json"), f"summary of batch {number}")
            if kept.pop("parts") == parts.get(number, []):
                summaries[number] = BatchSummary(**kept)
        return summaries

    def status(self) -> ScatterStatus:
        """See `ScatterCoordinator.status`."""
        sealed = read_or_none(self.folder / "plan" / "sealed.json")
        plan = None if sealed is None else _plan(self._parse(sealed, "plan/sealed.json"))
        summaries = self.summaries()
        succeeded = sum(summary.succeeded for summary in summaries.values())
        failed = sum(summary.failed for summary in summaries.values())
        started = {int(path.partition("/")[0]) for path in list_names(self.folder / "outcomes")}
        for number in started - summaries.keys():
            latest = {index_of(line): is_success(line) for line in self.outcomes(number)}
            succeeded += sum(latest.values())
            failed += len(latest) - sum(latest.values())
        return ScatterStatus(
            sealed=plan is not None,
            batches=len(plan.batches) if plan else 0,
            items=plan.items if plan else None,
            succeeded=succeeded,
            failed=failed,
            cancelled=self.cancelled(),
        )

    def write(self, name: str, chunks: Iterable[bytes]) -> str:
        """See `ScatterCoordinator.write`."""
        write_stream(self.folder / name, chunks)
        return name

    def gather(self, manifest: dict[str, Any]) -> str:
        """See `ScatterCoordinator.gather`."""
        path = self.folder / "manifest.json"
        write_whole(
            path, orjson.dumps({**manifest, "layout": LAYOUT, "epoch": self._epoch}, option=orjson.OPT_INDENT_2)
        )
        return uri_of(path)

    def _parse(self, data: bytes, name: object) -> dict[str, Any]:
        try:
            value: dict[str, Any] = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise LedgerError(f"{name} in {self.folder} is damaged: {error}") from error
        return value


def _plan(sealed: dict[str, Any]) -> Plan:
    if sealed["layout"] != LAYOUT:
        raise NotPlannedError(
            f"the plan was made by another version of this package (ledger layout {sealed['layout']}, here {LAYOUT})"
        )
    batches = tuple(
        Batch(b["number"], b["first"], b["items"], ReaderSpec(**b["reader"]) if "reader" in b else None)
        for b in sealed["batches"]
    )
    return Plan(batches=batches, items=sealed["items"])


def _lines(data: bytes) -> Iterator[bytes]:
    # One after the other: `splitlines` makes them all at once, which takes ten times as long and twice the memory.
    return io.BytesIO(data)


def index_of(line: bytes) -> int:
    """The index of an outcome line, without parsing the rest."""
    return int(line[9 : line.index(b",", 9)])


def is_success(line: bytes) -> bool:
    """Whether an outcome line, which starts with its index and status, is one of a success."""
    return line.startswith(b',"status":"s', line.index(b",", 9))
