"""Failures within the tolerance: a tenth of the observations lack their pressure, and the run goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, Tolerance, load, source

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"


@dag(schedule=None, tags=["flowstone"])
def tolerate():
    """Pressure in inches of mercury."""

    # [START tolerance]
    @task.scatter(
        items=source("csv", path=str(OBSERVATIONS)),
        select={"airport": "origin", "time": "time_hour", "mbar": "pressure"},
        batching=Batching(max_items=5_000),
        tolerance=Tolerance(count=5_000, percent=12.5),  # the scatter fails when either is exceeded
    )
    def convert(reading: dict[str, str]) -> float:
        return round(float(reading["mbar"]) * 0.02953, 2)

    # [END tolerance]

    # [START failures]
    @task
    def report(converted: dict[str, Any]) -> dict[str, Any]:
        results = load(converted)
        for error in results.errors():
            print(f"{error['count']:,} × {error['signature']}, for the first time at item {error['index']}")
        return {
            "mean": round(sum(results) / len(results), 2),
            "missing": Counter(failure["item"]["airport"] for failure in results.failures()),
        }

    # [END failures]

    report(convert())


tolerate()
