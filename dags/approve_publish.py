"""The mean pressure at each airport: published at once, or after an approval when too many readings are missing.

Give the run ``{"tolerated": 0.05}`` to be asked, under Required Actions.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import load, wait_for_approval

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"
TOLERATED = Param(0.15, type="number", minimum=0, maximum=1, description="The share of readings that may be missing.")


# [START approve_publish]
@dag(schedule=None, tags=["flowstone"], params={"tolerated": TOLERATED})
def approve_publish():
    """A tenth of the readings of 2013 is missing."""

    @task.materialize(asset="nyc/pressure_draft")
    def draft() -> dict[str, Any]:
        readings: dict[str, list[float]] = defaultdict(list)
        missing = total = 0
        with gzip.open(OBSERVATIONS, "rt", newline="") as file:
            for row in csv.DictReader(file):
                total += 1
                if row["pressure"] == "NA":
                    missing += 1
                else:
                    readings[row["origin"]].append(float(row["pressure"]))
        means = {airport: round(fmean(of), 1) for airport, of in readings.items()}
        return {"mbar": means, "missing": round(missing / total, 3)}

    @task.approval(asset="nyc/pressure_draft", response_timeout=timedelta(days=2))
    def check(draft: dict[str, Any], params: dict[str, Any]) -> str:
        found = load(draft)
        if found["missing"] > params["tolerated"]:
            means = "\n".join(f"- {airport}: {mbar} mbar" for airport, mbar in found["mbar"].items())
            wait_for_approval(f"Publish, with {found['missing']:.0%} missing?", body=means)
        return "few are missing"

    @task.materialize(asset="nyc/pressure")
    def publish(draft: dict[str, Any], checked: Any) -> dict[str, Any]:
        print(f"published, because: {checked}")
        return draft["mbar"]

    @task
    def report(published: dict[str, Any]) -> dict[str, float]:
        return load(published)

    drafted = draft()
    report(publish(drafted, check(drafted)))


# [END approve_publish]

approve_publish()
