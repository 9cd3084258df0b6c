"""A function of whole batches: the sharpest fall of temperature within an hour at each of New York's airports."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, load, source

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"


@dag(schedule=None, tags=["flowstone"])
def batching():
    """Each observation is compared with the one before it, so those of an airport must come together."""

    # [START group_by]
    @task.scatter(
        items=source("csv", path=str(OBSERVATIONS)),
        select=["origin", "time_hour", "temp"],
        batching=Batching(group_by="origin", max_items=1),  # a group is never torn apart: one batch an airport
        per="batch",
    )
    def change(observations: list[dict[str, str]]) -> list[dict[str, Any]]:
        """One result for each observation: by how many °F the temperature changed since the one before."""
        changes = [None]
        for before, now in pairwise(observations):
            complete = "NA" not in (before["temp"], now["temp"])
            changes.append(round(float(now["temp"]) - float(before["temp"]), 2) if complete else None)
        return [
            {"airport": now["origin"], "time": now["time_hour"], "change": by}
            for now, by in zip(observations, changes, strict=True)
        ]

    # [END group_by]

    @task
    def report(changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
        sharpest: dict[str, dict[str, Any]] = {}
        for result in load(changed):
            if result["change"] is not None:
                least = sharpest.setdefault(result["airport"], result)
                sharpest[result["airport"]] = min(least, result, key=lambda each: each["change"])
        return sharpest

    report(change())


batching()
