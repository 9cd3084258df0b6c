"""Files of an IO manager below a prefix of an S3 bucket."""

from __future__ import annotations

import io
import logging
import re
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import cached_property
from itertools import chain, islice
from typing import Any

from flowstone_provider.aws import AwsErrors
from flowstone_provider.errors import FlowstoneError, StorageAccessError, StorageError
from flowstone_provider.hooks._files import Digest, Found
from flowstone_provider.hooks._parts import PART, PartsDigest, parts_of
from flowstone_provider.s3_objects import ObjectStream, ObjectVersion, url_of

log = logging.getLogger(__name__)

# How many parts are on their way at the same time: as in boto3's transfer manager.
_AT_ONCE = 10

# Parts of a load that are in memory, at most: while one of them is slow, those behind it are fetched.
_AHEAD = 14

# What is fetched with the end of an object, where the metadata of a Parquet file is: of a small one that is all.
_TAIL = 1 << 20

# Keys of one request (DeleteObjects, "up to 1000 keys").
_KEYS = 1_000

_ERRORS = AwsErrors(
    missing=StorageAccessError,
    refused=StorageAccessError,
    unavailable=StorageError,
    changed=StorageError,
    other=StorageError,
    since="it was opened",
    again="load it again",
    slower="run fewer tasks at once",
)


class S3Files:
    """See `flowstone_provider.hooks._files.Files`.

    Args:
        client: Makes the boto3 client, when it is first needed.
        bucket: The bucket.
        prefix: The folder of all files, without slashes around it; may be empty.
    """

    def __init__(self, client: Callable[[], Any], bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._base = f"{prefix}/" if prefix else ""

    @cached_property
    def _s3(self) -> Any:
        return self._client()

    def _place(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._base}{name}"}

    def uri(self, name: str) -> str:
        """See `Files.uri`."""
        return url_of(self._bucket, f"{self._base}{name}".rstrip("/"))

    # Writing

    def digest(self) -> PartsDigest:
        """See `Files.digest`."""
        return PartsDigest()

    def put(self, name: str, chunks: Iterable[bytes], digest: Digest) -> None:
        """See `Files.put`. A large file is an upload in parts, which nobody sees before it is complete."""
        assert isinstance(digest, PartsDigest)  # noqa: S101  (it is ours)
        parts = parts_of(chunks)
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            if first:
                digest.add(1, first)
            digest.bytes += len(first)
            self.replace(name, first)
            return
        self._upload(name, chain([first, second], parts), digest)

    def replace(self, name: str, data: bytes) -> None:
        """See `Files.replace`."""
        with _ERRORS.raised(self.uri(name), "write"):
            self._s3.put_object(**self._place(name), Body=data)

    def _upload(self, name: str, parts: Iterator[bytes], digest: PartsDigest) -> None:
        url, place = self.uri(name), self._place(name)
        with _ERRORS.raised(url, "write"):
            place["UploadId"] = self._s3.create_multipart_upload(**place, **self._checksum)["UploadId"]
        try:
            done: list[dict[str, Any]] = []
            # The parts are made in this thread, and whoever makes them may rely on that.
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flowstone-s3") as pool:
                going: set[Future[dict[str, Any]]] = set()
                for number, part in enumerate(parts, 1):
                    if len(going) == _AT_ONCE:
                        ended, going = wait(going, return_when=FIRST_COMPLETED)
                        done.extend(each.result() for each in ended)
                    digest.bytes += len(part)
                    going.add(pool.submit(self._upload_part, url, place, number, part, digest))
                done.extend(each.result() for each in going)
            done.sort(key=lambda part: part["PartNumber"])
            with _ERRORS.raised(url, "write"):
                self._s3.complete_multipart_upload(**place, MultipartUpload={"Parts": done})
        except BaseException:
            self._abort(url, place)
            raise

    def _upload_part(
        self, url: str, place: dict[str, str], number: int, part: bytes, digest: PartsDigest
    ) -> dict[str, Any]:
        # S3 compares it with what came in. For the value's checksum it is of use, too: nothing is hashed twice.
        sha = b64encode(digest.add(number, part)).decode()
        known = {"ChecksumSHA256": sha} if self._checksum else {}
        with _ERRORS.raised(url, "write"):
            answer = self._s3.upload_part(**place, **known, PartNumber=number, Body=part)
        return {"PartNumber": number, **{name: answer[name] for name in ("ETag", "ChecksumSHA256") if name in answer}}

    @cached_property
    def _checksum(self) -> dict[str, str]:
        # For servers that know no checksums, "when_required" in the connection's config_kwargs turns them off, as it
        # does boto3's.
        wanted = self._s3.meta.config.request_checksum_calculation == "when_supported"
        return {"ChecksumAlgorithm": "SHA256"} if wanted else {}

    def _abort(self, url: str, place: dict[str, str]) -> None:
        try:
            with _ERRORS.raised(url, "abort the upload of"):
                self._s3.abort_multipart_upload(**place)
        except FlowstoneError as error:
            # The error that led here is the one to tell.
            log.warning("%s. Its parts stay until `airflow flowstone clean` removes them", error)

    # Reading

    def get(self, name: str) -> bytes | None:
        """See `Files.get`."""
        try:
            return b"".join(self.chunks(name))
        except FileNotFoundError:
            return None

    def chunks(self, name: str) -> Iterator[bytes]:
        """See `Files.chunks`. A small file is one request; of a large one several parts are fetched at once."""
        closing = threading.Event()
        first = self._opened(name, f"0-{PART - 1}", closing)
        if not isinstance(first, _Object):
            return iter([])
        if first.version.size <= PART:
            return first.chunks()
        return self._fetched(first, closing)

    def _fetched(self, first: _Object, closing: threading.Event) -> Iterator[bytes]:
        version = first.version
        starts = iter(range(PART, version.size, PART))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flowstone-s3") as pool:
            fetch = lambda start: pool.submit(self._part, version, start, closing)  # noqa: E731
            waiting = deque(map(fetch, islice(starts, _AHEAD)))
            try:
                yield from first.chunks(PART)
                while waiting:
                    part = waiting.popleft().result()
                    waiting.extend(map(fetch, islice(starts, 1)))
                    yield from part
            finally:
                closing.set()
                pool.shutdown(cancel_futures=True)

    def _part(self, version: ObjectVersion, start: int, closing: threading.Event) -> list[bytes]:
        with ObjectStream(self._s3, version, _ERRORS, pieces=True, closing=closing) as stream:
            stream.seek(start)
            # Not as one, which would copy them.
            return [*stream.chunks(PART)]

    def open(self, name: str) -> Any:
        """See `Files.open`. The end of the file, or all of a small one, is fetched at once."""
        stream = self._opened(name, f"-{_TAIL}", threading.Event())
        if isinstance(stream, _Object):
            stream.keep()
        return stream

    def _opened(self, name: str, span: str, closing: threading.Event) -> _Object | io.BytesIO:
        """A file of which a span of bytes is on its way, at the span's beginning."""
        from botocore.exceptions import ClientError

        url = self.uri(name)
        with _ERRORS.raised(url):
            try:
                answer = self._s3.get_object(**self._place(name), Range=f"bytes={span}")
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code == "NoSuchKey":
                    raise FileNotFoundError(url) from error
                if code == "InvalidRange":  # of an object of no bytes
                    return io.BytesIO()
                raise
        start, until, size = _extent(answer)
        version = ObjectVersion(url, size, answer["ETag"].strip('"'))
        stream = _Object(self._s3, version, _ERRORS, pieces=True, closing=closing)
        stream.take(answer["Body"], start, until)
        return stream

    # All files

    def list(self, folder: str) -> Iterator[Found]:
        """See `Files.list`."""
        below = self._base + (f"{folder}/" if folder else "")
        with _ERRORS.raised(url_of(self._bucket, below), "list"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=below):
                for found in page.get("Contents", []):
                    yield Found(found["Key"].removeprefix(self._base), found["Size"], found["LastModified"])

    def remove(self, names: Iterable[str]) -> None:
        """See `Files.remove`."""
        from botocore.exceptions import ClientError

        left = iter(names)
        while some := list(islice(left, _KEYS)):
            request = {"Objects": [{"Key": f"{self._base}{name}"} for name in some], "Quiet": True}
            with _ERRORS.raised(self.uri(some[0]), "delete"):
                answer = self._s3.delete_objects(Bucket=self._bucket, Delete=request)
            for error in answer.get("Errors", []):
                # S3 answers 200, and tells for each key what became of it.
                with _ERRORS.raised(url_of(self._bucket, error["Key"]), "delete"):
                    raise ClientError({"Error": error}, "DeleteObjects")

    def abort_uploads(self, before: datetime, ours: Callable[[str], bool]) -> int:
        """Abort uploads in parts that began before a time; how many bytes they had.

        Args:
            before: When.
            ours: Whether a key is that of a file of ours: others may upload to the bucket, too.
        """
        removed = 0
        url = url_of(self._bucket, self._base)
        with _ERRORS.raised(url, "list the uploads to"):
            pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._base)
            old = [each for page in pages for each in page.get("Uploads", []) if each["Initiated"] < before]
        for upload in old:
            if ours(upload["Key"]):
                removed += self._abort_upload(upload["Key"], upload["UploadId"])
        return removed

    def _abort_upload(self, key: str, upload_id: str) -> int:
        from botocore.exceptions import ClientError

        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id}
        with _ERRORS.raised(url_of(self._bucket, key), "abort the upload of"):
            try:
                pages = self._s3.get_paginator("list_parts").paginate(**place)
                size: int = sum(part["Size"] for page in pages for part in page.get("Parts", []))
                self._s3.abort_multipart_upload(**place)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "NoSuchUpload":  # it ended since it was listed
                    return 0
                raise
        return size


class _Object(ObjectStream):
    """An object whose end may be in memory."""

    _kept_from = 0
    _kept = b""

    def keep(self) -> None:
        """Read all that is left, and have it at hand from now on."""
        self._kept_from, self._kept = self.tell(), super().read()

    def read(self, size: int | None = -1) -> bytes:
        at = self.tell() - self._kept_from
        if at < 0 or not self._kept:
            return super().read(size)
        data = self._kept[at:] if size is None or size < 0 else self._kept[at : at + size]
        self.seek(len(data), io.SEEK_CUR)
        return data


def _extent(answer: Any) -> tuple[int, int, int]:
    """Where the bytes of an answer begin and end, and how many the object has."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
    if found is None:  # all of it: RFC 9110, 14.2, lets a server ignore the range
        size = int(answer["ContentLength"])
        return 0, size, size
    start, last, size = map(int, found.groups())
    return start, last + 1, size
