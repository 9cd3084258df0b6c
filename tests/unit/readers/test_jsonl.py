import json

import pytest

from flowstone_provider.contracts.item_reader import BadRecord
from flowstone_provider.errors import BadRecordError
from flowstone_provider.readers.jsonl import JsonlOptions, JsonlReader
from flowstone_provider.readers.resources import LocalResources


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", " \r\n\t\n"])
def test_no_lines_no_items(read, file, content):
    assert read(JsonlReader, path=file(content)) == []


def test_any_value_and_no_last_line_end(read, file):
    content = '\ufeff{"a": {"b": [1.5, null]}}\r\n\n"x\u2028"\n  7  \n[true]\nnull'
    assert read(JsonlReader, path=file(content)) == [{"a": {"b": [1.5, None]}}, "x\u2028", 7, [True], None]


def test_long_values(read, file):
    values = ["é" * 100_000, "x" * 3_000_000, 1]
    assert read(JsonlReader, path=file("\n".join(map(json.dumps, values)))) == values


class TestBadLine:
    content = b"".join(b"%d\n\n" % n for n in range(80_000)) + b'{"a": 1,}\n\n5\n"\xff"\n6\n'

    def test_error_names_file_and_line(self, read, file):
        path = file(self.content)
        with pytest.raises(BadRecordError, match=r"a\.jsonl, line 160001: .*; bad_records='fail' makes") as caught:
            read(JsonlReader, path=path)
        assert path in str(caught.value)

    def test_fail_goes_on(self, read, file):
        found = read(JsonlReader, path=file(self.content), bad_records="fail")
        assert found[:80_000] == list(range(80_000))
        trailing_comma, five, not_utf8, six = found[80_000:]
        assert (five, six) == (5, 6)
        assert isinstance(trailing_comma, BadRecord)
        assert "a.jsonl, line 160001: " in trailing_comma.message
        assert trailing_comma.raw == '{"a": 1,}'
        assert "line 160004: " in not_utf8.message
        assert not_utf8.raw == '"\ufffd"'

    def test_resumes_among_bad_lines(self, file):
        path = file(b"1\nx\n2\ny\n" * 1_000)
        reader = JsonlReader(JsonlOptions(path=path, bad_records="fail"), LocalResources())
        pages = list(reader.pages())
        items = [item for page in pages for item in page.items]
        assert len(items) == 4_000
        for number, page in enumerate(pages, 1):
            rest = [item for later in reader.pages(page.checkpoint) for item in later.items]
            assert rest == [item for later in pages[number:] for item in later.items]

    def test_in_a_split_the_byte_is_named(self, file, read):
        path = file(b"1\n" * 500 + b"oops\n" + b"2\n" * 50)
        specs = JsonlReader(JsonlOptions(path=path), LocalResources()).splits(2)
        assert read(JsonlReader, **specs[0].options) == [1] * ((specs[1].options["part"]["start"] + 1) // 2)
        with pytest.raises(BadRecordError, match=r"a\.jsonl, the line at byte 1000: "):
            read(JsonlReader, **specs[1].options)

    def test_raw_is_cut(self, read, file):
        (bad,) = read(JsonlReader, path=file("é" * 10_000), bad_records="fail")
        assert bad.raw == "é" * 300
