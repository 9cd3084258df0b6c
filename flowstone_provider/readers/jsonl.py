"""JSON Lines files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import orjson

from flowstone_provider.contracts.item_reader import Json, ReaderOptions
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.readers._streams import BOM, byte_range, chunks, first_line, line_blocks
from flowstone_provider.readers.files import PAGE_ITEMS, RAW_LENGTH, FileReader, LineOptions


class JsonlOptions(LineOptions):
    """Options of the ``jsonl`` reader."""

    title: ClassVar[str] = "jsonl"


class JsonlReader(FileReader):
    """Items are the JSON values of the lines. Blank lines are skipped; the last line needs no line end."""

    options: ClassVar[type[ReaderOptions]] = JsonlOptions

    def divisible(self, file: SourceFile) -> bool:
        """A line end always ends a record, so every uncompressed file can be split."""
        return self.compression(file) == "none"

    def read(self, file: SourceFile, start: int, end: int | None, skip: int) -> Iterator[list[Json]]:
        """Yield the values of the lines whose first byte lies between two offsets.

        Raises:
            BadRecordError: A line is no JSON; the file is damaged.
        """
        with self.open(file) as stream:
            compression = self.compression(file)
            offset = first_line(stream, start) if compression == "none" else 0
            if compression == "none":
                pieces = byte_range(stream, offset, end)
            else:
                pieces = chunks(stream, compression, file.url)
            number = 1
            for block in line_blocks(pieces, file.url):
                lines = block.split(b"\n")
                if offset == 0:
                    lines[0] = lines[0].removeprefix(BOM)
                at = offset
                for first in range(0, len(lines), PAGE_ITEMS):
                    some = lines[first : first + PAGE_ITEMS]
                    records = [line for line in some if line and not line.isspace()]
                    skipped = min(skip, len(records))
                    skip -= skipped
                    try:
                        items = [orjson.loads(record) for record in records[skipped:]]
                    except orjson.JSONDecodeError:
                        # Where a reading began in the middle of a file, nobody knows the number of a line.
                        items = self._one_by_one(file, some, at if start else None, number + first, skipped)
                    at += sum(map(len, some)) + len(some)
                    if items:
                        yield items
                number += len(lines) - 1
                offset += len(block)

    def _one_by_one(
        self, file: SourceFile, lines: list[bytes], offset: int | None, number: int, skip: int
    ) -> list[Json]:
        items: list[Json] = []
        for line in lines:
            if line and not line.isspace():
                skip -= 1
                if skip < 0:
                    place = f"line {number}" if offset is None else f"the line at byte {offset}"
                    items.append(self._parsed(line, f"{file.url}, {place}"))
            number += 1
            if offset is not None:
                offset += len(line) + 1
        return items

    def _parsed(self, line: bytes, where: str) -> Json:
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as error:
            return self.bad(f"{where}: {error}", line[: 4 * RAW_LENGTH].decode("utf-8", "replace"), where=where)
