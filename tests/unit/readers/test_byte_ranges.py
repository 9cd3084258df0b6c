"""Splits by bytes: whatever the lines and wherever the borders, each line is read once."""

import io
import json
import uuid
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from flowstone_provider.readers import _streams
from flowstone_provider.readers._streams import byte_range, first_line
from flowstone_provider.readers.csv import CsvOptions, CsvReader
from flowstone_provider.readers.jsonl import JsonlOptions, JsonlReader
from flowstone_provider.readers.resources import LocalResources

LINE_ENDS = st.sampled_from(["\n", "\r\n"])
BOMS = st.sampled_from(["", "\ufeff"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters='\r\n"', exclude_categories=["Cs"]), max_size=12).map(
    lambda text: text.replace("\0", "")
)


def items(reader):
    return [item for page in reader.pages() for item in page.items]


def split_items(reader, at_most):
    specs = reader.splits(at_most) or []
    assert len(specs) <= at_most
    return [item for spec in specs for item in items(type(reader)(reader.options(**spec.options), LocalResources()))]


@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=30),
    st.integers(1, 12),
    LINE_ENDS,
    BOMS,
    st.booleans(),
)
def test_csv(rows, at_most, line_end, bom, last_line_end):
    path = UPath(f"memory://{uuid.uuid4().hex}.csv")
    text = line_end.join(["", "x,y", *(f'"{a}","{b}"' for a, b in rows)]) + (line_end if last_line_end else "")
    path.write_bytes((bom + text).encode())
    reader = CsvReader(CsvOptions(path=str(path), newlines_in_values=False), LocalResources())
    expected = [{"x": a, "y": b} for a, b in rows]
    assert items(reader) == expected
    assert split_items(reader, at_most) == expected


@given(st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=30), st.integers(1, 12), LINE_ENDS, BOMS)
def test_jsonl(values, at_most, line_end, bom):
    # None stands for a blank line.
    expected = [value for value in values if value is not None]
    path = UPath(f"memory://{uuid.uuid4().hex}.jsonl")
    lines = ["" if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    path.write_bytes((bom + line_end.join(lines)).encode())
    reader = JsonlReader(JsonlOptions(path=str(path)), LocalResources())
    assert items(reader) == expected
    assert split_items(reader, at_most) == expected


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 7), st.data())
def test_chunks_of_any_size(lengths, chunk, data):
    content = b"".join(b"x" * length + b"\n" for length in lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=4)))
    borders = [0, *cuts, len(content)]
    usual = _streams._CHUNK
    _streams._CHUNK = chunk
    try:
        found = b""
        for start, end in pairwise(borders):
            stream = io.BytesIO(content)
            part = b"".join(byte_range(stream, first_line(stream, start), end))
            assert part == b"".join(
                line
                for at, line in zip(offsets(content), content.splitlines(keepends=True), strict=True)
                if start <= at < end
            )
            found += part
    finally:
        _streams._CHUNK = usual
    assert found == content


def offsets(content):
    at = 0
    for line in content.splitlines(keepends=True):
        yield at
        at += len(line)
