"""A run with scatters, seen from outside: through the API, and in the ledger's files."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster
from tests.support.processes import wait_until


class Run:
    """A run of a DAG with scatters.

    Args:
        airflow: Where.
        dag_id: Of which DAG; in the cluster already.
        folder: The run's own; its functions are told of it by the run's conf.
        conf: More of the run's conf.
    """

    def __init__(self, airflow: Cluster, dag_id: str, folder: Path, **conf: Any):
        folder.mkdir(exist_ok=True)
        self.airflow, self.dag_id, self.folder = airflow, dag_id, folder
        self.run_id = airflow.trigger(dag_id, conf={"folder": str(folder), **conf})

    def end(self, timeout: float = 240) -> str:
        """The run's state once it has ended."""
        return self.airflow.wait_run(self.dag_id, self.run_id, timeout=timeout)

    def tasks(self, task_id: str = "") -> list[dict[str, Any]]:
        """The instances of a task, or of all."""
        found = self.airflow.task_instances(self.dag_id, self.run_id)
        return [ti for ti in found if task_id in ("", ti["task_id"])]

    def outcomes(self, task_id: str) -> list[tuple[str, int]]:
        """State and number of tries of each instance of a task."""
        return [(ti["state"], ti["try_number"]) for ti in self.tasks(task_id)]

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key=key)

    def log(self, task_id: str, map_index: int = -1) -> str:
        return self.airflow.logs(self.dag_id, self.run_id, task_id, map_index)

    def clear(self, *tasks: tuple[str, int]) -> None:
        """Clear these and what comes after them."""
        self.airflow.clear(self.dag_id, self.run_id, tasks, include_downstream=True)

    # What the functions wrote down

    def notes(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def calls(self) -> list[tuple[int, int]]:
        """What was called, in which process."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [(int(what), int(pid)) for what, pid in map(str.split, lines)]

    def count(self) -> Counter[int]:
        """How often each thing was called."""
        return Counter(what for what, _ in self.calls())

    def wait_call(self, what: int, timeout: float = 60) -> int:
        """Wait until it is called; the process that did."""
        pids = wait_until(
            lambda: [pid for called, pid in self.calls() if called == what],
            timeout=timeout,
            what=f"{what} was not called, only {self.count()}",
        )
        return pids[-1]

    # The ledger

    def ledger(self, scatter: str) -> Path:
        return self.airflow.storage / self.dag_id / self.run_id / scatter

    def manifest(self, scatter: str) -> dict[str, Any]:
        return json.loads((self.ledger(scatter) / "manifest.json").read_text())

    def lines(self, scatter: str, kind: str) -> list[dict[str, Any]]:
        """The lines of the succeeded, failed or pending files that the manifest names."""
        files = [self.ledger(scatter) / file["name"] for file in self.manifest(scatter)["files"][kind]]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def indexes(self, scatter: str, kind: str) -> list[int]:
        """The items of these files."""
        return [line["index"] for line in self.lines(scatter, kind)]


def most_at_once(instances: list[dict[str, Any]]) -> int:
    """How many of these task instances ran at one time, at most."""
    events = []
    for ti in instances:
        start, end = (datetime.fromisoformat(ti[name].replace("Z", "+00:00")) for name in ("start_date", "end_date"))
        events += [(start, 1), (end, -1)]
    running = most = 0
    for _, change in sorted(events):  # of two at one moment, the end comes first
        running += change
        most = max(most, running)
    return most
