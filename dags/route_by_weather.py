"""Each airport of New York goes its own way: how a day's weather is told depends on what it was like."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any, Literal

from airflow.sdk import Param, dag, task, task_group

from flowstone_provider import fallback, merge

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"


@dag(schedule=None, tags=["flowstone"], params={"day": Param("2013-11-18", format="date")})
def route_by_weather():
    """One sentence about each airport."""

    @task
    def observe(airport: str, params: dict[str, Any]) -> dict[str, Any]:
        with gzip.open(OBSERVATIONS, "rt") as lines:
            hours = [row for row in csv.DictReader(lines) if row["origin"] == airport]
        day = [row for row in hours if row["time_hour"].startswith(params["day"])]
        return {"airport": airport, **{name: [row[name] for row in day] for name in ("temp", "wind_speed", "visib")}}

    # [START route]
    @task.route(on_error=fallback("unknown"))
    def kind(observed: dict[str, Any]) -> Literal["stormy", "foggy", "fair", "unknown"]:
        if min(map(float, observed["visib"])) < 1:  # miles; raises when there is no observation, or an "NA" in it
            return "stormy" if max(map(float, observed["wind_speed"])) > 25 else "foggy"
        return "fair"

    # [END route]

    @task
    def stormy(observed: dict[str, Any]) -> str:
        return f"{observed['airport']}: a storm of {max(map(float, observed['wind_speed'])):.0f} mph"

    @task
    def foggy(observed: dict[str, Any]) -> str:
        return f"{observed['airport']}: one could see for {min(map(float, observed['visib']))} miles only"

    @task
    def fair(observed: dict[str, Any]) -> str:
        return f"{observed['airport']}: fair, up to {max(map(float, observed['temp'])):.0f} °F"

    @task
    def unknown(observed: dict[str, Any]) -> str:
        return f"{observed['airport']}: nobody knows"

    # [START mapped]
    @task_group
    def airport(airport: str) -> Any:
        observed = observe(airport)
        branches = [stormy(observed), foggy(observed), fair(observed), unknown(observed)]
        kind(observed) >> branches
        return merge(*branches, task_id="sentence")

    sentences = airport.expand(airport=["EWR", "JFK", "LGA"])
    # [END mapped]

    @task
    def report(sentences: list[str]) -> list[str]:
        print(*sentences, sep="\n")
        return list(sentences)

    report(sentences)


route_by_weather()
