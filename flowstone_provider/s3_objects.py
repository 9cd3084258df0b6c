"""Objects of S3 as files to read. A connection that is cut off in the middle goes on where it stopped."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import tenacity

from flowstone_provider.aws import AwsErrors

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


def check_bucket(value: str) -> str:
    """The name of a bucket, or the alias of an access point, as an option gives it.

    Raises:
        ValueError: It is none, or of a bucket that is of no use.
    """
    if not value or "/" in value:
        raise ValueError("is no name of a bucket; of s3://raw/2026/ the bucket is 'raw' and the prefix '2026/'")
    if "@" in value:
        raise ValueError("is no name of a bucket; give the connection as `conn_id`")
    if value.endswith("--x-s3"):
        # "Directory buckets do not support StartAfter", and list in no order (ListObjectsV2).
        raise ValueError("is a directory bucket, which lists its keys in no order; use a general purpose bucket")
    return value


class ObjectVersion(NamedTuple):
    """An object as it was when it was seen."""

    url: str
    size: int
    """In bytes."""
    etag: str
    """Without the quotes around it."""


class _CutError(Exception):
    """A connection broke while an object was read."""


class ObjectStream(io.RawIOBase):
    """An object as a file. Every request carries its ETag: an object that was written anew meanwhile is an error.

    Args:
        s3: A boto3 client.
        version: The object, in the version that is meant.
        errors: What is raised.
        pieces: Each piece is asked for by itself, so that reading here and there costs no more than what is read.
        closing: When it is set, reading does not wait to go on after a cut.
    """

    def __init__(
        self,
        s3: Any,
        version: ObjectVersion,
        errors: AwsErrors,
        *,
        pieces: bool = False,
        closing: threading.Event,
    ) -> None:
        super().__init__()
        self.version = version
        self._s3 = s3
        self._errors = errors
        self._pieces = pieces
        self._body: Any = None
        self._at = 0
        # Where the body that is being read ends.
        self._until = 0
        self._going_on = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_CutError),
            stop=tenacity.stop_any(tenacity.stop_after_attempt(_ATTEMPTS), tenacity.stop_when_event_set(closing)),
            wait=_WAIT,
            sleep=tenacity.sleep_using_event(closing),
            reraise=True,
        )

    def take(self, body: Any, at: int, until: int) -> None:
        """Read on from what came already.

        Args:
            body: Of an answer of ``GetObject``.
            at: The offset of its first byte.
            until: The offset behind its last.
        """
        self._let_go()
        self._body, self._at, self._until = body, at, until

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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.version.size}[whence]
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
        """So many bytes; fewer only at the end."""
        chunks = [*self.chunks(size)]
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def chunks(self, size: int | None = -1) -> Iterator[bytes]:
        """What `read` gives, in pieces as they come."""
        left = max(0, self.version.size - self._at)
        end = self._at + (left if size is None or size < 0 else min(size, left))
        while self._at < end:
            yield self._read(min(_CHUNK, end - self._at), end if self._pieces else self.version.size)

    def _read(self, size: int, until: int) -> bytes:
        url, errors = self.version.url, self._errors
        try:
            with errors.raised(url, url=url):
                data: bytes = self._going_on(self._once, size, until)
        except _CutError as error:
            raise errors.unavailable(
                f"cannot read {url}: the connection was cut off {_ATTEMPTS} times after {self._at:,} of "
                f"{self.version.size:,} bytes ({error}); check the network",
                url=url,
                offset=self._at,
            ) from error
        except errors.missing as error:
            if error.data.get("code") != "NoSuchKey":
                raise
            raise errors.changed(f"{url} was deleted since {errors.since}; {errors.again}", url=url) from error
        self._at += len(data)
        return data

    def _once(self, size: int, until: int) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError
        from urllib3.exceptions import HTTPError

        if self._body is None:
            self._body, self._until = self._get(until), until
        size = min(size, self._until - self._at)
        try:
            data: bytes = self._body.read(size)
            if len(data) < size:
                # botocore compares the length only when asked for more.
                raise _CutError(f"{len(data)} bytes of {size} came")
            if self._at + size == self._until:
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

    def _get(self, until: int) -> Any:
        bucket, key = place_of(self.version.url)
        request = {"Bucket": bucket, "Key": key, "IfMatch": f'"{self.version.etag}"'}
        if self._at or self._pieces:
            request["Range"] = f"bytes={self._at}-{until - 1 if self._pieces else ''}"
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
