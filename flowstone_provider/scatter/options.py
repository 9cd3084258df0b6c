"""The options that users write: batching, retries, rate, tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.contracts.options import Options, is_deferred

BatchFunction = Callable[[Iterator[Json]], Iterable[list[Json]]]
ResultsFormat = Literal["jsonl", "parquet"] | None


class Batching(Options):
    """How items are grouped into batches. Bounds combine: whichever is reached first closes the batch.

    Without any bound the batches are sized so that few items make few batches and a million make about a hundred.
    """

    max_items: PositiveInt | None = Field(default=None, description="Most items in a batch.")
    max_bytes: PositiveInt | None = Field(
        default=None,
        description="Most bytes of JSON in a batch. A single item over it is a batch of its own.",
    )
    group_by: str | Callable[[Json], Any] | None = Field(
        default=None,
        description="A field's name, or a function of the item: the items of one group stay in one batch, wherever "
        "they stand in the source. A group larger than the bounds is a batch of its own.",
    )
    group_size: PositiveInt | None = Field(
        default=None, description="Cut a group of more items than this into several batches."
    )
    function: BatchFunction | None = Field(
        default=None, description="Takes the iterator of items and yields lists of items: the batches."
    )

    @model_validator(mode="after")
    def _combine(self) -> Batching:
        if self.group_size is not None and self.group_by is None:
            raise ValueError("group_size needs group_by")
        if self.function is not None and self.model_fields_set - {"function"}:
            raise ValueError("function decides alone: give no other bound with it")
        return self

    @property
    def exact(self) -> bool:
        """Whether the items have to be read to make the batches."""
        return any((self.max_bytes, self.group_by, self.function))


class ItemRetry(Options):
    """How often and when a failed item is tried again, within its batch."""

    attempts: PositiveInt = Field(default=3, description="Attempts in all, the first included.")
    wait: NonNegativeFloat = Field(
        default=1.0, description="Seconds before the second attempt; doubled for each further one, with jitter."
    )
    max_wait: NonNegativeFloat = Field(default=60.0, description="Most seconds between two attempts.")
    on: tuple[str | type[BaseException], ...] | None = Field(
        default=None,
        description="Which errors are worth another attempt: classes, or patterns of their names (`Timeout*`, "
        "`requests.exceptions.*`); subclasses count. By default all are.",
    )

    @field_validator("on")
    @classmethod
    def _names(cls, on: tuple[str | type[BaseException], ...] | None) -> tuple[str, ...] | None:
        if on is None:
            return None
        return tuple(e if isinstance(e, str) else f"{e.__module__}.{e.__qualname__}" for e in on)


class RateLimit(Options):
    """How many items may be started per second, over the whole scatter."""

    per_second: PositiveFloat = Field(description="Items per second; attempts of retried items count.")

    def __init__(self, per_second: Any = None, **values: Any) -> None:
        super().__init__(per_second=per_second, **values)

    @field_validator("per_second")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value


class Tolerance(Options):
    """How many items may end without success before the scatter fails. By default none may.

    A scatter fails when *any* given bound is exceeded.
    """

    count: NonNegativeInt | None = Field(default=None, description="Most items that may not succeed.")
    percent: float | None = Field(default=None, ge=0, le=100, description="Most of them in percent of all items.")

    @classmethod
    def any(cls) -> Tolerance:
        """Never fail, whatever becomes of the items."""
        return cls(percent=100)

    def allowed(self, total: int | None) -> int | None:
        """The greatest number of items of ``total`` that may not succeed.

        ``None`` while nothing can be said: the total is not known, and only a percentage is given.
        """
        bounds = []
        if self.count is not None:
            bounds.append(self.count)
        if self.percent is not None and total is not None:
            # str() keeps what the user wrote: 0.1 percent of 1,000 is one item, not 1.0000000000000000555.
            bounds.append(math.floor(Fraction(str(self.percent)) * total / 100))
        if bounds:
            return min(bounds)
        return None if self.percent is not None else 0

    def __str__(self) -> str:
        bounds = [f"{self.count} item{'' if self.count == 1 else 's'}"] if self.count is not None else []
        if self.percent is not None:
            bounds.append(f"{self.percent:g} %")
        return " and ".join(bounds) or "none"


class ScatterOptions(Options):
    """Everything that tells one scatter from another, in one place; the how-to pages show each in use."""

    title: ClassVar[str] = "scatter"

    batching: Batching = Field(default_factory=Batching, description="How items are grouped.")
    select: list[str] | dict[str, str] | Callable[[Json], Json] | None = Field(
        default=None,
        description="What of an item the function gets: names of fields, new names to fields, or a function.",
    )
    key: str | Callable[[Json], Any] | None = Field(
        default=None, description="A field or a function: of items with equal keys only the first is kept."
    )
    max_active_batches: PositiveInt | None = Field(default=None, description="How many batches run at once.")
    item_concurrency: PositiveInt = Field(
        default=1, description="Calls in flight within a batch: threads, or asyncio tasks for an async function."
    )
    rate_limit: RateLimit | None = Field(default=None, description="Items per second over the whole scatter.")
    retry: ItemRetry = Field(
        default_factory=lambda: ItemRetry(attempts=1), description="Further attempts at items that fail."
    )
    tolerance: Tolerance = Field(default_factory=Tolerance, description="How many items may fail.")
    early_stop: bool = Field(default=True, description="Stop all batches between items once the tolerance is exceeded.")
    results: ResultsFormat = Field(default="jsonl", description="How results are kept; None keeps none.")
    flatten: bool = Field(default=False, description="The function returns lists: each element is one result.")
    per: Literal["item", "batch"] = Field(default="item", description="What one call of the function gets.")

    @model_validator(mode="after")
    def _combine(self) -> ScatterOptions:
        if self.per == "batch" and not is_deferred(self.item_concurrency) and self.item_concurrency > 1:
            raise ValueError('item_concurrency has no meaning with per="batch": one call gets the whole batch')
        return self
