"""Bytes of a file: decompressed, in bounded chunks, cut at line ends."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any, Literal

from flowstone_provider.errors import BadRecordError, MissingExtraError

Compression = Literal["gzip", "zstd", "none"]

BOM = b"\xef\xbb\xbf"

_CHUNK = 256 << 10
"""Bytes read at once."""

# zstd may blow up a block of 4 bytes to 128 KiB, and its decompressor takes no bound on what comes out; so
# little goes in at once.
_ZSTD_CHUNK = 16 << 10

_LONGEST_LINE = 256 << 20
"""Bytes of a line that are kept in memory while its end is looked for."""


def compression_of(url: str, option: str) -> Compression:
    """The compression of a file: as the option says, or inferred from the suffix."""
    if option != "infer":
        return option  # type: ignore[return-value]
    if url.endswith(".gz"):
        return "gzip"
    return "zstd" if url.endswith(".zst") else "none"


def chunks(stream: Any, compression: Compression, url: str) -> Iterator[bytes]:
    """The decompressed bytes of a whole file.

    Raises:
        BadRecordError: The compressed stream is truncated or corrupt; the message says after how many bytes.
        MissingExtraError: The library for this compression is not installed.
    """
    if compression == "none":
        yield from _read(stream, _CHUNK)
        return
    done = 0
    try:
        for chunk in _gunzip(stream) if compression == "gzip" else _unzstd(stream):
            done += len(chunk)
            yield chunk
    except EOFError as error:
        raise BadRecordError(
            f"{url}: the {compression} stream is truncated: it ends after {done:,} decompressed bytes, "
            "without its end mark; write the file anew",
            url=url,
            offset=done,
        ) from error
    except (gzip.BadGzipFile, zlib.error, _CorruptError) as error:
        raise BadRecordError(
            f"{url}: the {compression} stream is corrupt after {done:,} decompressed bytes: {error}",
            url=url,
            offset=done,
        ) from error


class _CorruptError(Exception):
    pass


def _read(stream: Any, size: int) -> Iterator[bytes]:
    while chunk := stream.read(size):
        yield bytes(chunk)


def _gunzip(stream: Any) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=stream) as unzipped:
        yield from _read(unzipped, _CHUNK)
        # Python takes an empty file for a complete gzip stream; gzip does not, and it is a broken upload.
        if stream.tell() == 0:
            raise EOFError


def _unzstd(stream: Any) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError(
            "zstd files need the library zstandard: pip install 'airflow-provider-flowstone[zstd]'",
            extra="zstd",
        ) from error
    # Not `stream_reader`: it takes a truncated stream for a complete one.
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    complete = False
    try:
        for read in _read(stream, _ZSTD_CHUNK):
            data = read
            while data:
                if frame.eof:
                    frame = decompressor.decompressobj()
                chunk = frame.decompress(data)
                data = frame.unused_data
                complete = frame.eof
                if chunk:
                    yield chunk
    except zstandard.ZstdError as error:
        raise _CorruptError(str(error)) from error
    if not complete:
        raise EOFError


def first_line(stream: Any, start: int) -> int:
    """The offset of the first line that begins at or after ``start``; the file's size when there is none."""
    if start == 0:
        return 0
    # The line end just before `start` counts: then a line begins at `start` itself.
    offset = start - 1
    stream.seek(offset)
    for chunk in _read(stream, _CHUNK):
        end = chunk.find(b"\n")
        if end >= 0:
            return offset + end + 1
        offset += len(chunk)
    return offset


def byte_range(stream: Any, offset: int, end: int | None) -> Iterator[bytes]:
    """The bytes of the lines that begin in ``[offset, end)``; the last may reach beyond ``end``.

    Args:
        stream: A seekable binary file, not compressed.
        offset: Where a line begins, in bytes.
        end: In bytes; ``None`` is the file's end.
    """
    if end is not None and offset >= end:
        return
    stream.seek(offset)
    for chunk in _read(stream, _CHUNK):
        if end is not None and offset + len(chunk) >= end:
            cut = chunk.find(b"\n", max(0, end - 1 - offset))
            if cut >= 0:
                yield chunk[: cut + 1]
                return
        yield chunk
        offset += len(chunk)


def line_blocks(pieces: Iterator[bytes], url: str, line_end: bytes = b"\n", other: bytes = b"\n") -> Iterator[bytes]:
    """The same bytes in blocks that end where a line ends; the last may lack its line end.

    Args:
        pieces: Chunks of a file.
        url: The file, for the message.
        line_end: Where blocks are cut.
        other: Where a chunk without ``line_end`` is cut.

    Raises:
        BadRecordError: A line is too long to be one.
    """
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        cut = piece.rfind(line_end) + 1 or piece.rfind(other) + 1
        if not cut:
            kept.append(piece)
            size += len(piece)
            if size > _LONGEST_LINE:
                raise BadRecordError(f"{url}: no line end in {size:,} bytes; is it a text file?", url=url)
            continue
        yield b"".join([*kept, piece[:cut]])
        kept = [piece[cut:]]
        size = len(kept[0])
    if last := b"".join(kept):
        yield last
