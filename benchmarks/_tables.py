"""A table of a million rows and six columns, of the types that tables have."""

from __future__ import annotations

from typing import Any


def observations(rows: int, first: int = 0) -> Any:
    """A ``pyarrow.Table`` of six columns: numbers, times, texts that repeat, texts that do not, decimals, truths."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pa.array(range(first, first + rows), pa.int64())
    # No random numbers: every run measures the same. Multiples of a prime look as if drawn.
    mixed = pc.multiply(numbers, 7_919)

    def modulo(values: Any, by: int) -> Any:
        return pc.subtract(values, pc.multiply(pc.divide(values, by), by))

    return pa.table(
        {
            "id": numbers,
            "at": pc.multiply(numbers, 1_000_000).cast(pa.timestamp("us", "UTC")),
            "station": pc.binary_join_element_wise("station-", modulo(mixed, 1_000).cast(pa.string()), ""),
            "celsius": pc.divide(modulo(mixed, 4_001).cast(pa.float64()), 100.0),
            "note": pc.binary_join_element_wise("observation ", mixed.cast(pa.string()), ""),
            "dry": pc.equal(modulo(mixed, 3), 0),
        }
    )
