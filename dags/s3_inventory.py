"""The largest objects of a bucket with too many keys to list: from the inventory that S3 writes every day."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import load, source


# [START s3_inventory]
@dag(schedule=None, tags=["flowstone"], params={"manifest": Param("s3://inventories/flights/manifest.json")})
def s3_inventory():
    """The three largest."""

    @task.scatter(items=source("s3_inventory", manifest="{{ params.manifest }}"), select=["key", "size"])
    def measure(found: dict[str, Any]) -> dict[str, Any]:
        return {"key": found["key"], "kb": round(found["size"] / 1000, 1)}

    @task
    def report(measured: dict[str, Any]) -> list[dict[str, Any]]:
        return sorted(load(measured), key=lambda each: -each["kb"])[:3]

    report(measure())


# [END s3_inventory]

s3_inventory()
