"""A service that is busy now and then: attempts, its own delay, and a rate limit over all batches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, ItemContext, ItemRetry, RateLimit, RetryItem, load, source

AIRLINES = Path(__file__).parent / "data" / "airlines.csv"


class Busy(Exception):  # noqa: N818  (as an HTTP client would call a response with status 429)
    """Too many requests; come back after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds} s")
        self.seconds = seconds


async def ask_the_service(airline: dict[str, str], request: int) -> dict[str, Any]:
    """Stands for an HTTP call: a fifth of the first requests time out, a fifth are sent away."""
    await asyncio.sleep(0.01)
    letter = ord(airline["carrier"][0])
    if request == 1 and letter % 5 == 0:
        raise TimeoutError("no answer")
    if request == 1 and letter % 5 == 1:
        raise Busy(0.1)
    return {"carrier": airline["carrier"], "words": len(airline["name"].split()), "requests": request}


@dag(schedule=None, tags=["flowstone"])
def retry_and_rate():
    """Sixteen airlines, asked about one by one."""

    # [START retry]
    @task.scatter(
        items=source("csv", path=str(AIRLINES)),
        batching=Batching(max_items=8),
        max_active_batches=2,
        item_concurrency=4,  # calls in flight on the event loop of a batch
        rate_limit=RateLimit(20),  # 10 a second for each of the two batches that can be active
        retry=ItemRetry(attempts=3, wait=0.1, on=(TimeoutError, ConnectionError)),
    )
    async def ask(airline: dict[str, str], item_context: ItemContext) -> dict[str, Any]:
        try:
            return await ask_the_service(airline, request=item_context.attempt)
        except Busy as busy:
            raise RetryItem(str(busy), after=busy.seconds) from busy

    # [END retry]

    @task
    def report(asked: dict[str, Any]) -> dict[str, int]:
        return {answer["carrier"]: answer["requests"] for answer in load(asked)}

    report(ask())


retry_and_rate()
