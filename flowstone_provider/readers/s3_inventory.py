"""An S3 Inventory: the objects of a bucket, from the report that S3 writes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote_plus

import orjson
from pydantic import AfterValidator, Field

from flowstone_provider.contracts.item_reader import (
    Checkpoint,
    ItemReader,
    Json,
    Page,
    ReaderOptions,
    ReaderSpec,
    Resources,
    limited,
)
from flowstone_provider.errors import BadRecordError, ReaderError, SourceAccessError, SourceNotFoundError
from flowstone_provider.readers._listing import SourceFile, look_at
from flowstone_provider.readers._s3_objects import S3Objects
from flowstone_provider.readers.csv import CsvOptions, CsvReader
from flowstone_provider.readers.files import FileReader, Part, cut
from flowstone_provider.readers.parquet import ParquetOptions, ParquetReader
from flowstone_provider.s3_objects import place_of, url_of

# Data files are looked at one by one: that is waiting for the store.
_LOOKS_AT_ONCE = 16

# Names in the report, in snake case, where the `s3` reader says otherwise.
_NAMES = {"e_tag": "etag", "last_modified_date": "last_modified"}


def _manifest_url(value: str) -> str:
    bucket, key = place_of(value)
    if not value.startswith("s3://") or not bucket or not key.endswith(".json"):
        raise ValueError("is no URL of the form s3://bucket/…/manifest.json")
    if "@" in bucket:
        raise ValueError("names a connection in the URL; give it as `conn_id`")
    return value


class InventoryPart(Part):
    """A part of the data files of an inventory."""

    manifest: str = Field(description="The manifest's ETag.")


class S3InventoryOptions(ReaderOptions):
    """Options of the ``s3_inventory`` reader."""

    title: ClassVar[str] = "s3_inventory"

    manifest: Annotated[str, AfterValidator(_manifest_url)] = Field(
        description="The URL of the inventory's manifest, `s3://bucket/…/manifest.json`."
    )
    conn_id: str | None = Field(default=None, description="The Airflow connection.")
    part: InventoryPart | None = Field(default=None, description="Which part of the files to read: set by splits.")


@dataclass(frozen=True)
class _Manifest:
    """What a manifest says ("Locating your inventory list", Amazon S3 User Guide)."""

    etag: str
    format: str
    columns: list[str]
    """Of CSV files, which have no header."""
    bucket: str
    """Where the data files are meant to be."""
    keys: list[str]


class S3InventoryReader(ItemReader):
    """Items are the objects that an inventory lists.

    They have the names of the ``s3`` reader's, ``bucket``, ``key``, ``size``, ``etag``, ``last_modified``, and what
    else the inventory has in snake case: ``version_id``, ``is_latest`` … A value that the inventory leaves out is null.
    An empty object whose key ends with a slash is how consoles draw a folder, and no item.
    """

    options: ClassVar[type[ReaderOptions]] = S3InventoryOptions
    repeatable: ClassVar[bool] = True

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._objects = S3Objects(resources, options.conn_id)
        self._reader: FileReader | None = None

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the listed objects, each page within one data file.

        Raises:
            SourceNotFoundError: There is no manifest, or a data file is missing that it names.
            SourceChangedError: The manifest or a data file is not the one that the checkpoint or the split was made
                from.
            ReaderError: It is no manifest of an inventory, or one of ORC files.
            BadRecordError: A data file is damaged.
        """
        after = after or {"manifest": None, "at": None, "taken": 0}
        yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        part: InventoryPart | None = self.opts.part
        manifest = self._manifest(after["manifest"] if part is None else part.manifest)
        taken = after["taken"]
        with self._naming_the_manifest():
            if part is None:
                part = InventoryPart(files=self._files(manifest), start=0, end=None, extent=0, manifest=manifest.etag)
            self._objects.pin(part.files)
            self._reader = reader = self._reader_of(manifest, Part(**part.model_dump(exclude={"manifest"})))
            item = _from_csv(manifest.columns) if manifest.format == "CSV" else _from_parquet
            for page in reader.pages(after["at"]):
                with _blaming(page.source):
                    items = [made for record in page.items if (made := item(record)) is not None]
                taken += len(items)
                yield Page(items, {"manifest": manifest.etag, "at": page.checkpoint, "taken": taken}, page.source)

    def splits(self, at_most: int) -> Sequence[ReaderSpec] | None:
        """Parts of about the same number of bytes, each of whole CSV files, or of rows of Parquet files."""
        if self.opts.part is not None or self.opts.max_items is not None:
            return None
        manifest = self._manifest(None)
        with self._naming_the_manifest():
            files = self._files(manifest)
            extents = self._reader_of(manifest, None).extents(files)
        if not extents or not sum(extent for extent, _ in extents):
            return None
        parts = cut(files, extents, at_most)
        if len(parts) < min(at_most, 2):
            return None
        cls = type(self)
        # The class, not a registered name: an alias of that name may mean another one.
        return [
            ReaderSpec(
                reader=f"{cls.__module__}:{cls.__qualname__}",
                options={**self.opts.dump(), "part": {**part.model_dump(), "manifest": manifest.etag}},
            )
            for part in parts
        ]

    def _manifest(self, etag: str | None) -> _Manifest:
        """The manifest, in the version with this ETag."""
        url = self.opts.manifest
        now = look_at(self._objects, url, None)
        if etag is not None:
            SourceFile(url=url, size=now.size, etag=etag).expect(now)
        with self._objects.open(url, pieces=False) as stream:
            text = stream.read()
        try:
            found = orjson.loads(text)
            kind, bucket = found["fileFormat"], found["destinationBucket"]
            columns = [_named(column) for column in found["fileSchema"].split(",")] if kind == "CSV" else []
            keys = [file["key"] for file in found["files"]]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ReaderError(
                f"{url} is no manifest of an S3 Inventory ({type(error).__name__}: {error}); give the manifest.json in "
                "the folder of one report",
                url=url,
            ) from error
        if kind not in ("CSV", "Parquet"):
            raise ReaderError(
                f"{url}: the inventory is written as {kind}; configure it to be written as CSV or Parquet", url=url
            )
        if missing := {"bucket", "key"} - set(columns or ["bucket", "key"]):
            raise ReaderError(f"{url}: its fileSchema has no {' and no '.join(sorted(missing))}", url=url)
        # arn:aws:s3:::bucket
        return _Manifest(now.etag, kind, columns, bucket.rpartition(":")[2], keys)

    def _files(self, manifest: _Manifest) -> list[SourceFile]:
        """The data files as they are now.

        They are in the destination bucket, which the manifest names. In a copy of the whole inventory in another
        bucket they are beside the manifest; that bucket has the first data file then, too.
        """
        bucket, _ = place_of(self.opts.manifest)
        if bucket != manifest.bucket and manifest.keys:
            try:
                look_at(self._objects, url_of(bucket, manifest.keys[0]), None)
            except (SourceNotFoundError, SourceAccessError):
                bucket = manifest.bucket
        urls = [url_of(bucket, key) for key in manifest.keys]
        # Clients are safe to share, but making one is not.
        _ = self._objects.s3
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            return list(pool.map(lambda url: look_at(self._objects, url, None), urls))

    def _reader_of(self, manifest: _Manifest, part: Part | None) -> FileReader:
        path = self.opts.manifest
        if manifest.format == "Parquet":
            return ParquetReader(ParquetOptions(path=path, part=part), self._objects)
        return CsvReader(CsvOptions(path=path, part=part, headers=manifest.columns), self._objects)

    @contextmanager
    def _naming_the_manifest(self) -> Iterator[None]:
        try:
            yield
        except SourceNotFoundError as error:
            raise SourceNotFoundError(
                f"{error}, which the inventory {self.opts.manifest} names; S3 or a lifecycle rule may have deleted it: "
                "take a newer inventory",
                url=error.url,
                manifest=self.opts.manifest,
            ) from error

    def close(self) -> None:
        """Close what is open, and the connections."""
        if self._reader is not None:
            self._reader.close()
        self._objects.close()


@contextmanager
def _blaming(url: str | None) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise BadRecordError(f"{url}: a value is not what its column says: {error}", url=url) from error


def _named(column: str) -> str:
    """A column of a CSV inventory as a Parquet inventory names it, or as the ``s3`` reader does."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.strip().replace("ETag", "Etag")).lower()
    return _NAMES.get(name, name)


def _is_folder(item: dict[str, Json]) -> bool:
    # A delete marker has no size at all, and is no folder.
    return item.get("size") == 0 and item["key"].endswith("/")


def _from_parquet(row: dict[str, Json]) -> dict[str, Json] | None:
    item = {_NAMES.get(name, name): value for name, value in row.items()}
    return None if _is_folder(item) else item


def _from_csv(columns: list[str]) -> Callable[[dict[str, str]], dict[str, Json] | None]:
    """What makes items of a CSV file's rows, whose values are all text."""
    made: list[tuple[str, Callable[[str], Json]]] = [(name, _converter(name)) for name in columns]

    def item(row: dict[str, str]) -> dict[str, Json] | None:
        found = {name: convert(row[name]) if row[name] else None for name, convert in made}
        return None if _is_folder(found) else found

    return item


def _converter(name: str) -> Callable[[str], Json]:
    if name == "key":
        # "The object key name is URL-encoded in the CSV and must be decoded", as forms are: a space is a plus.
        return unquote_plus
    if name == "size":
        return int
    if name.startswith("is_"):
        return lambda value: value.lower() == "true"
    if name == "last_modified" or name.endswith("_date"):
        return lambda value: datetime.fromisoformat(value.replace("Z", "+00:00"))
    return str
