"""Values for the ``postgres`` IO manager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from flowstone_provider.contracts.io_manager import AssetKey

KEY = AssetKey("flights/enriched", "2026-01-15")


def numbers(count: int = 3, first: int = 0) -> Any:
    """A table of consecutive numbers."""
    return pa.table({"n": list(range(first, first + count))})


def many_batches(count: int, then: Callable[[], Any] | None = None) -> Iterator[Any]:
    """Record batches of some megabytes; between two of them something happens."""
    for number in range(count):
        if then is not None and number == count // 2:
            then()
        yield pa.record_batch({"n": [number] * 20_000, "text": ["x" * 100] * 20_000})
