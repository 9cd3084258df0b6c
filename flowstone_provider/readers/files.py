"""What the file readers share: their options, checkpoints and splits.

A checkpoint says which file, how many records of it are done, how many items came out in all, the fingerprint
of the file, and a digest of the fingerprints of the files before it. A resumed reading goes through the same
records again without yielding them.

A split is a contiguous part of all the files together, measured in bytes (text) or rows (Parquet). It carries
the fingerprints of its files: a split of a file that changed is an error, not other items.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from flowstone_provider.contracts.item_reader import (
    BadRecord,
    Checkpoint,
    ItemReader,
    Json,
    Page,
    ReaderOptions,
    ReaderSpec,
    Resources,
    limited,
)
from flowstone_provider.errors import BadRecordError, SourceNotFoundError
from flowstone_provider.readers._listing import SourceFile, changed, expand, look_at
from flowstone_provider.readers._streams import Compression, compression_of

PAGE_ITEMS = 200
"""Items of a page at most. A page that fits the processor's cache is read, converted and freed twice as fast as one of
a thousand items, which does not."""

PAGE_BYTES = 4 << 20
"""Bytes of a file after which a page ends, even with fewer items."""

# What a store is asked for at once. s3fs would take 50 MiB, also for the header of a split.
_BLOCK = 8 << 20

RAW_LENGTH = 300
"""Characters of a bad record that are kept."""


class Part(BaseModel):
    """A contiguous part of some files, in bytes or rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: list[SourceFile] = Field(description="The files, as they were when the split was made.")
    start: int = Field(description="Where the part begins in the first file.")
    end: int | None = Field(description="Where it ends in the last file; `None` is the file's end.")
    extent: int = Field(description="How many bytes or rows it has.")


class FileOptions(ReaderOptions):
    """Options of every file reader."""

    path: str | list[str] = Field(
        description="A URL, a pattern (`*`, `?`, `[…]`, `**`; write `[[]` for a bracket), or a list of them."
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection for the files.")
    compression: Literal["infer", "gzip", "zstd", "none"] = Field(
        default="infer",
        description="How the files are compressed; `infer` goes by the suffixes `.gz` and `.zst`.",
    )
    part: Part | None = Field(default=None, description="Which part of the files to read: set by splits.")


class LineOptions(FileOptions):
    """Options of the readers of text lines, where one bad record leaves the others readable."""

    bad_records: Literal["error", "fail"] = Field(
        default="error",
        description="`error` ends the reading at a record that cannot be read; `fail` makes it a failed "
        "item. A file that is damaged as a whole, such as a truncated gzip stream, always ends the reading.",
    )


class FileReader(ItemReader):
    """Reads files one after the other.

    Args:
        options: An instance of the class's ``options`` model.
        resources: Turns URLs and connection ids into paths.
    """

    options: ClassVar[type[ReaderOptions]] = FileOptions
    repeatable: ClassVar[bool] = True

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._open: set[Any] = set()

    @abstractmethod
    def read(self, file: SourceFile, start: int, end: int | None, skip: int) -> Iterator[list[Json]]:
        """Yield the records of one file as lists of a page's length.

        Args:
            file: The file.
            start: Where to begin, in bytes or rows; 0 is the file's beginning.
            end: Where to end; ``None`` is the file's end.
            skip: How many records from ``start`` on are already done.
        """

    def extents(self, files: list[SourceFile]) -> list[tuple[int, bool]] | None:
        """For each file its bytes or rows, and whether it can be split; ``None`` when nothing can be."""
        # Nobody knows in which split the last of `max_items` items lies.
        if self.opts.max_items is not None:
            return None
        return [(file.size or 0, self.divisible(file)) for file in files]

    def divisible(self, file: SourceFile) -> bool:
        """Whether several splits may share the file."""
        return False

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the pages of all files, each page within one file.

        Raises:
            SourceNotFoundError: A file does not exist, or a pattern matches no file.
            SourceChangedError: A file is not the one that the checkpoint or the split was made from.
            BadRecordError: A record or a file cannot be read.
        """
        after = after or {"file": 0, "done": 0, "taken": 0}
        files = self._files()
        if "current" in after:
            _expect(files, after)
        yield from limited(self._pages(files, after), self.opts.max_items, after["taken"])

    def _files(self) -> list[SourceFile]:
        if self.opts.part is not None:
            return list(self.opts.part.files)
        return expand(self.resources, self.opts.path, self.opts.conn_id)

    def _pages(self, files: list[SourceFile], after: Checkpoint) -> Iterator[Page]:
        part: Part | None = self.opts.part
        taken = after["taken"]
        for index in range(after["file"], len(files)):
            file = files[index]
            if part is not None:
                file.expect(look_at(self.resources, file.url, self.opts.conn_id))
            start = part.start if part is not None and index == 0 else 0
            end = part.end if part is not None and index == len(files) - 1 else None
            done = after["done"] if index == after["file"] else 0
            place = {"file": index, "current": file.model_dump(), "before": _digest(files[:index])}
            for items in self.read(file, start, end, done):
                done += len(items)
                taken += len(items)
                yield Page(items, {**place, "done": done, "taken": taken}, file.url)

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """Parts of about the same number of bytes or rows; some may turn out to hold no item."""
        if self.opts.part is not None:
            return None
        files = self._files()
        extents = self.extents(files)
        if not extents or not sum(extent for extent, _ in extents):
            return None
        parts = cut(files, extents, at_most)
        if len(parts) < min(at_most, 2):
            return None
        given = {name: value for name, value in self.opts.dump().items() if name != "max_items"}
        cls = type(self)
        # The class, not a registered name: an alias of that name may mean another one.
        return [
            ReaderSpec(
                reader=f"{cls.__module__}:{cls.__qualname__}",
                options={**given, "path": part.files[0].url, "part": part.model_dump()},
            )
            for part in parts
        ]

    def compression(self, file: SourceFile) -> Compression:
        """How the file is compressed."""
        return compression_of(file.url, self.opts.compression)

    @contextmanager
    def open(self, file: SourceFile, **how: Any) -> Iterator[Any]:
        """Open a file for reading bytes, as they are stored; `close` closes it too.

        Raises:
            SourceNotFoundError: It does not exist (any more).
        """
        if "://" in file.url:
            how = {"block_size": _BLOCK, **how}
        try:
            stream = self.resources.path(file.url, self.opts.conn_id).open("rb", **how)
        except FileNotFoundError:
            raise SourceNotFoundError(f"there is no file {file.url}", url=file.url) from None
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)
            stream.close()

    def bad(self, message: str, raw: str, **data: Any) -> BadRecord:
        """What stands for a record that cannot be read.

        Raises:
            BadRecordError: Bad records end the reading, as the options say.
        """
        if self.opts.bad_records == "error":
            raise BadRecordError(f"{message}; bad_records='fail' makes such a record a failed item", **data)
        return BadRecord(message, raw[:RAW_LENGTH])

    def close(self) -> None:
        """Close the files that are open."""
        while self._open:
            self._open.pop().close()


def rewound(checkpoint: Checkpoint, items: int) -> Checkpoint:
    """The checkpoint that many items earlier, within the page that a file reader gave it with."""
    return {**checkpoint, "done": checkpoint["done"] - items, "taken": checkpoint["taken"] - items}


def _digest(files: list[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.url}\n{file.size}\n{file.etag}\n".encode())
    return digest.hexdigest()[:32]


def _expect(files: list[SourceFile], after: Checkpoint) -> None:
    was = SourceFile(**after["current"])
    now = {file.url: file for file in files}.get(was.url)
    if now is None:
        raise changed(f"{was.url} is not among the files any more", url=was.url)
    was.expect(now)
    index = after["file"]
    if files.index(now) != index or _digest(files[:index]) != after["before"]:
        raise changed(
            f"the files that were read before {was.url} changed: there were {index}, now there are "
            f"{files.index(now)}, or one of them was written anew",
            url=was.url,
        )


def cut(files: list[SourceFile], extents: list[tuple[int, bool]], at_most: int) -> list[Part]:
    """Cut the files, laid end to end, into parts of about the same extent."""
    files = files[: len(extents)]
    ends = list(accumulate(extent for extent, _ in extents))
    total = ends[-1]
    cuts = {(0, 0)}
    for number in range(1, at_most):
        position = total * number // at_most
        index = bisect_right(ends, position)
        extent, divisible = extents[index]
        offset = position - (ends[index] - extent)
        if not divisible and offset:
            # The nearer border of the file.
            index, offset = (index + 1, 0) if offset * 2 >= extent else (index, 0)
        cuts.add((index, offset))
    cuts.discard((len(files), 0))
    borders = [*sorted(cuts), (len(files), 0)]
    parts = []
    for (first, start), (last, cut) in pairwise(borders):
        stop = last + 1 if cut else last
        extent, divisible = extents[stop - 1]
        upto = (ends[last] - extents[last][0] + cut) if last < len(files) else total
        parts.append(
            Part(
                files=files[first:stop],
                start=start,
                end=cut or (extent if divisible else None),
                extent=upto - (ends[first] - extents[first][0] + start),
            )
        )
    return parts
