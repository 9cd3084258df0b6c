"""Tables as streams of Arrow's: every type stays as it is, and the checksum of the file verifies all of it.

A table that a task hands to another is written and read several times as quickly as Parquet. What other tools read for
years, in parts, is better kept as Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flowstone_provider.contracts.io_manager import Condition
from flowstone_provider.hooks._damage import blaming
from flowstone_provider.hooks.values import check_selection, selected

# Batches are brought together until they have so many rows, or bytes.
_ROWS = 1 << 16
_BYTES = 16 << 20


class ArrowStream:
    """A table as the bytes of a file in Arrow's streaming format, compressed with zstd.

    Args:
        reader: A record batch reader.
    """

    suffix = "arrows"

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.rows = 0

    def files(self) -> Iterator[Iterator[bytes]]:
        """The one file."""
        yield self._file()

    def _file(self) -> Iterator[bytes]:
        import pyarrow as pa

        sink = _Sink()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, self._reader.schema, options=options) as writer:
            for table in self._tables():
                self.rows += table.num_rows
                writer.write_table(table.combine_chunks(), _ROWS)
                yield from sink.take()
        yield from sink.take()

    def _tables(self) -> Iterator[Any]:
        import pyarrow as pa

        batches: list[Any] = []
        size = rows = 0
        for batch in self._reader:
            batches.append(batch)
            size += batch.nbytes
            rows += batch.num_rows
            if size >= _BYTES or rows >= _ROWS:
                yield pa.Table.from_batches(batches)
                batches, size, rows = [], 0, 0
        if batches:
            yield pa.Table.from_batches(batches)


class _Sink:
    """What pyarrow writes to."""

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
        """What was written since."""
        pieces, self._pieces = self._pieces, []
        return pieces


class _Source:
    """What pyarrow reads from."""

    closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            piece = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size -= len(piece) if size > 0 else 0
            pieces.append(piece)
        return b"".join(pieces)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """The chunks end by themselves."""


def read_arrow(
    chunks: Iterator[bytes],
    names: Sequence[str],
    what: str,
    columns: Sequence[str] | None,
    where: Sequence[Condition],
) -> Any:
    """The rows of what `ArrowStream` wrote, as a record batch reader.

    Args:
        chunks: The file; whether it is as it was, they tell at their end.
        names: Its columns.
        what: The file, for messages.
        columns: Only these are decoded.
        where: Only rows that meet all of these.

    Raises:
        ValueKindError: There is no such column, or a condition does not fit it.
        AssetDamagedError: It is damaged. The reader raises it, too.
    """
    import pyarrow as pa

    check_selection(names, columns, where)
    needed = {*(names if columns is None else columns), *(column for column, _, _ in where)}
    fields = [number for number, name in enumerate(names) if name in needed]
    with blaming(what):
        stream = pa.ipc.open_stream(_Source(chunks), options=pa.ipc.IpcReadOptions(included_fields=fields))

    def batches() -> Iterator[Any]:
        with blaming(what):
            yield from stream
        for _ in chunks:  # to their end, where they are verified
            pass

    return selected(pa.RecordBatchReader.from_batches(stream.schema, batches()), columns, where)
