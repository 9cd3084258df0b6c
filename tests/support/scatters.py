"""A scatter without Airflow: plan, run and gather in this process, on a ledger in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from upath import UPath

from flowstone_provider import registry
from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.contracts.scatter import Barrier, BatchSummary, Plan
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.batch import item_lines, run_batch
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.manifest import gather
from flowstone_provider.scatter.options import ScatterOptions
from flowstone_provider.scatter.planner import make_plan

BARRIER = Barrier("dag", "run", "scatter")


class Scatter:
    """One scatter.

    Args:
        folder: Where the ledger is.
        items: A list, or a reader spec.
        **options: Of `ScatterOptions`.
    """

    def __init__(self, folder: Path, items: list[Any] | ReaderSpec = (), **options: Any) -> None:
        self.options = ScatterOptions(**options)
        self.storage = UPath(str(folder))
        self.spec = items if isinstance(items, ReaderSpec) else sequence(items)
        self.resources = LocalResources()

    @property
    def ledger(self) -> LedgerCoordinator:
        """A new coordinator, as another process would have."""
        coordinator = LedgerCoordinator(self.storage)
        coordinator.open(BARRIER)
        return coordinator

    def plan(self, limit: int = 1024, **kwargs: Any) -> Plan:
        """Run the plan."""
        coordinator = LedgerCoordinator(self.storage)
        progress = coordinator.open(BARRIER)
        reader = registry.create_reader(self.spec, self.resources)
        return make_plan(reader, self.options, coordinator, progress, limit=limit, resources=self.resources, **kwargs)

    def run(self, function: Callable[..., Any], number: int = 0, **kwargs: Any) -> BatchSummary:
        """Run one batch."""
        return run_batch(function, self.ledger, BARRIER, self.plan(), number, self.options, self.resources, **kwargs)

    def run_all(self, function: Callable[..., Any], **kwargs: Any) -> list[BatchSummary]:
        """Run every batch, one after the other."""
        return [self.run(function, batch.number, **kwargs) for batch in self.plan().batches]

    def gather(self, **kwargs: Any) -> dict[str, Any]:
        """Run the gather."""
        ledger, plan = self.ledger, self.plan()
        return gather(
            ledger,
            BARRIER,
            plan,
            self.options,
            lambda batch: item_lines(ledger, batch, self.options, self.resources),
            **kwargs,
        )

    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        return orjson.loads((self.folder / "manifest.json").read_bytes())

    @property
    def folder(self) -> Path:
        """The scatter's own folder."""
        return Path(str(self.storage)) / "dag" / "run" / "scatter"

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """The lines of all files that the manifest names under ``kind``."""
        return [
            orjson.loads(line)
            for file in self.manifest()["files"][kind]
            for line in (self.folder / file["name"]).read_bytes().splitlines()
        ]

    def outcomes(self, kind: str = "failed") -> list[dict[str, Any]]:
        """Gather, and give the `lines` of a kind."""
        self.gather()
        return self.lines(kind)

    def batches(self) -> list[list[Any]]:
        """The items of every batch."""
        ledger = self.ledger
        return [
            [orjson.loads(line)["item"] for line in item_lines(ledger, batch, self.options, self.resources)]
            for batch in self.plan().batches
        ]


def sequence(items: list[Any]) -> ReaderSpec:
    """A reader of a list."""
    return ReaderSpec(reader="sequence", options={"items": list(items)})
