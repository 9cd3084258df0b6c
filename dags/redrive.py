"""Run again, in a run of its own, what failed in an earlier one: by its manifest, and by the error."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import load, source


# [START redrive]
@dag(
    schedule=None,
    tags=["flowstone"],
    params={"manifest": Param(type="string", description="The manifest of a run of the DAG `weather`")},
)
def redrive():
    """The observations that lacked a reading, with a function that can live with that."""

    @task.scatter(
        items=source("manifest", uri="{{ params.manifest }}", status=["failed"], error="ValueError: could not convert*")
    )
    def observe(observation: dict[str, str]) -> dict[str, Any]:
        readings = {name: observation[name] for name in ("temp", "humid", "wind_speed")}
        return {
            "airport": observation["origin"],
            "time": observation["time_hour"],
            **{name: None if value == "NA" else float(value) for name, value in readings.items()},
        }

    @task
    def report(observed: dict[str, Any]) -> list[dict[str, Any]]:
        return list(load(observed))

    report(observe())


# [END redrive]

redrive()
