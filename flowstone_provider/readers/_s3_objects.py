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
from typing import Any

from flowstone_provider.contracts.item_reader import Resources
from flowstone_provider.readers._aws import READING, aws_errors
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.s3_objects import ObjectStream, ObjectVersion, place_of

# Bytes of an object that is kept in memory as a whole; a larger one is read as a stream.
_WHOLE = 8 << 20


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
        with self._stream(file) as stream:
            return stream.readall()

    def _stream(self, file: SourceFile, *, pieces: bool = False) -> ObjectStream:
        version = ObjectVersion(file.url, file.size or 0, file.etag)
        return ObjectStream(self.s3, version, READING, pieces=pieces, closing=self._closing)

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
        return self._stream(file, pieces=pieces)

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
