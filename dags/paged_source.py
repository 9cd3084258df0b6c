"""Items from a function of your own: a service that gives its records page by page."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, load, source

AIRPORTS = Path(__file__).parent / "data" / "airports.csv"


# [START pages]
def list_airports(start: int, limit: int) -> list[dict[str, str]]:
    """Stands for a call of a service: the records from one number on, at most so many."""
    with AIRPORTS.open(newline="", encoding="utf-8") as file:
        return list(islice(csv.DictReader(file), start, start + limit))


def all_airports(checkpoint: dict[str, Any] | None) -> Iterator[tuple[list[dict[str, str]], dict[str, Any]]]:
    """Pages of airports, from the start or from a checkpoint on."""
    start = checkpoint["start"] if checkpoint else 0
    while page := list_airports(start, limit=500):
        start += len(page)
        yield page, {"start": start}  # the checkpoint that resumes after this page


# [END pages]


@dag(schedule=None, tags=["flowstone"])
def paged_source():
    """How far each airport is from New York."""

    # [START function_reader]
    @task.scatter(
        items=source("function", function=all_airports),
        select=["faa", "lat", "lon"],
        batching=Batching(max_items=500),
    )
    def distance(airport: dict[str, str]) -> dict[str, Any]:
        """Great-circle distance from JFK in km."""
        lat, lon, jfk_lat, jfk_lon = map(radians, (float(airport["lat"]), float(airport["lon"]), 40.6398, -73.7789))
        chord = sin((lat - jfk_lat) / 2) ** 2 + cos(lat) * cos(jfk_lat) * sin((lon - jfk_lon) / 2) ** 2
        return {"airport": airport["faa"], "km": round(2 * 6371 * asin(sqrt(chord)))}

    # [END function_reader]

    @task
    def report(distances: dict[str, Any]) -> list[dict[str, Any]]:
        return sorted(load(distances), key=lambda each: each["km"])[-3:]

    report(distance())


paged_source()
