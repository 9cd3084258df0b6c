"""Parts of a file in S3: how large they are, and the checksum that is made of theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from flowstone_provider.hooks._files import Digest

PART = 8 << 20
"""Bytes of a part, as in boto3's transfer manager."""

# An upload has at most 10,000 parts (S3 user guide, "multipart upload limits"). With parts that are at least this part
# of what is there already, that is enough for the largest object.
_GROWTH = 1_000


def _size(sent: int) -> int:
    """The bytes of the part that begins here."""
    return max(PART, sent // _GROWTH)


def parts_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts for an upload, each in memory on its own."""
    pieces: list[memoryview] = []
    waiting = sent = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            size = _size(sent)
            piece, view = view[: size - waiting], view[size - waiting :]
            pieces.append(piece)
            waiting += len(piece)
            if waiting == size:
                # A chunk that is a part need not be copied.
                yield bytes(chunk) if len(pieces) == 1 and len(piece) == len(chunk) else b"".join(pieces)
                sent += waiting
                pieces, waiting = [], 0
    if pieces:
        yield b"".join(pieces)


class PartsDigest(Digest):
    """The checksum of a file in parts: the SHA-256 of its parts' SHA-256, which S3 calls a composite checksum.

    An upload hashes its parts in the threads that send them, and S3 compares each with what came in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parts: dict[int, bytes] = {}
        self._left = _size(0)
        self._sent = 0

    def add(self, number: int, part: bytes) -> bytes:
        """Take a part; parts may come in any order, and from several threads.

        Returns:
            Its SHA-256.
        """
        self._parts[number] = hashlib.sha256(part).digest()
        return self._parts[number]

    def _update(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                piece, view = view[: self._left], view[self._left :]
                self._sha.update(piece)
                self._left -= len(piece)
                self._sent += len(piece)
                if not self._left:
                    self._end()

    def _end(self) -> None:
        self._parts[len(self._parts) + 1] = self._sha.digest()
        self._sha, self._left = hashlib.sha256(), _size(self._sent)

    def __str__(self) -> str:
        parts = dict(self._parts)
        if self._left < _size(self._sent):  # of what went through, the last part
            parts[len(parts) + 1] = self._sha.digest()
        return f"sha256-parts:{hashlib.sha256(b''.join(parts[number] for number in sorted(parts))).hexdigest()}"
