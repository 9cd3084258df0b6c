"""Objects of S3: a listing of them, or what they hold."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from flowstone_provider.contracts.item_reader import (
    Checkpoint,
    ItemReader,
    Page,
    ReaderOptions,
    ReaderSpec,
    Resources,
    limited,
)
from flowstone_provider.contracts.options import is_deferred
from flowstone_provider.errors import ReaderError
from flowstone_provider.readers._aws import aws_errors
from flowstone_provider.readers._listing import SourceFile, changed
from flowstone_provider.readers._s3_objects import S3Objects
from flowstone_provider.readers._s3_ranges import KeyRange, Tally, cut_keys
from flowstone_provider.readers.csv import CsvReader
from flowstone_provider.readers.files import FileReader
from flowstone_provider.readers.json import JsonReader
from flowstone_provider.readers.jsonl import JsonlReader
from flowstone_provider.readers.parquet import ParquetReader
from flowstone_provider.s3_objects import check_bucket, place_of, url_of

# Keys of a request; S3 gives no more (ListObjectsV2, "MaxKeys").
_KEYS = 1_000

_FORMATS: dict[str, type[FileReader]] = {
    "csv": CsvReader,
    "json": JsonReader,
    "jsonl": JsonlReader,
    "parquet": ParquetReader,
}

# What the reader of the contents is not asked for, because this one says it.
_OURS = ("path", "conn_id", "max_items", "part")


class S3Options(ReaderOptions):
    """Options of the ``s3`` reader."""

    title: ClassVar[str] = "s3"

    bucket: Annotated[str, AfterValidator(check_bucket)] = Field(
        description="The bucket, or the alias of an access point."
    )
    prefix: str = Field(
        default="", description="What the keys begin with: `a/` means that folder, `a` also `ab/` and `a.csv`."
    )
    suffix: str | list[str] | None = Field(default=None, description="What the keys end with; one of several.")
    start_after: str | None = Field(default=None, description="Only keys behind this one, in the order of UTF-8.")
    conn_id: str | None = Field(default=None, description="The Airflow connection.")
    contents: Literal["csv", "json", "jsonl", "parquet"] | None = Field(
        default=None, description="Read what the objects hold, in this format. If not, the objects are the items."
    )
    contents_options: dict[str, Any] = Field(
        default={}, description="Options of the reader for `contents`, e.g. `{'delimiter': ';'}`."
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        le=32,
        description="How many objects are fetched at the same time while another is parsed. So many objects of up "
        "to 8 MB wait in memory; larger ones are read as streams, one by one.",
    )
    part: KeyRange | None = Field(default=None, description="Which keys to read: set by splits.")

    @model_validator(mode="after")
    def _contents_fit(self) -> S3Options:
        if self.contents is None:
            for name in ("contents_options", "concurrency"):
                if name in self.model_fields_set:
                    raise ValueError(f"`{name}` has no effect without `contents`")
        elif not is_deferred(self.contents) and not is_deferred(self.contents_options):
            for name in _OURS:
                if name in self.contents_options:
                    raise ValueError(
                        f"`contents_options` cannot have {name!r}: where and how much to read stands beside them"
                    )
            self.reader()
        return self

    def reader(self, resources: Any = None) -> FileReader:
        """The reader of the objects' contents."""
        cls = _FORMATS[str(self.contents)]
        options: dict[str, Any] = {"path": f"s3://{self.bucket}", **self.contents_options}
        return cls(cls.options(**options), resources)


class S3Reader(ItemReader):
    """Items are the objects under a prefix, or what they hold.

    An object is ``{"bucket", "key", "size" (in bytes), "etag" (without quotes), "last_modified" (a time),
    "storage_class"}``. An empty object whose key ends with a slash is how consoles draw a folder, and no item.

    The listing is read page by page: after a checkpoint it goes on behind a key, and finds what has been added there.
    """

    options: ClassVar[type[ReaderOptions]] = S3Options
    repeatable: ClassVar[bool] = True

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._objects = S3Objects(resources, options.conn_id, options.concurrency)
        self._reader: FileReader | None = None

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield pages of objects, a thousand listed keys each, or of what the objects hold, each page within one.

        Raises:
            SourceNotFoundError: There is no such bucket. That no key has the prefix is no error.
            SourceAccessError: No permission, or no or wrong credentials.
            SourceChangedError: An object was written anew or deleted since it was listed, or a split's keys changed.
            SourceUnavailableError: The service is throttling, or did not answer in the end.
            BadRecordError: A record or an object cannot be read.
        """
        part: KeyRange | None = self.opts.part
        after = after or {"after": part.after if part is not None else self.opts.start_after, "taken": 0}
        pages = self._listing(after) if self.opts.contents is None else self._contents(after)
        with closing(pages):
            yield from limited(pages, self.opts.max_items, after["taken"])

    def _listing(self, after: Checkpoint) -> Generator[Page, None, None]:
        taken = after["taken"]
        for entries in self._listed(after["after"]):
            items = [
                {
                    "bucket": self.opts.bucket,
                    "key": entry["Key"],
                    "size": entry["Size"],
                    "etag": entry["ETag"].strip('"'),
                    "last_modified": entry["LastModified"],
                    "storage_class": entry.get("StorageClass", "STANDARD"),
                }
                for entry in self._wanted(entries)
            ]
            taken += len(items)
            yield Page(items, {"after": entries[-1]["Key"], "taken": taken})

    def _contents(self, after: Checkpoint) -> Generator[Page, None, None]:
        part: KeyRange | None = self.opts.part
        if part is not None:
            # Before any item is out, not after the last: they would be processed by then.
            self._expect(part, self._tally(self._files(part.after)))
        self._reader = reader = self.opts.reader(self._objects)
        seen = Tally.load(after["seen"]) if "seen" in after else Tally()
        taken, done = after["taken"], after.get("done", 0)
        for file in self._objects.ahead(self._going_on(after)):
            began, key = done, place_of(file.url)[1]
            if file.size:
                about = {"after": key, "size": file.size, "etag": file.etag, "seen": seen.dump()}
                for items in reader.read(file, 0, None, done):
                    done += len(items)
                    taken += len(items)
                    yield Page(items, {**about, "done": done, "taken": taken}, file.url)
                seen.add(file)
            if done == began:
                # Nothing came, and it need not be read again.
                yield Page([], {"after": key, "seen": seen.dump(), "taken": taken})
            done = 0
        if part is not None:
            self._expect(part, seen)

    def _going_on(self, after: Checkpoint) -> Iterator[SourceFile]:
        """The object that the checkpoint stands in, and those behind it."""
        if "etag" in after:
            url = url_of(self.opts.bucket, after["after"])
            yield SourceFile(url=url, size=after["size"], etag=after["etag"])
        yield from self._files(after["after"])

    def _files(self, after: str | None) -> Iterator[SourceFile]:
        """The objects behind a key that hold anything. An empty one stands for a page of the listing without any."""
        for entries in self._listed(after):
            files = [
                SourceFile(
                    url=url_of(self.opts.bucket, entry["Key"]), size=entry["Size"], etag=entry["ETag"].strip('"')
                )
                for entry in self._wanted(entries)
                if entry["Size"]
            ]
            yield from files or [SourceFile(url=url_of(self.opts.bucket, entries[-1]["Key"]), size=0, etag="")]

    def _listed(self, after: str | None) -> Iterator[list[dict[str, Any]]]:
        """Yield what each request lists behind a key, up to the end of the split; at least one key each."""
        last = self.opts.part.last if self.opts.part is not None else None
        url = url_of(self.opts.bucket, self.opts.prefix)
        more = True
        while more:
            # Not by continuation tokens: they mean nothing to a later task.
            start = {} if after is None else {"StartAfter": after}
            with aws_errors(url, url=url):
                answer = self._objects.s3.list_objects_v2(
                    Bucket=self.opts.bucket, Prefix=self.opts.prefix, MaxKeys=_KEYS, **start
                )
            entries, more = answer.get("Contents", []), answer["IsTruncated"]
            if more and not entries:
                raise ReaderError(f"{url}: the server says that there are more keys, but lists none", url=url)
            if last is not None and entries and entries[-1]["Key"] >= last:
                entries, more = [entry for entry in entries if entry["Key"] <= last], False
            if entries:
                after = entries[-1]["Key"]
                yield entries

    def _wanted(self, entries: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        suffix = self.opts.suffix
        if suffix is not None:
            ends = (suffix,) if isinstance(suffix, str) else tuple(suffix)
            entries = [entry for entry in entries if entry["Key"].endswith(ends)]
        return [entry for entry in entries if entry["Size"] or not entry["Key"].endswith("/")]

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """Ranges of keys whose objects take about the same time to read; ``None`` for a listing, or with `max_items`.

        The listing is read once.
        """
        if self.opts.contents is None or self.opts.max_items is not None or self.opts.part is not None:
            return None
        start = self.opts.start_after
        parts = cut_keys((file for file in self._files(start) if file.size), at_most, start)
        if len(parts) < min(at_most, 2):
            return None
        cls = type(self)
        # The class, not a registered name: an alias of that name may mean another one.
        return [
            ReaderSpec(
                reader=f"{cls.__module__}:{cls.__qualname__}", options={**self.opts.dump(), "part": part.model_dump()}
            )
            for part in parts
        ]

    def _tally(self, files: Iterable[SourceFile]) -> Tally:
        tally = Tally()
        for file in files:
            if file.size:
                tally.add(file)
        return tally

    def _expect(self, part: KeyRange, now: Tally) -> None:
        if now.dump() == part.tally:
            return
        url = url_of(self.opts.bucket, self.opts.prefix)
        what = f"there were {part.tally[0]} objects and there are {now.objects}"
        if now.objects == part.tally[0]:
            what = f"there are still {now.objects} objects, but some were written anew, or others took their place"
        raise changed(
            f"{url} changed since it was planned: from {part.after!r} to {part.last!r} {what}", url=url, part=part.last
        )

    def close(self) -> None:
        """Close what is open, and end what is being fetched."""
        if self._reader is not None:
            self._reader.close()
        self._objects.close()
