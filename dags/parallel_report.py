"""New York's weather from two branches: the readings, and the names of the airports if they come in time."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from statistics import fmean

from airflow.sdk import dag, task

from flowstone_provider import BranchOutcome, ParallelTaskGroup

DATA = Path(__file__).parent / "data"


@task
def warmest_month() -> dict[str, dict[str, float]]:
    """The month with the highest mean temperature at each airport, in °C."""
    readings: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with gzip.open(DATA / "weather.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            if row["temp"] != "NA":
                readings[row["origin"]][int(row["month"])].append((float(row["temp"]) - 32) / 1.8)
    found = {}
    for airport, months in readings.items():
        celsius, month = max((fmean(values), month) for month, values in months.items())
        found[airport] = {"month": month, "celsius": round(celsius, 1)}
    return found


@task
def airports() -> dict[str, str]:
    """The names of the airports, by code."""
    with (DATA / "airports.csv").open() as file:
        return {row["faa"]: row["name"] for row in csv.DictReader(file)}


@task
def only_new_york(names: dict[str, str]) -> dict[str, str]:
    """Of the names those that the weather is of."""
    return {code: names[code] for code in ("EWR", "JFK", "LGA")}


# [START parallel_report]
@dag(schedule=None, tags=["flowstone"])
def parallel_report():
    """When it was warmest, per airport."""
    with ParallelTaskGroup("collect", failure_mode="partial") as collect:
        with collect.branch("weather"):
            warmest_month()
        with collect.branch("names", required=False, timeout=timedelta(minutes=5)):
            only_new_york(airports())

        @collect.join
        def combine(outcomes: dict[str, BranchOutcome]) -> dict[str, dict[str, float]]:
            # A required branch has succeeded when the join runs; of an optional one it asks.
            names = outcomes["names"].value if outcomes["names"].status == "succeeded" else {}
            return {names.get(code, code): warmest for code, warmest in outcomes["weather"].value.items()}

    @task
    def report(warmest: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for airport, found in sorted(warmest.items()):
            print(f"{airport}: month {found['month']}, {found['celsius']} °C")
        return warmest

    report(collect.output)


# [END parallel_report]

parallel_report()
