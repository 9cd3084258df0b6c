"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowstone_provider.contracts.item_reader import Json, ReaderOptions, Resources
from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import BadRecordError, MissingExtraError, OptionsError, ReaderError
from flowstone_provider.readers._arrow import readable, values
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.readers.files import PAGE_BYTES, FileOptions, FileReader

# Footers are small: reading many of them is waiting for the store.
_FOOTERS_AT_ONCE = 16

# Rows of a page at most: here a page costs more than what it gains by fitting the processor's cache.
_PAGE_ROWS = 1_000


class ParquetOptions(FileOptions):
    """Options of the ``parquet`` reader."""

    title: ClassVar[str] = "parquet"

    columns: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="The columns to read, in this order; all by default."
    )


class ParquetReader(FileReader):
    """Items are dicts, one for each row.

    Decimals, dates, times, timestamps and bytes are yielded as Python's ``Decimal``, ``date``, ``time``,
    ``datetime`` and ``bytes``: they become text when they are planned, as the item rules say. A timestamp
    with nanoseconds, for which Python has no type, is text already. Maps are lists of pairs.
    """

    options: ClassVar[type[ReaderOptions]] = ParquetOptions

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._rows: dict[SourceFile, int] = {}

    def count(self) -> int:
        """The exact number of rows, from the footers, or from the split itself."""
        if self.opts.part is not None:
            rows = int(self.opts.part.extent)
        else:
            rows = sum(self._row_counts(self._files()))
        return rows if self.opts.max_items is None else min(rows, self.opts.max_items)

    def extents(self, files: list[SourceFile]) -> list[tuple[int, bool]]:
        """The rows of each file, from the footers, up to ``max_items`` rows in all."""
        left = self.opts.max_items
        extents = []
        for rows in self._row_counts(files):
            wanted = rows if left is None else min(rows, left)
            if left == 0:
                break
            extents.append((wanted, True))
            left = left if left is None else left - wanted
        return extents

    def read(self, file: SourceFile, start: int, end: int | None, skip: int) -> Iterator[list[Json]]:
        """Yield the rows from ``start`` to ``end`` without the first ``skip``, opening only their row groups.

        Raises:
            BadRecordError: The file is truncated or damaged; the message names the row group.
            OptionsError: A column does not exist.
        """
        with self._parquet(file) as parquet:
            schema = _readable(file, parquet.schema_arrow, self.opts.columns)
            first = start + skip
            last = parquet.metadata.num_rows if end is None else end
            group_start = 0
            for group in range(parquet.num_row_groups):
                group_rows = parquet.metadata.row_group(group).num_rows
                skipped = max(0, first - group_start)
                wanted = min(group_rows, last - group_start)
                group_start += group_rows
                if skipped >= wanted:
                    continue
                with _blaming(f"{file.url}, row group {group}", url=file.url, row_group=group):
                    yield from _rows(parquet, group, schema, skipped, wanted)

    def _row_counts(self, files: list[SourceFile]) -> list[int]:
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            return list(pool.map(self._row_count, files))

    def _row_count(self, file: SourceFile) -> int:
        if file not in self._rows:
            with self._parquet(file) as parquet:
                self._rows[file] = parquet.metadata.num_rows
        return self._rows[file]

    @contextmanager
    def _parquet(self, file: SourceFile) -> Iterator[Any]:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtraError(
                "Parquet files need the library pyarrow: pip install 'airflow-provider-flowstone[parquet]'",
                extra="parquet",
            ) from error
        if self.compression(file) != "none":
            raise ReaderError(
                f"{file.url}: a Parquet file is compressed inside and cannot be read from within another",
                url=file.url,
            )
        # pyarrow asks for the very bytes it needs; reading ahead would fetch the columns that nobody wants.
        remote = {"cache_type": "none"} if "://" in file.url else {}
        with self.open(file, **remote) as stream:
            with _blaming(f"{file.url}: no Parquet file, or a truncated one; its footer cannot be read", url=file.url):
                parquet = pq.ParquetFile(stream)
            yield parquet


@contextmanager
def _blaming(where: str, **data: Any) -> Iterator[None]:
    """Turn what pyarrow raises for damaged data into a `BadRecordError`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # pyarrow's OSError for damaged data has no errno; that of a disk or a network has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadRecordError(f"{where}: {error}", **data) from error


def _rows(parquet: Any, group: int, schema: Any, skip: int, upto: int) -> Iterator[list[Json]]:
    """Yield the rows ``[skip, upto)`` of a row group, a page at a time."""
    about = parquet.metadata.row_group(group)
    page = min(_PAGE_ROWS, max(1, PAGE_BYTES * about.num_rows // max(1, about.total_byte_size)))
    at = 0
    for batch in parquet.iter_batches(page, row_groups=[group], columns=schema.names):
        first = max(0, skip - at)
        wanted = batch.slice(first, max(0, upto - at - first))
        at += batch.num_rows
        if wanted.num_rows:
            yield values(wanted.select(schema.names), schema)
        if at >= upto:
            return


def _readable(file: SourceFile, schema: Any, columns: list[str] | None) -> Any:
    """The schema to read, with types that Python has."""
    import pyarrow as pa

    names = schema.names if columns is None else columns
    for name in names:
        if name not in schema.names:
            raise OptionsError(
                f"{file.url} has no column {name!r}{nearest(name, schema.names)}", url=file.url, column=name
            )
        if schema.names.count(name) > 1:
            raise ReaderError(f"{file.url} has several columns named {name!r}", url=file.url, column=name)
    return readable(pa.schema([schema.field(name) for name in names]), file.url, "leave it out with `columns`")
