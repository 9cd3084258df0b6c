"""The outcomes of an earlier scatter as a source."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from glob import escape
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import AfterValidator, Field, model_validator

from flowstone_provider.contracts.item_reader import (
    BadRecord,
    Checkpoint,
    ItemReader,
    Json,
    Page,
    ReaderOptions,
    Resources,
    limited,
)
from flowstone_provider.errors import ReaderError, SourceNotFoundError
from flowstone_provider.readers.files import rewound
from flowstone_provider.readers.jsonl import JsonlOptions, JsonlReader
from flowstone_provider.readers.parquet import ParquetOptions, ParquetReader

_VERSION = 1

Status = Literal["failed", "pending", "succeeded"]


def _statuses(value: list[Status]) -> list[Status]:
    if len(set(value)) < len(value):
        raise ValueError("has a status twice")
    if "succeeded" in value and len(value) > 1:
        raise ValueError("'succeeded' yields results and the others yield items: read them apart")
    return value


class ManifestOptions(ReaderOptions):
    """Options of the ``manifest`` reader."""

    title: ClassVar[str] = "manifest"

    uri: str = Field(description="The URL of a scatter's `manifest.json`.")
    conn_id: str | None = Field(default=None, description="The Airflow connection for it.")
    status: Annotated[list[Status], Field(min_length=1), AfterValidator(_statuses)] = Field(
        default=["failed", "pending"],
        description="Whose items to read. `succeeded` stands alone: it yields the results, not the items.",
    )
    error: str | None = Field(
        default=None,
        description="A pattern such as `Timeout*`: only the failed items whose error, as `Type: message` or "
        "only the type, matches it. Pending items have no error and are left out.",
    )

    @model_validator(mode="after")
    def _error_needs_failed(self) -> ManifestOptions:
        if self.error is not None and isinstance(self.status, list) and "failed" not in self.status:
            raise ValueError("`error` selects among failed items, which `status` leaves out")
        return self


class ManifestReader(ItemReader):
    """Items of an earlier scatter, as it had them: to run again what did not succeed, or to use its results.

    A record that could not be read then is one that cannot be read now.
    """

    options: ClassVar[type[ReaderOptions]] = ManifestOptions

    def __init__(self, options: Any, resources: Resources) -> None:
        super().__init__(options, resources)
        self._inner: list[ItemReader] = []

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the items status by status; a page's items had one source in the earlier scatter.

        Raises:
            SourceNotFoundError: There is no manifest, or a file is missing that it names.
            SourceChangedError: A file is not the one that the checkpoint was made from.
            ReaderError: The manifest has another version, or the scatter kept no results.
        """
        after = after or {"status": 0, "at": None, "taken": 0}
        yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def count(self) -> int | None:
        """The number of items, from the manifest; ``None`` when an error pattern selects among them."""
        if self.opts.error is not None:
            return None
        manifest = self._manifest()
        # One result may be many: a scatter with flatten=True counts them apart from its items.
        rows = sum(file["rows"] for file in manifest["files"].get("succeeded", []))
        number: int = sum(rows if status == "succeeded" else manifest["counts"][status] for status in self.opts.status)
        return number if self.opts.max_items is None else min(number, self.opts.max_items)

    def _manifest(self) -> dict[str, Any]:
        uri = self.opts.uri
        try:
            manifest = orjson.loads(self.resources.path(uri, self.opts.conn_id).read_bytes())
        except FileNotFoundError:
            raise SourceNotFoundError(f"there is no manifest {uri}", url=uri) from None
        except orjson.JSONDecodeError as error:
            raise ReaderError(f"{uri} is no manifest of a scatter: {error}", url=uri) from error
        if not isinstance(manifest, dict) or "files" not in manifest or "counts" not in manifest:
            raise ReaderError(f"{uri} is no manifest of a scatter: it names no files", url=uri)
        if manifest.get("version") != _VERSION:
            raise ReaderError(
                f"{uri} has version {manifest.get('version')}; this package reads version {_VERSION}: use "
                "the package version that wrote it",
                url=uri,
            )
        return manifest

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        manifest = self._manifest()
        taken = after["taken"]
        for number in range(after["status"], len(self.opts.status)):
            status = self.opts.status[number]
            if status == "pending" and self.opts.error is not None:
                continue
            form = manifest.get("results") if status == "succeeded" else "items"
            reader = self._reader(manifest, status, form)
            at = after["at"] if number == after["status"] else None
            for page in reader.pages(at):
                left = len(page.items)
                for source, run in groupby(page.items, key=_source):
                    lines = list(run)
                    left -= len(lines)
                    items = [self._item(line, form) for line in lines if self._wanted(line)]
                    taken += len(items)
                    checkpoint = {"status": number, "at": rewound(page.checkpoint, left), "taken": taken}
                    yield Page(items, checkpoint, None if status == "succeeded" else source)

    def _reader(self, manifest: dict[str, Any], status: Status, form: str | None) -> ItemReader:
        if form is None:
            raise ReaderError(f"{self.opts.uri}: that scatter kept no results (results=None)", url=self.opts.uri)
        # The names are relative to the manifest's folder, which is a name and no pattern.
        folder = escape(self.opts.uri[: self.opts.uri.rfind("/") + 1])
        path = [folder + file["name"] for file in manifest["files"].get(status, [])]
        reader: ItemReader
        if form == "parquet":
            reader = ParquetReader(ParquetOptions(path=path, conn_id=self.opts.conn_id), self.resources)
        else:
            reader = JsonlReader(JsonlOptions(path=path, conn_id=self.opts.conn_id), self.resources)
        self._inner.append(reader)
        return reader

    def _wanted(self, line: dict[str, Any]) -> bool:
        if self.opts.error is None:
            return True
        kind, message = line["error"]["type"], line["error"]["message"]
        return fnmatchcase(kind, self.opts.error) or fnmatchcase(f"{kind}: {message}", self.opts.error)

    def _item(self, line: dict[str, Any], form: str | None) -> Json:
        if form == "parquet":
            return line
        if form == "jsonl":
            return line["result"]
        if "bad" in line:
            return BadRecord(line["bad"]["message"], line["bad"]["raw"])
        return line["item"]

    def close(self) -> None:
        """Close the files that are open."""
        while self._inner:
            self._inner.pop().close()


def _source(line: Any) -> str | None:
    return line.get("source") if isinstance(line, dict) else None
