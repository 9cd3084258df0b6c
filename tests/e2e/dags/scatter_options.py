"""Scatters over one another's results, which use every option between them."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, ItemRetry, RateLimit, RetryItem, Tolerance, load

if TYPE_CHECKING:
    import pyarrow as pa

# Twelve orders of one to three lines, and one of them twice.
ORDERS = [{"order": n, "lines": n % 3 + 1, "customer": "somebody"} for n in (*range(12), 0)]

in_flight = 0


def note(dag_run: Any, name: str, **what: Any) -> None:
    with (Path(dag_run.conf["folder"]) / name).open("a") as calls:
        calls.write(json.dumps(what) + "\n")


@dag(schedule=None)
def options():
    @task.scatter(items=ORDERS, key="order", select=["order", "lines"], batching=Batching(max_items=6), flatten=True)
    def lines(order: dict[str, Any], dag_run) -> list[dict[str, Any]]:
        note(dag_run, "lines", fields=sorted(order))
        return [{"order": order["order"], "line": line} for line in range(order["lines"])]

    @task.scatter(
        items=lines(),
        batching=Batching(max_items=4),
        max_active_batches=2,
        item_concurrency=3,
        rate_limit=RateLimit(4),
        retry=ItemRetry(attempts=3, wait=0, on=[ConnectionError]),
        tolerance=Tolerance(count=1),
        results="parquet",
    )
    async def price(line: dict[str, Any], factor: float, item_context, dag_run) -> dict[str, Any]:
        global in_flight  # noqa: PLW0603  (it is the number in this task's process)
        in_flight += 1
        try:
            about = {"batch": item_context.batch, "attempt": item_context.attempt, "in_flight": in_flight}
            note(dag_run, "price", at=time.time(), **line, **about)
            if line["line"] == 1 and item_context.attempt == 1:
                raise ConnectionResetError("try again")
            if line["line"] == 2 and item_context.attempt == 1:
                raise RetryItem("slow down", after=1.5)
            await asyncio.sleep(0.7)
            if line == {"order": 4, "line": 0}:
                raise ValueError("no price")
            return {**line, "price": factor * (line["order"] + line["line"])}
        finally:
            in_flight -= 1

    @task
    def factor() -> float:
        return 1.5

    @task.scatter(
        items=(priced := price(factor=factor())), per="batch", batching=Batching(group_by="order", max_items=8)
    )
    def totals(lines: pa.Table, dag_run) -> list[float]:
        note(dag_run, "totals", orders=sorted(set(lines["order"].to_pylist())))
        prices = lines["price"].to_pylist()
        return [sum(prices)] + [0.0] * (len(prices) - 1)

    @task
    def report(priced: dict[str, Any], totals: dict[str, Any]) -> dict[str, Any]:
        prices = load(priced)
        return {
            "prices": prices.to_arrow()["price"].to_pylist(),
            "total": sum(load(totals)),
            "failures": [failure["error"]["message"] for failure in prices.failures()],
        }

    report(priced, totals())


@dag(schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)})
def too_many():
    @task.scatter(items=list(range(1_025)), batching=Batching(max_items=1))
    def same(n: int) -> int:
        return n

    same()


options()
too_many()
