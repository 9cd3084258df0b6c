"""CSV files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from flowstone_provider.contracts.item_reader import Json, ReaderOptions
from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import BadRecordError
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.readers._streams import BOM, byte_range, chunks, first_line, line_blocks
from flowstone_provider.readers.files import PAGE_BYTES, PAGE_ITEMS, FileReader, LineOptions

_DELIMITERS = {"comma": ",", "pipe": "|", "semicolon": ";", "space": " ", "tab": "\t"}

# Python's limit is 131,072 characters, which real texts exceed. Still a limit: an opening quote that is never
# closed makes a field of the rest of the file.
_FIELD_LIMIT = 64 << 20

# A byte that is no UTF-8, as Python's "surrogateescape" decodes it. Valid UTF-8 never gives these.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")

_LINE_END = re.compile("\r\n|\r|\n")


def _delimiter(value: str) -> str:
    value = _DELIMITERS.get(value, value)
    if len(value) != 1:
        raise ValueError(f"is no single character and no name of one{nearest(value, list(_DELIMITERS))}")
    return _no_line_end(value)


def _quotechar(value: str) -> str:
    if len(value) != 1:
        raise ValueError("must be one character")
    return _no_line_end(value)


def _no_line_end(value: str) -> str:
    if value in "\r\n":
        raise ValueError("must not be a line end")
    return value


def _headers(value: Any) -> Any:
    if isinstance(value, list) and (problem := _header_problem(value)):
        raise ValueError(problem)
    return value


def _header_problem(names: list[str]) -> str | None:
    if not names:
        return "there are no column names"
    for column, name in enumerate(names, 1):
        if not name:
            return f"the name of column {column} is empty"
        if names.index(name) < column - 1:
            return f"two columns are named {name!r}: {names.index(name) + 1} and {column}"
    return None


class CsvOptions(LineOptions):
    """Options of the ``csv`` reader. Values are strings; an empty field is an empty string."""

    title: ClassVar[str] = "csv"

    delimiter: Annotated[str, AfterValidator(_delimiter)] = Field(
        default=",", description="One character, or `comma`, `pipe`, `semicolon`, `space`, `tab`."
    )
    headers: Annotated[Literal["first_row"] | list[str], AfterValidator(_headers)] = Field(
        default="first_row", description="The column names, or that each file's first row has them."
    )
    ragged: Literal["error", "pad"] = Field(
        default="error",
        description="`pad` fills a row that is too short with null; a row that is too long is always bad.",
    )
    quotechar: Annotated[str, AfterValidator(_quotechar)] = Field(
        default='"', description="Encloses values; doubled within one, it stands for itself."
    )
    newlines_in_values: bool = Field(
        default=True,
        description="Whether quoted values may have line ends. If not, an uncompressed file can be split.",
    )

    @model_validator(mode="after")
    def _differ(self) -> CsvOptions:
        if self.delimiter == self.quotechar:
            raise ValueError("`delimiter` and `quotechar` must differ")
        return self


# Few, so that the rows are let go before the garbage collector looks through them: with a whole page at once,
# reading takes a tenth longer.
_ROWS_AT_ONCE = 100


class _Lines:
    """Feeds text lines to a ``csv.reader`` without running Python code for each line.

    Args:
        blocks: Bytes that end at line ends.
    """

    def __init__(self, blocks: Iterator[bytes], **dialect: Any) -> None:
        self._blocks = blocks
        self.fed = 0
        """Bytes handed out so far."""
        self.invalid = False
        """Whether a block so far was not UTF-8."""
        self._text = ""
        self._before = 0
        # Not strict, Python would take a forgotten closing quote for the end of the file.
        self.reader = csv.reader(chain.from_iterable(self._texts()), strict=True, **dialect)

    def _texts(self) -> Iterator[io.StringIO]:
        for number, block in enumerate(self._blocks):
            try:
                text = block.decode("utf-8")
            except UnicodeDecodeError:
                text = block.decode("utf-8", "surrogateescape")
                self.invalid = True
            if number == 0:
                text = text.removeprefix("\ufeff")
            # All lines of the blocks before are consumed when the next is asked for.
            self._text, self._before = text, self.reader.line_num
            self.fed += len(block)
            yield io.StringIO(text, newline="")

    def take(self, rows: list[list[str]]) -> None:
        """Append a few rows; none at the end.

        Raises:
            csv.Error: The record after those that were appended is malformed; taking goes on behind it.
        """
        rows.extend(islice(self.reader, _ROWS_AT_ONCE))

    def last_line(self) -> str:
        """The line that was consumed last."""
        return next(islice(io.StringIO(self._text, newline=""), self.reader.line_num - self._before - 1, None), "")

    def consumed_of_block(self) -> int:
        """How many bytes of the last block were consumed."""
        lines = islice(io.StringIO(self._text, newline=""), self.reader.line_num - self._before)
        return len("".join(lines).encode("utf-8", "surrogateescape"))


class CsvReader(FileReader):
    """Items are dicts of strings, one for each row. Blank lines are no rows. Each file has its own header."""

    options: ClassVar[type[ReaderOptions]] = CsvOptions

    def divisible(self, file: SourceFile) -> bool:
        """Only where a line end is sure to end a row, and bytes can be found without decompressing."""
        return not self.opts.newlines_in_values and self.compression(file) == "none"

    def read(self, file: SourceFile, start: int, end: int | None, skip: int) -> Iterator[list[Json]]:
        """Yield the rows whose first byte lies between two offsets.

        Raises:
            BadRecordError: A row is malformed; the header is; the file is damaged.
        """
        # The limit belongs to the whole process; it is only ever raised, so no other code fails for it.
        csv.field_size_limit(max(csv.field_size_limit(), _FIELD_LIMIT))
        names = None if self.opts.headers == "first_row" else self.opts.headers
        with self.open(file) as stream:
            if start and names is None:
                header = self._lines(file, stream, 0, None)
                names = self._first_row(file, header)
                if names is None:
                    return
                has_bom = _starts_with_bom(stream)
                start = max(start, header.consumed_of_block() + (len(BOM) if has_bom else 0))
            lines = self._lines(file, stream, start, end)
            if names is None:
                names = self._first_row(file, lines)
                if names is None:
                    return
            where = f"{file.url}, after byte {start}, line " if start else f"{file.url}, line "
            page: list[Json] = []
            upto = PAGE_BYTES
            for items in self._items(lines, names, where):
                page += items[skip:]
                skip = max(0, skip - len(items))
                if page and (len(page) >= PAGE_ITEMS or lines.fed >= upto):
                    yield page
                    page = []
                    upto = lines.fed + PAGE_BYTES
            if page:
                yield page

    def _lines(self, file: SourceFile, stream: Any, start: int, end: int | None) -> _Lines:
        compression = self.compression(file)
        if compression == "none":
            pieces = byte_range(stream, first_line(stream, start), end)
        else:
            pieces = chunks(stream, compression, file.url)
        return _Lines(
            line_blocks(pieces, file.url, other=b"\r"),
            delimiter=self.opts.delimiter,
            quotechar=self.opts.quotechar,
        )

    def _first_row(self, file: SourceFile, lines: _Lines) -> list[str] | None:
        line = 1
        names: list[str] = []
        try:
            for names in lines.reader:
                if names:
                    break
                line += 1
            if not names:
                return None
            problem = _header_problem(names)
            if lines.invalid and _NOT_UTF8.search("".join(names)):
                problem = "invalid UTF-8"
        except csv.Error as error:
            problem = str(error)
        if problem:
            raise BadRecordError(
                f"{file.url}, line {line}: the header is malformed: {problem}", url=file.url, line=line
            )
        return names

    def _items(self, lines: _Lines, names: list[str], where: str) -> Iterator[list[Json]]:
        width = len(names)
        while True:
            line = lines.reader.line_num + 1
            rows: list[list[str]] = []
            error: csv.Error | None = None
            try:
                lines.take(rows)
            except csv.Error as caught:
                error = caught
            if not rows and error is None:
                return
            if not self.opts.newlines_in_values:
                # A split ends where another begins: a quote that is open there is closed in the other.
                bad_lines = 1 if error is not None and str(error) != "unexpected end of data" else 0
                self._check_lines(rows, line, lines.reader.line_num + 1 - bad_lines, where)
            # The usual page costs no Python code for each row but this comprehension.
            if not lines.invalid and {width, 0}.issuperset(map(len, rows)):
                items: list[Json] = [dict(zip(names, row)) for row in rows if row]  # noqa: B905  (`strict` costs 15 %)
                line = line if error is None else line + sum(map(_height, rows))
            else:
                items = []
                for row in rows:
                    if row:
                        items.append(self._item(row, names, where, line))
                    line += _height(row)
            if error is not None:
                items.append(self.bad(f"{where}{line}: {error}", lines.last_line().rstrip("\r\n"), line=line))
            yield items

    def _item(self, row: list[str], names: list[str], where: str, line: int) -> Json:
        missing = len(names) - len(row)
        invalid = next((number for number, field in enumerate(row) if _NOT_UTF8.search(field)), None)
        problem = None
        if invalid is not None:
            problem = f"invalid UTF-8 in field {invalid + 1}"
        elif missing and not (missing > 0 and self.opts.ragged == "pad"):
            problem = f"{len(row)} fields instead of {len(names)}"
            if missing > 0 and self.opts.bad_records == "error":
                problem += "; ragged='pad' would fill it with null"
        if problem is None:
            return dict(zip(names, [*row, *[None] * missing], strict=True))
        raw = self.opts.delimiter.join(row).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return self.bad(f"{where}{line}: {problem}", raw, line=line)

    def _check_lines(self, rows: list[list[str]], line: int, next_line: int, where: str) -> None:
        if next_line - line == len(rows):
            return
        for row in rows:
            if _height(row) > 1:
                break
            line += 1
        # Always an error: in a file that is split, the rest of the row would be taken for a row.
        raise BadRecordError(
            f"{where}{line}: a value goes on in the next line, but newlines_in_values=False; set it to true, "
            "or close the quote",
            line=line,
        )


def _height(row: list[str]) -> int:
    """How many lines a row takes."""
    return 1 + sum(len(_LINE_END.findall(field)) for field in row)


def _starts_with_bom(stream: Any) -> bool:
    stream.seek(0)
    return bool(stream.read(len(BOM)) == BOM)
