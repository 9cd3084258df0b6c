"""A gate for tests, and the body that it takes."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG
from pydantic import BaseModel, field_validator

from flowstone_provider import SignalGateOperator


class Paid(BaseModel):
    """A body."""

    order: int
    at: datetime | None = None

    @field_validator("order")
    @classmethod
    def _known(cls, order: int) -> int:
        if order == 666:
            raise ValueError("no such order")
        return order


def start(signal_url): ...


def gate(function=start, **options):
    with DAG("orders"):
        return SignalGateOperator(task_id="pay", python_callable=function, **options)
