"""Tables as Parquet files: written and read as streams, with a checksum in every page."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from flowstone_provider.contracts.io_manager import Condition
from flowstone_provider.errors import ValueKindError
from flowstone_provider.hooks._damage import blaming
from flowstone_provider.hooks.values import check_conditions, check_selection, expression

# A row group has at most so many bytes in memory, and so many rows as pyarrow's own default.
_GROUP_BYTES = 64 << 20
_GROUP_ROWS = 1 << 20

# Rows of a batch that is given, at most.
_BATCH_ROWS = 1 << 16


class ParquetStream:
    """A table as the bytes of Parquet files.

    Args:
        reader: A record batch reader.
        compression: A codec that pyarrow knows, or ``none``.
        file_bytes: A file that has as many bytes is followed by another one; by default it has all rows.

    Raises:
        ValueKindError: A column has a type that Parquet lacks.
    """

    suffix = "parquet"

    def __init__(self, reader: Any, compression: str = "snappy", file_bytes: int | None = None) -> None:
        self._reader = reader
        self._compression = compression
        self._file_bytes = file_bytes
        self.rows = 0
        _check_types(reader.schema)

    def files(self) -> Iterator[Iterator[bytes]]:
        """The files, one at least; each is to be taken whole before the next."""
        self._waiting = self._groups()
        self._next = next(self._waiting, None)
        yield self._file()
        while self._next is not None:
            yield self._file()

    def _file(self) -> Iterator[bytes]:
        import pyarrow.parquet as pq

        sink = _Sink()
        codec = {"compression": self._compression, "write_page_checksum": True}
        with (
            pq.ParquetWriter(sink, self._reader.schema, **codec) as writer,
            ThreadPoolExecutor(1, thread_name_prefix="flowstone-parquet") as pool,
        ):
            while self._next is not None and (self._file_bytes is None or sink.bytes < self._file_bytes):
                self.rows += self._next.num_rows
                # A row group is written and hashed while it is encoded.
                encoding = pool.submit(writer.write_table, self._next, _GROUP_ROWS)
                encoding.add_done_callback(sink.end)
                yield from sink.take()
                encoding.result()
                self._next = next(self._waiting, None)
        sink.end()
        yield from sink.take()

    def _groups(self) -> Iterator[Any]:
        import pyarrow as pa

        batches: list[Any] = []
        size = rows = 0
        for whole in self._reader:
            for batch in _pieces(whole):
                if rows and (size + batch.nbytes > _GROUP_BYTES or rows + batch.num_rows > _GROUP_ROWS):
                    yield pa.Table.from_batches(batches)
                    batches, size, rows = [], 0, 0
                batches.append(batch)
                size += batch.nbytes
                rows += batch.num_rows
        if batches:
            yield pa.Table.from_batches(batches)


def _pieces(batch: Any) -> Iterator[Any]:
    """A batch in parts, none of which is larger than a row group."""
    rows = batch.num_rows
    step = max(1, min(_GROUP_ROWS, rows * _GROUP_BYTES // max(1, batch.nbytes)))
    return (batch.slice(start, step) for start in range(0, rows, step))


def _check_types(schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except (pa.ArrowException, OSError) as error:
            raise ValueKindError(f"the column {field.name!r} cannot be stored as Parquet: {error}; cast it") from error


class _Sink:
    """What pyarrow writes to, and the writer of the file takes from."""

    closed = False

    def __init__(self) -> None:
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self.bytes = 0

    def write(self, data: Any) -> int:
        self._pieces.put(bytes(data))
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def close(self) -> None:
        """What is left is still to be taken."""

    def end(self, _: object = None) -> None:
        """Let `take` end here."""
        self._pieces.put(None)

    def take(self) -> Iterator[bytes]:
        """What is written until `end`."""
        return iter(self._pieces.get, None)


def read_parquet(files: Sequence[tuple[Any, str]], columns: Sequence[str] | None, where: Sequence[Condition]) -> Any:
    """The rows of Parquet files of one schema, as a record batch reader; only what is asked for is read.

    Args:
        files: Open files that can seek, each with its name for messages; at least one.
        columns: Only these.
        where: Only rows that meet all of these.

    Raises:
        ValueKindError: There is no such column, or a condition does not fit it.
        AssetDamagedError: A file is no Parquet, or damaged. The reader raises it, too.
    """
    import pyarrow as pa

    opened = [_Parquet(_native(file), name) for file, name in files]
    whole = opened[0].schema
    check_selection(whole.names, columns, where)
    check_conditions(whole, where)
    schema = whole if columns is None else pa.schema([whole.field(name) for name in columns], whole.metadata)

    def batches() -> Iterator[Any]:
        for each in opened:
            yield from each.batches(schema, where)

    return pa.RecordBatchReader.from_batches(schema, batches())


class _Parquet:
    """An open file.

    Raises:
        AssetDamagedError: It is no Parquet.
    """

    def __init__(self, file: Any, name: str) -> None:
        import pyarrow.dataset as ds

        self._name = name
        options = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=True)
        with blaming(name):
            self._fragment = ds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(file)
            self._physical = self._fragment.physical_schema
            self.schema = _as_stored(self._physical, self._fragment.metadata.metadata or {})

    def batches(self, schema: Any, where: Sequence[Condition]) -> Iterator[Any]:
        """Its rows.

        Raises:
            AssetDamagedError: A page is not what was stored.
        """
        condition = expression(where)
        with blaming(self._name):
            # A scan of the whole file would read row groups ahead, a gigabyte of wide rows.
            for group in self._fragment.split_by_row_group(condition, self._physical):
                table = group.to_table(self._physical, columns=schema.names, filter=condition, batch_size=_BATCH_ROWS)
                for batch in table.to_batches(_BATCH_ROWS):
                    yield batch if batch.schema.types == schema.types else _cast(batch, schema)


def _native(file: Any) -> Any:
    """A local file as one that pyarrow reads without Python, in several threads."""
    import pyarrow as pa
    from fsspec.implementations.local import LocalFileOpener

    if isinstance(file, LocalFileOpener):
        # When it was just replaced, the one that is open can still be read.
        with suppress(FileNotFoundError):
            return pa.OSFile(file.path)
    return file


def _as_stored(schema: Any, metadata: dict[bytes, bytes]) -> Any:
    """The schema of a file, with the types that were stored where Parquet has only others, as for whole seconds."""
    import pyarrow as pa

    stored = metadata.get(b"ARROW:schema")
    if stored is None:
        return schema
    types = pa.ipc.read_schema(pa.BufferReader(b64decode(stored))).types
    return pa.schema([field.with_type(type_) for field, type_ in zip(schema, types, strict=True)], schema.metadata)


def _cast(batch: Any, schema: Any) -> Any:
    import pyarrow as pa

    columns = []
    for column, type_ in zip(batch.columns, schema.types, strict=True):
        encode = pa.types.is_dictionary(type_) and not pa.types.is_dictionary(column.type)
        columns.append((column.dictionary_encode() if encode else column).cast(type_))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
