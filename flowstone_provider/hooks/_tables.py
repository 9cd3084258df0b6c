"""Tables as Parquet files: written and read as streams, with a checksum in every page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowstone_provider.contracts.io_manager import Condition
from flowstone_provider.errors import AssetDamagedError
from flowstone_provider.hooks.values import check_selection, expression

# A row group is written when it has so many bytes in memory, or so many rows as pyarrow's own default.
_GROUP_BYTES = 64 << 20
_GROUP_ROWS = 1 << 20

# Batches that a scan reads ahead, and rows of one. pyarrow's own defaults would hold gigabytes of wide rows.
_READ_AHEAD = 4
_BATCH_ROWS = 1 << 16


class ParquetStream:
    """A table as the bytes of a Parquet file.

    Args:
        reader: A record batch reader.
    """

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.rows = 0

    def chunks(self) -> Iterator[bytes]:
        """The file, in pieces of about a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = _Sink()
        with pq.ParquetWriter(sink, self._reader.schema, write_page_checksum=True) as writer:
            for group in self._groups():
                self.rows += group.num_rows
                writer.write_table(pa.Table.from_batches(group.to_batches(), self._reader.schema), _GROUP_ROWS)
                yield from sink.take()
        yield from sink.take()

    def _groups(self) -> Iterator[Any]:
        import pyarrow as pa

        batches: list[Any] = []
        size = rows = 0
        for batch in self._reader:
            batches.append(batch)
            size += batch.nbytes
            rows += batch.num_rows
            if size >= _GROUP_BYTES or rows >= _GROUP_ROWS:
                yield pa.Table.from_batches(batches)
                batches, size, rows = [], 0, 0
        if batches:
            yield pa.Table.from_batches(batches)


class _Sink:
    """What pyarrow writes to, and the writer of the file takes from."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def close(self) -> None:
        """What is left is still to be taken."""

    def take(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces


def read_parquet(files: Sequence[Any], what: str, columns: Sequence[str] | None, where: Sequence[Condition]) -> Any:
    """The rows of Parquet files of one schema, as a record batch reader; only what is asked for is read.

    Args:
        files: Open files that can seek, or paths on a local disk; at least one.
        what: What they hold, for messages.
        columns: Only these.
        where: Only rows that meet all of these.

    Raises:
        ValueKindError: There is no such column.
        AssetDamagedError: A file is no Parquet, or damaged. The reader raises it, too.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    with _blaming(what):
        fragments = [form.make_fragment(file) for file in files]
        schema = fragments[0].physical_schema
        check_selection(schema.names, columns, where)
        dataset = ds.FileSystemDataset(fragments, schema, form)
        scanner = dataset.scanner(
            columns=None if columns is None else list(columns),
            filter=expression(where),
            batch_size=_BATCH_ROWS,
            batch_readahead=_READ_AHEAD,
            fragment_readahead=1,
        )
        reader = scanner.to_reader()

    def batches() -> Iterator[Any]:
        with _blaming(what):
            for batch in reader:
                if batch.num_rows:
                    yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # pyarrow's OSError for damaged data has no errno; that of a disk or a network has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise AssetDamagedError(f"{what} is damaged: {error}; store it again") from error
