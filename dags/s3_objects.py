"""The objects of a bucket as items, and the rows that they hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import Tolerance, load, source


# [START s3_objects]
@dag(schedule=None, tags=["flowstone"], params={"bucket": Param("flights", type="string")})
def s3_objects():
    """Weather observations that lie in S3, a file for each airport and month."""

    @task.scatter(items=source("s3", bucket="{{ params.bucket }}", prefix="weather/", suffix=".csv.gz"))
    def size(found: dict[str, Any]) -> dict[str, Any]:
        _, airport, month = found["key"].removesuffix(".csv.gz").split("/")
        return {"airport": airport, "month": int(month), "bytes": found["size"]}

    @task.scatter(
        items=source("s3", bucket="{{ params.bucket }}", prefix="weather/", suffix=".csv.gz", contents="csv"),
        select=["origin", "temp"],
        tolerance=Tolerance(percent=1),
    )
    def freezes(observation: dict[str, str]) -> bool:
        return float(observation["temp"]) < 32

    @task
    def report(sizes: dict[str, Any], frost: dict[str, Any]) -> dict[str, Any]:
        files = Counter(each["airport"] for each in load(sizes))
        return {"files": dict(files), "hours_of_frost": sum(load(frost))}

    report(size(), freezes())


# [END s3_objects]

s3_objects()
