"""The items of a DynamoDB table: a whole table in parallel segments, and what a query finds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow.sdk import Param, dag, task

from flowstone_provider import load, source


# [START dynamodb_table]
@dag(schedule=None, tags=["flowstone"], params={"table": Param("airports", type="string")})
def dynamodb_table():
    """Airports: how many lie high up, and which of them are in the Rocky Mountains."""

    @task.scatter(items=source("dynamodb", table="{{ params.table }}", projection="faa, alt"))
    def is_high(airport: dict[str, Any]) -> bool:
        return airport["alt"] > 5_000  # feet

    @task.scatter(
        items=source(
            "dynamodb",
            table="{{ params.table }}",
            index="by_tzone",
            query="tzone = :zone AND alt > :alt",
            values={":zone": "America/Denver", ":alt": 7_000},
        )
    )
    def name(airport: dict[str, Any]) -> str:
        return airport["name"]

    @task
    def report(high: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
        return {"high": Counter(load(high))[True], "rockies": sorted(load(names))}

    report(is_high(), name())


# [END dynamodb_table]

dynamodb_table()
