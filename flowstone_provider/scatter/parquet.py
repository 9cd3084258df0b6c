"""Results as a Parquet file, in memory bounded by a row group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast

import orjson

from flowstone_provider.errors import MissingExtraError, ResultsError

# Rows of a row group; also how many results are in memory at once.
_ROWS = 16_384


def _results(lines: Iterable[bytes], flatten: bool) -> Iterator[Any]:
    for line in lines:
        result = orjson.loads(line).get("result")
        if flatten:
            yield from result
        else:
            yield result


def parquet(lines: Callable[[], Iterable[bytes]], flatten: bool, batch: int) -> Iterator[bytes]:
    """A Parquet file of the results, piece by piece; one that is no object is a row with the column ``result``.

    The schema is that of all results of the batch, found in a first pass: the first ones may have only nulls where
    later ones have numbers.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError(
            'results="parquet" needs pyarrow: pip install "airflow-provider-flowstone[parquet]"'
        ) from None

    def tables(schema: Any = None) -> Iterator[Any]:
        results = _results(lines(), flatten)
        while chunk := list(islice(results, _ROWS)):
            rows = [result if isinstance(result, dict) else {"result": result} for result in chunk]
            yield pa.Table.from_pylist(_same_keys(rows), schema=schema)

    try:
        schema = pa.schema([])
        rows = 0
        for table in tables():
            rows += table.num_rows or 1  # without columns Arrow counts no rows
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
        if rows and not schema.names:
            raise pa.ArrowInvalid("they are objects without any field")
        sink = _Pieces()
        with pq.ParquetWriter(cast("Any", sink), schema) as writer:
            for table in tables(schema):
                writer.write_table(table)
                yield from sink.taken()
        yield from sink.taken()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise ResultsError(
            f"the results of batch {batch} do not fit one Parquet schema: {error}; let the function return the "
            'same types for every item, or use results="jsonl" (the outcomes are kept: a retry converts them anew)',
            batch=batch,
        ) from error


def _same_keys(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pyarrow takes the columns from the first row only."""
    keys = {key: None for row in rows for key in row}
    first = {**dict.fromkeys(keys), **rows[0]}
    return [first, *rows[1:]]


class _Pieces:
    """A file that is only written to, and gives away what it has."""

    closed = False

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._length = 0

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        self._length += len(self._held[-1])
        return len(self._held[-1])

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing to do: pyarrow asks."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> Iterator[bytes]:
        """What was written since the last time."""
        held, self._held = self._held, []
        yield from held
