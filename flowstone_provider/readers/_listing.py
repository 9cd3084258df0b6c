"""Which files a path means, and what tells one version of a file from another."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flowstone_provider.contracts.item_reader import Resources
from flowstone_provider.errors import ReaderError, SourceChangedError, SourceNotFoundError

# What file systems call it, best first: a checksum, or else a time.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


class SourceFile(BaseModel):
    """A file as it was when it was looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="Where it is.")
    size: int | None = Field(description="Its size in bytes; `None` when the server does not say.")
    etag: str = Field(description="Its ETag, or else the time of its last change.")

    def expect(self, now: SourceFile) -> None:
        """Check that the file is still this one.

        Raises:
            SourceChangedError: It is not.
        """
        if self == now:
            return
        if self.size != now.size:
            what = f"it had {self.size} bytes and has {now.size}"
        else:
            what = f"it still has {now.size} bytes, but was written anew: {self.etag} became {now.etag}"
        raise changed(f"{self.url} changed since it was planned: {what}", url=self.url, was=self.size, now=now.size)


def changed(what: str, **data: Any) -> SourceChangedError:
    """The error for a source that is not what was planned, with the remedy."""
    return SourceChangedError(
        f"{what}; remove the scatter's ledger folder with `airflow flowstone clean` and clear the plan task "
        "to plan anew",
        **data,
    )


def expand(resources: Resources, path: str | list[str], conn_id: str | None) -> list[SourceFile]:
    """The files that a path, or several, stand for.

    Args:
        resources: Turns URLs into paths.
        path: URLs and patterns (``*``, ``?``, ``[…]``, ``**``).
        conn_id: The connection for all of them.

    Returns:
        The files in the order of the paths, those of one pattern sorted by name; a file that two paths mean
        stands once, in the first place.

    Raises:
        SourceNotFoundError: A file does not exist, or a pattern matches no file.
    """
    files: dict[str, SourceFile] = {}
    for url in [path] if isinstance(path, str) else path:
        found = _matches(resources, url, conn_id) if _is_pattern(url) else [look_at(resources, url, conn_id)]
        for file in found:
            files.setdefault(file.url, file)
    return list(files.values())


def look_at(resources: Resources, url: str, conn_id: str | None) -> SourceFile:
    """The file at a URL as it is now.

    Raises:
        SourceNotFoundError: There is none, or a folder.
    """
    where = resources.path(url, conn_id)
    # A listing from before may be cached, and with it the size from before.
    where.fs.invalidate_cache()
    try:
        info = where.fs.info(where.path)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFoundError(f"there is no file {url}", url=url) from None
    if info["type"] != "file":
        raise SourceNotFoundError(
            f"{url} is a folder; name the files in it with a pattern, such as {url.rstrip('/')}/*", url=url
        )
    return _described(url, info)


def _is_pattern(url: str) -> bool:
    # In a web address a question mark begins the query.
    return any(mark in url for mark in ("*[" if url.startswith(("http://", "https://")) else "*?["))


def _matches(resources: Resources, pattern: str, conn_id: str | None) -> list[SourceFile]:
    where = resources.path(pattern, conn_id)
    fs = where.fs
    fs.invalidate_cache()
    found: dict[str, dict[str, Any]] = fs.glob(where.path, detail=True)
    files = []
    for name in sorted(found):
        info = found[name]
        # An object whose key ends with a slash is how consoles draw an empty folder.
        if info["type"] != "file" or name.endswith("/"):
            continue
        # Object stores list ETags. Others may say less in a listing, or say it in another form.
        if not (info.get("ETag") or info.get("etag")):
            info = fs.info(name)
        files.append(_described(_rebuilt(pattern, str(where.path), name), info))
    if not files:
        raise SourceNotFoundError(f"no file matches {pattern}", url=pattern)
    return files


def _rebuilt(pattern: str, pattern_path: str, name: str) -> str:
    """The URL of a match, so that the same resources turn it into a path with the same credentials.

    A file system lists names without protocol, host and connection; these are what stands before the path in
    the pattern: ``s3://conn@`` in ``s3://conn@bucket/a*``, whose path is ``bucket/a*``.
    """
    if "://" in name:
        return name
    if "://" not in pattern:
        return name
    tail = pattern_path.lstrip("/")
    if not pattern.endswith(tail):
        raise ReaderError(f"the pattern {pattern} must be written without `..`, `.` and double slashes", url=pattern)
    return pattern.removesuffix(tail) + name.lstrip("/")


def _version(info: dict[str, Any]) -> str | None:
    for key in _VERSION_KEYS:
        if info.get(key) is not None:
            return str(info[key]).strip('"')
    return None


def _described(url: str, info: dict[str, Any]) -> SourceFile:
    return SourceFile(url=url, size=info.get("size"), etag=_version(info) or "")
