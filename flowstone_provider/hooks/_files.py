"""Files of an IO manager below a folder on any filesystem: written whole or not at all, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from flowstone_provider import folders, store
from flowstone_provider.errors import StorageError

# Bytes of a file that are read at once.
_CHUNK = 1 << 20

# Bytes that are given to the thread that hashes, at least; and how often they may wait for it.
_PIECE = 1 << 20
_WAITING = 4


class Found(NamedTuple):
    """A file in a listing."""

    name: str
    size: int
    written: datetime | None


class Files(Protocol):
    """Where a `FolderManager` keeps its files. Names are relative, with slashes."""

    def digest(self) -> Digest:
        """For the checksum of a value that is written or read here."""

    def put(self, name: str, chunks: Iterable[bytes], digest: Digest) -> None:
        """Write a new file, and give what is written to the digest; it is there whole or not at all."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a small file in the place of one that is there, at one moment."""

    def get(self, name: str) -> bytes | None:
        """A small file; ``None`` when there is none."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file from its beginning to its end.

        Raises:
            FileNotFoundError: There is none. It is raised at once, not by the iterator.
        """

    def open(self, name: str) -> Any:
        """A file for reading, which can seek.

        Raises:
            FileNotFoundError: There is none.
        """

    def list(self, folder: str) -> Iterator[Found]:
        """All files below a folder, in the order of their names."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is not there is no error."""

    def uri(self, name: str) -> str:
        """The URL of a file or a folder."""


class PathFiles:
    """Files below a path of universal_pathlib, which ``ObjectStoragePath`` is.

    Args:
        root: The folder.
    """

    def __init__(self, root: Any) -> None:
        self._root = root

    def digest(self) -> Digest:
        """See `Files.digest`."""
        return Digest()

    def put(self, name: str, chunks: Iterable[bytes], digest: Digest) -> None:
        """See `Files.put`."""
        store.write_stream(self._root / name, digest.through(chunks))

    def replace(self, name: str, data: bytes) -> None:
        """See `Files.replace`."""
        store.write_whole(self._root / name, data)

    def get(self, name: str) -> bytes | None:
        """See `Files.get`."""
        return store.read_or_none(self._root / name)

    def chunks(self, name: str) -> Iterator[bytes]:
        """See `Files.chunks`."""
        return _chunks(self.open(name), self.uri(name))

    def open(self, name: str) -> Any:
        """See `Files.open`."""
        return store.open_whole(self._root / name)

    def list(self, folder: str) -> Iterator[Found]:
        """See `Files.list`."""
        below = self._root / folder if folder else self._root
        for name, size, written in folders.list_files(below):
            yield Found(f"{folder}/{name}" if folder else name, size, written)

    def remove(self, names: Iterable[str]) -> None:
        """See `Files.remove`."""
        for name in names:
            folders.remove_file(self._root / name)

    def uri(self, name: str) -> str:
        """See `Files.uri`."""
        return store.uri_of(self._root / name if name else self._root)


def _chunks(file: Any, url: str) -> Iterator[bytes]:
    with file:
        try:
            yield from iter(lambda: file.read(_CHUNK), b"")
        except OSError as error:
            raise StorageError(f"cannot read {url}: {type(error).__name__}: {error}; load it again") from error


class Digest:
    """The checksum of chunks that go by, made on another processor while they are written or read."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.bytes = 0

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks."""
        waiting: deque[Future[None]] = deque()
        some: list[bytes] = []
        size = 0
        with ThreadPoolExecutor(1, thread_name_prefix="flowstone-sha256") as pool:
            for chunk in chunks:
                some.append(chunk)
                size += len(chunk)
                if size >= _PIECE:
                    self.bytes += size
                    waiting.append(pool.submit(self._update, some))
                    some, size = [], 0
                    if len(waiting) > _WAITING:
                        waiting.popleft().result()
                yield chunk
            self.bytes += size
            pool.submit(self._update, some).result()

    def _update(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._sha.update(chunk)

    def __str__(self) -> str:
        return f"sha256:{self._sha.hexdigest()}"
