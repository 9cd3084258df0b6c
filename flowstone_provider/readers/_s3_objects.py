"""Objects of S3 as files that the file readers parse: one request for a small object, no request before it.

An object is read as it was listed: every request carries its ETag, and an object that was written anew meanwhile is an
error. A connection that is cut off in the middle goes on where it stopped.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import tenacity

from flowstone_provider.contracts.item_reader import Resources
from flowstone_provider.errors import SourceChangedError, SourceNotFoundError, SourceUnavailableError
from flowstone_provider.readers._aws import aws_errors
from flowstone_provider.readers._listing import SourceFile

# Bytes of an object that is kept in memory as a whole; a larger one is read as a stream.
_WHOLE = 8 << 20

# Bytes read from a connection at once: what a cut costs at most.
_CHUNK = 256 << 10

# How often reading goes on after a connection was cut off, without a byte in between, and the seconds to wait before.
_ATTEMPTS = 5
_WAIT = tenacity.wait_random_exponential(multiplier=0.2, max=10)


def url_of(bucket: str, key: str) -> str:
    """The URL of an object. A key may hold any character; nothing in it is escaped."""
    return f"s3://{bucket}/{key}"


def place_of(url: str) -> tuple[str, str]:
    """Bucket and key of a URL that `url_of` made."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


class S3Objects:
    """What a file reader asks of its resources, with the objects of S3 as files.

    A file is opened in the version that `ahead`, `pin` or `info` saw last.

    Args:
        resources: Make the client.
        conn_id: The connection.
        concurrency: How many objects are fetched at the same time, before they are asked for; with 1 none is, and
            there is no thread.
    """

    def __init__(self, resources: Resources, conn_id: str | None, concurrency: int = 1) -> None:
        self._resources = resources
        self._conn_id = conn_id
        self._concurrency = concurrency
        self._client: Any = None
        self._files: dict[str, SourceFile] = {}
        self._pinned: set[str] = set()
        self._fetched: dict[str, Future[bytes]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._closing = threading.Event()

    @property
    def s3(self) -> Any:
        """The boto3 client, made on first use."""
        if self._client is None:
            self._client = self._resources.client("s3", self._conn_id)
            self._closing.clear()
        return self._client

    def ahead(self, files: Iterable[SourceFile]) -> Iterator[SourceFile]:
        """Yield files in their order, to be opened while they are the current one; small ones are fetched before.

        At most ``concurrency`` files wait, and no more of ``files`` is asked for.
        """
        self._fetched.clear()
        most = self._concurrency if self._concurrency > 1 else 0
        waiting: deque[SourceFile] = deque()
        for file in files:
            waiting.append(file)
            self._files[file.url] = file
            if most and 0 < (file.size or 0) <= _WHOLE:
                self._fetched[file.url] = self._threads().submit(self._whole, file)
            if len(waiting) > most:
                yield from self._current(waiting.popleft())
        while waiting:
            yield from self._current(waiting.popleft())

    def _current(self, file: SourceFile) -> Iterator[SourceFile]:
        yield file
        self._files.pop(file.url, None)
        self._fetched.pop(file.url, None)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="flowstone-s3")
            # Not later by a thread: clients are safe to share, but making one is not.
            _ = self.s3
        return self._pool

    def _whole(self, file: SourceFile) -> bytes:
        with ObjectStream(self.s3, file, closing=self._closing) as stream:
            return stream.readall()

    def pin(self, files: Iterable[SourceFile]) -> None:
        """Open files in this version, and say without asking that they are as they were: opening them will tell."""
        for file in files:
            self._files[file.url] = file
            self._pinned.add(file.url)

    # What a file reader asks for.

    def path(self, url: str, conn_id: str | None = None) -> _Path:
        """The file at a URL."""
        return _Path(self, url)

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """A client of another service."""
        return self._resources.client(service, conn_id)

    def connection(self, conn_id: str) -> Any:
        """A connection."""
        return self._resources.connection(conn_id)

    def invalidate_cache(self) -> None:
        """There is none."""

    def info(self, url: str) -> dict[str, Any]:
        """What a file system says about a file; from now on it is opened in this version.

        Raises:
            SourceNotFoundError: There is no such object.
        """
        if url not in self._pinned:
            bucket, key = place_of(url)
            with aws_errors(url, url=url):
                answer = self.s3.head_object(Bucket=bucket, Key=key)
            size, etag = answer["ContentLength"], answer["ETag"].strip('"')
            self._files[url] = SourceFile(url=url, size=size, etag=etag)
        file = self._files[url]
        return {"type": "file", "size": file.size, "ETag": file.etag}

    def open(self, url: str, *, pieces: bool) -> io.IOBase:
        """Open a file.

        Args:
            url: A file that `ahead`, `pin` or `info` saw.
            pieces: Only some pieces of it will be read, each by a request of its own.
        """
        file = self._files[url]
        if url in self._fetched:
            return io.BytesIO(self._fetched[url].result())
        if pieces and (file.size or 0) <= _WHOLE:
            return io.BytesIO(self._whole(file))
        return ObjectStream(self.s3, file, pieces=pieces, closing=self._closing)

    def close(self) -> None:
        """End the threads and the connections."""
        self._closing.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._fetched.clear()
        self._files.clear()
        self._pinned.clear()
        if self._client is not None:
            self._client.close()
            self._client = None


class _Path:
    """As much of a ``UPath`` as the file readers use."""

    def __init__(self, objects: S3Objects, url: str) -> None:
        self.fs = objects
        self.path = url

    def open(self, mode: str, *, cache_type: str | None = None, **how: Any) -> io.IOBase:
        """Open for reading bytes. Without a cache, as Parquet is read, only pieces are wanted."""
        return self.fs.open(self.path, pieces=cache_type == "none")


class _CutError(Exception):
    """A connection broke while an object was read."""


class ObjectStream(io.RawIOBase):
    """An object as a file.

    Args:
        s3: A boto3 client.
        file: The object, in the version that is meant.
        pieces: Each piece is asked for by itself, so that reading here and there costs no more than what is read.
        closing: When it is set, reading does not wait to go on after a cut.
    """

    def __init__(self, s3: Any, file: SourceFile, *, pieces: bool = False, closing: threading.Event) -> None:
        super().__init__()
        self._s3 = s3
        self._file = file
        self._size = file.size or 0
        self._pieces = pieces
        self._body: Any = None
        self._at = 0
        self._going_on = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_CutError),
            stop=tenacity.stop_any(tenacity.stop_after_attempt(_ATTEMPTS), tenacity.stop_when_event_set(closing)),
            wait=_WAIT,
            sleep=tenacity.sleep_using_event(closing),
            reraise=True,
        )

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is; the connection begins anew where reading goes on."""
        return True

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset; costs nothing until the next read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset != self._at:
            self._let_go()
            self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """All that is left."""
        return self.read(-1)

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes; fewer only at the end.

        Raises:
            SourceChangedError: The object was written anew, or deleted.
            SourceUnavailableError: The connection was cut off again and again.
        """
        left = max(0, self._size - self._at)
        end = self._at + (left if size is None or size < 0 else min(size, left))
        if self._pieces:
            return self._read(end - self._at) if end > self._at else b""
        chunks = []
        while self._at < end:
            chunks.append(self._read(min(_CHUNK, end - self._at)))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read(self, size: int) -> bytes:
        url = self._file.url
        try:
            with aws_errors(url, url=url):
                data: bytes = self._going_on(self._once, size)
        except _CutError as error:
            raise SourceUnavailableError(
                f"cannot read {url}: the connection was cut off {_ATTEMPTS} times after {self._at:,} of {self._size:,} "
                f"bytes ({error}); check the network",
                url=url,
                offset=self._at,
            ) from error
        except SourceNotFoundError as error:
            raise SourceChangedError(
                f"{url} was deleted since it was listed; clear the plan task to plan anew", url=url
            ) from error
        self._at += len(data)
        return data

    def _once(self, size: int) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError
        from urllib3.exceptions import HTTPError

        if self._body is None:
            self._body = self._get(self._at + size if self._pieces else None)
        try:
            data: bytes = self._body.read(size)
            if len(data) < size:
                # botocore compares the length only when asked for more.
                raise _CutError(f"{len(data)} bytes of {size} came")
            if self._pieces or self._at + size == self._size:
                # Only now botocore compares the checksum.
                self._body.read(1)
                self._let_go()
            return data
        except (HTTPClientError, IncompleteReadError, HTTPError, OSError) as error:
            self._let_go()
            raise _CutError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self._let_go()
            raise

    def _get(self, end: int | None) -> Any:
        bucket, key = place_of(self._file.url)
        request = {"Bucket": bucket, "Key": key, "IfMatch": f'"{self._file.etag}"'}
        if self._at or end is not None:
            request["Range"] = f"bytes={self._at}-{'' if end is None else end - 1}"
        return self._s3.get_object(**request)["Body"]

    def _let_go(self) -> None:
        if self._body is not None:
            # An answer that is not read to its end costs its connection.
            with suppress(OSError):
                self._body.close()
            self._body = None

    def close(self) -> None:
        """Let go of the connection."""
        self._let_go()
        super().close()
