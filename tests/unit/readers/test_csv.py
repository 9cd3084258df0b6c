import csv
import gzip

import pytest

from flowstone_provider.contracts.item_reader import BadRecord
from flowstone_provider.errors import BadRecordError, OptionsError
from flowstone_provider.readers.csv import CsvOptions, CsvReader
from flowstone_provider.readers.resources import LocalResources


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("content", ["", "\ufeff", "\n\r\n", "a,b", "a,b\n", "\ufeffa,b\n\n"])
def test_no_rows_no_items(read, file, content):
    assert read(CsvReader, path=file(content)) == []


def test_values_are_strings_and_blank_lines_are_no_rows(read, file):
    found = read(CsvReader, path=file("\na,b\r\n1,\r\n\r\n2,x"))
    assert found == [{"a": "1", "b": ""}, {"a": "2", "b": "x"}]


def test_old_line_ends(read, file):
    assert read(CsvReader, path=file("a,b\r1,2\r3,4\r")) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_byte_order_mark_is_dropped(read, file):
    assert read(CsvReader, path=file('\ufeff"a",b\n1,2\n')) == [{"a": "1", "b": "2"}]


def test_unicode_and_line_ends_in_quoted_values(read, file):
    content = 'name,note\n"Åse 🌊","one\ntwo\r\nthree ""quoted"", four\u2028"\nx,y\n'
    assert read(CsvReader, path=file(content)) == [
        {"name": "Åse 🌊", "note": 'one\ntwo\r\nthree "quoted", four\u2028'},
        {"name": "x", "note": "y"},
    ]


@pytest.mark.parametrize("length", [100_000, 300_000, 3_000_000])
def test_long_values(read, file, length):
    value = "é\n" * (length // 2)
    assert read(CsvReader, path=file(f'a,b\n1,"{value}"\n2,y\n')) == [
        {"a": "1", "b": value},
        {"a": "2", "b": "y"},
    ]


def test_the_field_limit_of_the_process_is_never_lowered(read, file):
    before = csv.field_size_limit(1 << 40)
    try:
        read(CsvReader, path=file("a\n1\n"))
        assert csv.field_size_limit() == 1 << 40
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(("delimiter", "mark"), [("pipe", "|"), ("tab", "\t"), (";", ";"), ("space", " ")])
def test_delimiters(read, file, delimiter, mark):
    assert read(CsvReader, path=file(f"a{mark}b\n1{mark}2\n"), delimiter=delimiter) == [{"a": "1", "b": "2"}]


def test_quotechar(read, file):
    assert read(CsvReader, path=file("a,b\n'1,2',\"3\"\n"), quotechar="'") == [{"a": "1,2", "b": '"3"'}]


def test_given_headers(read, file):
    assert read(CsvReader, path=file("1,2\n"), headers=["x", "y"]) == [{"x": "1", "y": "2"}]


class TestRagged:
    content = 'a,b,c\n1,2,3\n"x\ny",2,3\n\n4,5\n6,7,8\n'

    def test_error_names_file_and_line(self, read, file):
        path = file(self.content)
        with pytest.raises(BadRecordError, match=r"a\.csv, line 6: 2 fields instead of 3; ragged='pad'") as caught:
            read(CsvReader, path=path)
        assert caught.value.line == 6
        assert path in str(caught.value)

    def test_fail(self, read, file):
        path = file(self.content)
        bad = BadRecord(f"{path}, line 6: 2 fields instead of 3", "4,5")
        assert read(CsvReader, path=path, bad_records="fail")[2:] == [bad, {"a": "6", "b": "7", "c": "8"}]

    def test_pad(self, read, file):
        assert read(CsvReader, path=file(self.content), ragged="pad")[2] == {"a": "4", "b": "5", "c": None}

    def test_a_long_row_is_bad_even_when_padding(self, read, file):
        with pytest.raises(BadRecordError, match=r"line 3: 3 fields instead of 2;"):
            read(CsvReader, path=file("a,b\n1\n1,2,3\n"), ragged="pad")

    def test_far_into_the_file(self, read, file):
        lines = ["a,b", *(f"{n},x" for n in range(70_000)), "1"]
        with pytest.raises(BadRecordError, match="line 70002: 1 fields"):
            read(CsvReader, path=file("\n".join(lines)))


class TestInvalidUtf8:
    content = b'a,b\n1,\xc3\xa9\n2,"x\n\xff"\n3,\xc3\xa9\n' + b"4,y\n" * 200_000 + b"5,\xc3\n6,z\n"

    def test_error_names_the_line(self, read, file):
        with pytest.raises(BadRecordError, match=r"a\.csv, line 3: invalid UTF-8 in field 2"):
            read(CsvReader, path=file(self.content))

    def test_fail_goes_on(self, read, file):
        path = file(self.content)
        found = read(CsvReader, path=path, bad_records="fail")
        assert found[:3] == [
            {"a": "1", "b": "é"},
            BadRecord(f"{path}, line 3: invalid UTF-8 in field 2", "2,x\n\ufffd"),
            {"a": "3", "b": "é"},
        ]
        assert found[-2:] == [
            BadRecord(f"{path}, line 200006: invalid UTF-8 in field 2", "5,\ufffd"),
            {"a": "6", "b": "z"},
        ]
        assert len(found) == 200_005

    def test_in_the_header(self, read, file):
        with pytest.raises(BadRecordError, match="line 1: the header is malformed: invalid UTF-8"):
            read(CsvReader, path=file(b"a\xff\n1\n"), bad_records="fail")


class TestMalformedQuotes:
    def test_error(self, read, file):
        with pytest.raises(BadRecordError, match=r"a\.csv, line 3: ',' expected after '\"'"):
            read(CsvReader, path=file('a,b\n1,2\n"x"y,3\n4,5\n'))

    def test_fail_goes_on(self, read, file):
        path = file('a,b\n1,2\n"x"y,3\n4,5\n')
        found = read(CsvReader, path=path, bad_records="fail")
        assert found == [
            {"a": "1", "b": "2"},
            BadRecord(f"{path}, line 3: ',' expected after '\"'", '"x"y,3'),
            {"a": "4", "b": "5"},
        ]

    def test_an_open_quote_is_not_the_end_of_the_file(self, read, file):
        with pytest.raises(BadRecordError, match="line 3: unexpected end of data"):
            read(CsvReader, path=file('a,b\n1,2\n3,"4\n5,6\n'))


@pytest.mark.parametrize("content", ['a,b\n1,2\n3,"4\n5"\n6,7\n', 'a,b\n1,2\n3,"4\n5,6\n', 'a,b\n1,2\n3,"4'])
@pytest.mark.parametrize("bad_records", ["error", "fail"])
def test_line_ends_in_values_when_there_should_be_none(read, file, content, bad_records):
    path = file(content)
    with pytest.raises(BadRecordError, match=r"line 3: a value goes on .* newlines_in_values=False"):
        read(CsvReader, path=path, newlines_in_values=False, bad_records=bad_records)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("a,b,a", "two columns are named 'a': 1 and 3"),
        ("a,,c", "the name of column 2 is empty"),
        ('"a', "end of data"),
    ],
)
def test_bad_headers(read, file, header, problem):
    with pytest.raises(BadRecordError, match=rf"a\.csv, line 1: the header is malformed: .*{problem}"):
        read(CsvReader, path=file(header + "\n1,2,3\n"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": "semicolom"}, "did you mean 'semicolon'"),
        ({"delimiter": "\n"}, "must not be a line end"),
        ({"delimiter": '"'}, "`delimiter` and `quotechar` must differ"),
        ({"quotechar": "''"}, "must be one character"),
        ({"headers": ["a", "a"]}, "two columns are named 'a'"),
        ({"headers": []}, "there are no column names"),
        ({"headers": "first"}, "headers"),
        ({"ragged": "fill"}, "ragged"),
        ({"delimitr": ","}, "has no option 'delimitr'; did you mean 'delimiter'"),
    ],
)
def test_options(options, problem):
    with pytest.raises(OptionsError, match=problem):
        CsvOptions(path="a.csv", **options)


def test_templates_pass():
    assert CsvOptions(path="{{ ds }}.csv", delimiter="{{ params.d }}").delimiter == "{{ params.d }}"


def test_pages_of_large_rows_are_short(file):
    row = "x" * 100_000
    path = file("a\n" + f"{row}\n" * 1_000)
    pages = CsvReader(CsvOptions(path=path), LocalResources()).pages()
    assert max(len(page.items) for page in pages) <= 200


class TestSplits:
    def splits(self, path, at_most=3, **options):
        return CsvReader(CsvOptions(path=path, **options), LocalResources()).splits(at_most)

    def test_only_on_lines_that_end_rows(self, file):
        path = file("a\n" + "1\n" * 100)
        assert self.splits(path) is None
        assert len(self.splits(path, newlines_in_values=False)) == 3
        assert self.splits(path, newlines_in_values=False, compression="gzip") is None
        assert self.splits(path, newlines_in_values=False, max_items=5) is None

    def test_several_files_are_split_between_files(self, tmp_path, read):
        for n in range(5):
            (tmp_path / f"{n}.csv.gz").write_bytes(gzip.compress(f"a\n{n}\n".encode()))
        specs = self.splits(f"{tmp_path}/*.gz", at_most=2)
        found = [read(CsvReader, **spec.options) for spec in specs]
        assert len(found) == 2
        assert [item for items in found for item in items] == [{"a": str(n)} for n in range(5)]

    def test_error_in_a_later_split(self, file, read):
        path = file("a,b\n" + "1,2\n" * 100 + "3\n")
        last = self.splits(path, newlines_in_values=False)[-1]
        with pytest.raises(BadRecordError, match=r"a\.csv, after byte \d+, line \d+: 1 fields"):
            read(CsvReader, **last.options)
