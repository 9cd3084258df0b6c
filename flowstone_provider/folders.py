"""Folders on any filesystem: how they are named, what lies in them and since when, and how it is removed."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from flowstone_provider.errors import StorageError
from flowstone_provider.store import is_local, patiently

# Most filesystems take 255 bytes in a name.
_LONGEST_SEGMENT = 180


def segment(name: str) -> str:
    """A dag, run, scatter or task id as the name of a folder: safe everywhere, never equal for two ids.

    Letters, digits and ``._-+=`` stay, unless a dot comes first; any other byte of the UTF-8 becomes ``~`` and two
    hex digits in capitals. A long one is cut and ends in a hash. So no id has a name such as ``~routes``.
    """
    safe = re.sub(
        rb"[^A-Za-z0-9._+=-]|^\.", lambda match: b"~%02X" % match.group()[0], name.encode("utf-8", "surrogatepass")
    ).decode()
    if len(safe) <= _LONGEST_SEGMENT:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{safe[: _LONGEST_SEGMENT - 18]}~~{digest}"


def list_names(folder: Any) -> list[str]:
    """The paths of all files below a folder, relative to it, sorted; none when there is no such folder.

    Raises:
        StorageError: Storage refused.
    """

    def find() -> list[str]:
        # Another process may have written there: a listing that was kept is no good.
        folder.fs.invalidate_cache(folder.path)
        base = folder.path.rstrip("/") + "/"
        return sorted(found[len(base) :] for found in folder.fs.find(folder.path) if found.startswith(base))

    try:
        return [n for n in patiently(find, "list", folder) if not n.rpartition("/")[2].startswith(".")]
    except FileNotFoundError:
        return []


def list_files(folder: Any) -> list[tuple[str, int, datetime | None]]:
    """All files below a folder, sorted: name relative to it, bytes, when it was written; none without the folder.

    Storage that does not say when has ``None`` for it.

    Raises:
        StorageError: Storage refused.
    """

    def find() -> dict[str, dict[str, Any]]:
        folder.fs.invalidate_cache(folder.path)
        found: dict[str, dict[str, Any]] = folder.fs.find(folder.path, detail=True)
        return found

    try:
        found = patiently(find, "list", folder)
    except FileNotFoundError:
        return []
    base = folder.path.rstrip("/") + "/"
    return sorted(
        (name[len(base) :], info["size"] or 0, _written(info)) for name, info in found.items() if name.startswith(base)
    )


def list_folders(folder: Any) -> list[Any]:
    """The folders in a folder, sorted by name; none when there is no such folder.

    Raises:
        StorageError: Storage refused.
    """

    def find() -> list[str]:
        folder.fs.invalidate_cache(folder.path)
        return [entry["name"] for entry in folder.fs.ls(folder.path, detail=True) if entry["type"] == "directory"]

    try:
        return [folder / name.rstrip("/").rpartition("/")[2] for name in sorted(patiently(find, "list", folder))]
    except FileNotFoundError:
        return []


def last_touched(folder: Any) -> datetime | None:
    """When a file in or below a folder was last written; ``None`` when there is none.

    Raises:
        StorageError: Storage refused.
    """
    found = patiently(lambda: folder.fs.find(folder.path, detail=True), "list", folder)
    latest: datetime | None = None
    for info in found.values():
        written = _written(info)
        if written is None:
            raise age_unknown(info.get("name"))
        latest = written if latest is None else max(latest, written)
    return latest


def age_unknown(path: Any) -> StorageError:
    """The error for storage that does not say when a file was written."""
    return StorageError(f"storage does not say when {path} was written: it cannot be removed by age")


def _written(info: dict[str, Any]) -> datetime | None:
    # fsspec has no word of its own for it: local disks say mtime, S3 LastModified, others updated or created.
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, timezone.utc)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return None


def remove_file(path: Any) -> None:
    """Remove a file; that there is none is no error. On a local disk also the folders around it that are empty then.

    Raises:
        StorageError: Storage refused.
    """
    with suppress(FileNotFoundError):
        patiently(lambda: path.fs.rm_file(path.path), "remove", path)
    if is_local(path):
        with suppress(OSError):  # not empty
            for parent in list(Path(path.path).parents)[:2]:
                parent.rmdir()


def remove_folder(folder: Any) -> None:
    """Remove a folder and all in it; on a local disk also the folders around it that are empty then.

    Raises:
        StorageError: Storage refused.
    """
    patiently(lambda: folder.fs.rm(folder.path, recursive=True), "remove", folder)
    if is_local(folder):
        with suppress(OSError):  # not empty
            for parent in list(Path(folder.path).parents)[:2]:
                parent.rmdir()
