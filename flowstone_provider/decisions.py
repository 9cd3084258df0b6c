"""The default routing coordinator: decisions as files, ``<dag>/<run>/~routes/<router>/<map index>.json``.

They lie beside the scatters of the run; no scatter's id has the folder ``~routes``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from flowstone_provider.contracts.routing import Decision, RoutingCoordinator
from flowstone_provider.errors import LedgerError
from flowstone_provider.folders import list_folders, list_names, remove_file, segment
from flowstone_provider.store import exists, read_or_none, write_first

ROUTES = "~routes"
"""The folder in a run's."""


class LedgerDecisions(RoutingCoordinator):
    """Keeps decisions in files."""

    def find(self, dag_id: str, run_id: str, router: str, map_index: int = -1) -> Decision | None:
        """See `RoutingCoordinator.find`."""
        return _read(self._path(dag_id, run_id, router, map_index))

    def decide(self, decision: Decision) -> Decision:
        """See `RoutingCoordinator.decide`."""
        path = self._path(decision.dag_id, decision.run_id, decision.router, decision.map_index)
        write_first(path, orjson.dumps(decision))
        stands = _read(path)
        if stands is None:
            raise LedgerError(f"{path} was removed while {decision.router} decided: let the task try again")
        return stands

    def decisions(self, dag_id: str, run_id: str | None = None) -> Iterator[Decision]:
        """See `RoutingCoordinator.decisions`."""
        dag = self.storage / segment(dag_id)
        for run in list_folders(dag) if run_id is None else [dag / segment(run_id)]:
            found = (_read(run / ROUTES / name) for name in list_names(run / ROUTES))
            there = (decision for decision in found if decision is not None)  # or forgotten since it was listed
            yield from sorted(there, key=lambda decision: (decision.router, decision.map_index))

    def forget(self, dag_id: str, run_id: str, router: str, map_index: int = -1) -> bool:
        """See `RoutingCoordinator.forget`."""
        path = self._path(dag_id, run_id, router, map_index)
        there = exists(path)
        remove_file(path)
        return there

    def _path(self, dag_id: str, run_id: str, router: str, map_index: int) -> Any:
        return self.storage / segment(dag_id) / segment(run_id) / ROUTES / segment(router) / f"{map_index}.json"


def _read(path: Any) -> Decision | None:
    data = read_or_none(path)
    if data is None:
        return None
    try:
        kept = orjson.loads(data)
        return Decision(**{**kept, "available": tuple(kept["available"])})
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise LedgerError(
            f"the decision in {path} is damaged ({error}): remove the file, and the router decides anew"
        ) from error
