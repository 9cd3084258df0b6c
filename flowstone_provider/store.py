"""Files that appear whole or not at all, on any filesystem."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import tenacity

from flowstone_provider.errors import StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Bytes given to the system at once. On ext4, batches of small items took some 5 % less processor time so than with one
# call for a part of several megabytes.
_PIECE = 256 * 1024

# These do not go away by waiting.
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, UnicodeError)


def is_local(path: Any) -> bool:
    """Whether a path lies on a local disk."""
    return getattr(path, "protocol", "") in ("", "file", "local")


def patiently(do: Callable[[], T], what: str, path: Any) -> T:
    """Do something with a file; storage that hiccups is asked again.

    Raises:
        FileNotFoundError: There is no such file to read or list.
        StorageError: Anything else that storage says, in the end.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(4),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        retry=tenacity.retry_if_not_exception_type(_FINAL),
        reraise=True,
    )
    try:
        return retrying(do)
    except Exception as error:
        if isinstance(error, FileNotFoundError) and what != "write":
            raise
        raise StorageError(
            f"cannot {what} {path}: {type(error).__name__}: {error}; check that the storage exists, has room and "
            "may be written by every Airflow component ([flowstone] storage, or the path of the IO manager)",
            path=str(path),
        ) from error


def write_whole(path: Any, data: bytes) -> None:
    """Write a file that others see whole or not at all, replacing one of that name.

    A local file is written under another name, flushed to disk and renamed. An object store shows an object when it
    is complete, so there it is one request.

    Raises:
        StorageError: Storage refused.
    """

    def write() -> None:
        if is_local(path):
            _hidden(path, data).replace(path.path)
        else:
            with _open(path, "wb") as file:
                file.write(data)

    patiently(write, "write", path)


def write_first(path: Any, data: bytes) -> None:
    """As `write_whole`, but a file of that name stays as it is: of several writers the first wins.

    On object stores this takes a conditional write, which S3 has; where fsspec knows none, it looks before it writes.

    Raises:
        StorageError: Storage refused.
    """

    def write() -> None:
        if not is_local(path):
            try:
                path.fs.pipe_file(path.path, data, mode="create")
            except OSError:
                # s3fs knows what AWS says of a file that is there, not what Ceph does.
                if not exists(path):
                    raise
            return
        target = Path(path.path)
        hidden = _hidden(path, data)
        try:
            os.link(hidden, target)
        except FileExistsError:
            pass
        except OSError:  # filesystems without links
            if not target.exists():
                hidden.replace(target)
        finally:
            hidden.unlink(missing_ok=True)

    patiently(write, "write", path)


def _hidden(path: Any, data: bytes) -> Path:
    """Write what shall become a local file under another name beside it, onto the disk."""
    target = Path(path.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with hidden.open("wb") as file:
            for start in range(0, len(data), _PIECE):
                file.write(data[start : start + _PIECE])
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    return hidden


def write_stream(path: Any, chunks: Iterable[bytes]) -> None:
    """As `write_whole`, for a file that is made piece by piece in bounded memory. It is not flushed to disk.

    Args:
        path: The file.
        chunks: Its bytes. What they raise passes as it is: it is no error of the storage.

    Raises:
        StorageError: Storage refused.
    """
    if not is_local(path):
        # An upload in parts is completed by close; a process that dies before leaves nothing to see.
        with _writing(path):
            file = _open(path, "wb")
        try:
            for chunk in chunks:
                with _writing(path):
                    file.write(chunk)
        except BaseException:
            file.discard()
            with suppress(AttributeError):  # fsspec's files in memory
                file.closed = True  # or else it would be closed, and so completed, when Python lets go of it
            raise
        with _writing(path):
            file.close()
        return
    target = Path(path.path)
    hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with _writing(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = hidden.open("wb")
        try:
            for chunk in chunks:
                with _writing(path):
                    file.write(chunk)
        except BaseException:
            with suppress(OSError):  # the error that led here is the one to tell
                file.close()
            raise
        with _writing(path):
            file.close()
            hidden.replace(target)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def _writing(path: Any) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}", path=str(path)) from error


def copy_whole(source: Any, target: Any) -> None:
    """Give a file that is never written again a second name: by a link on a local disk, else by the store itself.

    Raises:
        StorageError: Storage refused.
    """

    def copy() -> None:
        if not is_local(source):
            source.fs.cp_file(source.path, target.path)
            return
        hidden = Path(target.path).with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            os.link(source.path, hidden)
        except OSError:  # filesystems without links
            shutil.copyfile(source.path, hidden)
        hidden.replace(target.path)

    patiently(copy, "write", target)


def read_whole(path: Any) -> bytes:
    """A file's content.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: Storage refused.
    """

    def read() -> bytes:
        with _open(path, "rb") as file:
            data: bytes = file.read()
            return data

    return patiently(read, "read", path)


def read_or_none(path: Any) -> bytes | None:
    """A file's content, or ``None`` when there is no such file.

    Raises:
        StorageError: Storage refused.
    """
    try:
        return read_whole(path)
    except FileNotFoundError:
        return None


def exists(path: Any) -> bool:
    """Whether there is a file.

    Raises:
        StorageError: Storage refused.
    """

    def look() -> bool:
        path.fs.invalidate_cache()  # another process may have written it
        return bool(path.fs.exists(path.path))

    return patiently(look, "find", path)


def open_whole(path: Any) -> Any:
    """A file for reading, which can seek.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: Storage refused.
    """
    return patiently(lambda: _open(path, "rb"), "read", path)


def _open(path: Any, mode: str) -> Any:
    if mode == "rb":
        # s3fs takes size and version of a file from a listing that it kept; another process may have written since.
        path.fs.invalidate_cache(path.path)
    # Not path.open: that of ObjectStoragePath reports each file to Airflow's lineage, which is to name assets.
    return path.fs.open(path.path, mode)


def uri_of(path: Any) -> str:
    """A path as text that opens again, with the scheme and the connection's id."""
    text = str(path)
    conn_id = getattr(path, "conn_id", None)
    scheme, found, rest = text.partition("://")
    if not found:
        return f"file://{text}"
    return f"{scheme}://{conn_id}@{rest}" if conn_id and "@" not in rest.partition("/")[0] else text
