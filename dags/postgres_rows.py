"""The rows of a query, read by the batches themselves: the plan only asks PostgreSQL where to cut."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import Tolerance, load, source


# [START postgres_rows]
@dag(schedule=None, tags=["flowstone"], params={"seats": Param(100, type="integer")})
def postgres_rows():
    """How old the larger planes were in 2013, per maker."""

    @task.scatter(
        items=source(
            "postgres",
            query="select tailnum, year, manufacturer from planes where seats >= %(seats)s",
            parameters={"seats": "{{ params.seats }}"},
            cursor=["manufacturer", "tailnum"],
        ),
        tolerance=Tolerance(percent=5),
        results="parquet",
    )
    def age(plane: dict[str, Any]) -> dict[str, Any]:
        return {"maker": plane["manufacturer"], "years": date(2013, 1, 1).year - plane["year"]}

    @task
    def report(ages: dict[str, Any]) -> dict[str, float]:
        means = load(ages).to_arrow().group_by("maker", use_threads=False).aggregate([("years", "mean")])
        return {row["maker"]: round(row["years_mean"], 1) for row in means.to_pylist()}

    report(age())


# [END postgres_rows]

postgres_rows()
