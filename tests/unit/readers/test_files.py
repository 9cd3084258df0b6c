"""What all file readers share: which files, which version of them, compression."""

import gzip
import os
import sys

import pytest

from flowstone_provider.errors import (
    BadRecordError,
    MissingExtraError,
    OptionsError,
    SourceChangedError,
    SourceNotFoundError,
)
from flowstone_provider.readers import _streams
from flowstone_provider.readers.csv import CsvReader
from flowstone_provider.readers.json import JsonReader
from flowstone_provider.readers.jsonl import JsonlReader
from flowstone_provider.readers.parquet import ParquetReader
from flowstone_provider.readers.resources import LocalResources

READERS = [CsvReader, JsonlReader, JsonReader, pytest.param(ParquetReader, marks=pytest.mark.parquet)]
SUFFIXES = ["gz", pytest.param("zst", marks=pytest.mark.zstd)]


def zstd(data, **how):
    import zstandard

    return zstandard.ZstdCompressor(**how).compress(data)


def checked_zstd(data):
    # Without its checksum, zstd cannot tell.
    return zstd(data, write_checksum=True)


def lines(*numbers):
    return b"".join(b"%d\n" % number for number in numbers)


def reader_of(path, cls=JsonlReader, **options):
    return cls(cls.options(path=path, **options), LocalResources())


@pytest.mark.parametrize("cls", READERS)
class TestMissing:
    def test_file(self, read, tmp_path, cls):
        with pytest.raises(SourceNotFoundError, match=r"there is no file .*/nothing"):
            read(cls, path=f"{tmp_path}/nothing")

    def test_one_of_several(self, read, tmp_path, cls):
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(FileNotFoundError, match=r"there is no file .*/b"):
            read(cls, path=[f"{tmp_path}/a", f"{tmp_path}/b"])

    def test_pattern(self, read, tmp_path, cls):
        with pytest.raises(SourceNotFoundError, match=r"no file matches .*/\*\.x"):
            read(cls, path=f"{tmp_path}/*.x")

    def test_folder(self, read, tmp_path, cls):
        with pytest.raises(SourceNotFoundError, match=rf"{tmp_path} is a folder; .* {tmp_path}/\*"):
            read(cls, path=str(tmp_path))


class TestFiles:
    def test_patterns_and_lists(self, read, tmp_path):
        for number, name in enumerate(["b1", "a2", "a1", "c[1]"]):
            (tmp_path / name).write_bytes(lines(number))
        (tmp_path / "a0").mkdir()
        (tmp_path / "a0" / "a9").write_bytes(lines(9))
        assert read(JsonlReader, path=f"{tmp_path}/a*") == [2, 1]
        assert read(JsonlReader, path=f"{tmp_path}/[ab]1") == [2, 0]
        assert read(JsonlReader, path=f"{tmp_path}/**/a?") == [9, 2, 1]
        assert read(JsonlReader, path=f"{tmp_path}/c[[]1]") == [3]
        assert read(JsonlReader, path=[f"{tmp_path}/b1", f"{tmp_path}/?1", f"{tmp_path}/b1"]) == [0, 2]
        assert read(JsonlReader, path=[]) == []

    def test_relative_and_file_urls(self, read, tmp_path, monkeypatch):
        (tmp_path / "a").write_bytes(lines(1))
        monkeypatch.chdir(tmp_path)
        assert read(JsonlReader, path=["a"]) == read(JsonlReader, path="[a]") == [1]
        assert read(JsonlReader, path=f"file://{tmp_path}/*") == [1]

    def test_each_file_has_its_own_header(self, read, tmp_path):
        (tmp_path / "1.csv").write_text("a,b\n1,2\n")
        (tmp_path / "2.csv").write_text("b,a\n3,4\n")
        (tmp_path / "3.csv").write_text("")
        assert read(CsvReader, path=f"{tmp_path}/*.csv") == [{"a": "1", "b": "2"}, {"b": "3", "a": "4"}]

    def test_pages_say_their_file(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(lines(1))
        pages = reader_of(f"{tmp_path}/*").pages()
        assert [page.source for page in pages] == [f"{tmp_path}/a", f"{tmp_path}/b"]

    def test_no_connection_outside_airflow(self, read, tmp_path):
        with pytest.raises(OptionsError, match=r"conn_id='aws'"):
            read(JsonlReader, path="s3://bucket/key", conn_id="aws")


class TestChanges:
    @pytest.fixture
    def files(self, tmp_path):
        for name in "abc":
            (tmp_path / name).write_bytes(lines(*range(300)))
        return tmp_path

    def checkpoint(self, path, pages):
        reading = reader_of(f"{path}/*").pages()
        return [next(reading) for _ in range(pages)][-1].checkpoint

    def test_size(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        (files / "b").write_bytes(lines(*range(280)))
        with pytest.raises(
            SourceChangedError, match=r"/b changed .* 1090 bytes and has 1010; remove .* clear the plan"
        ):
            read(JsonlReader, checkpoint, path=f"{files}/*")

    def test_time(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        os.utime(files / "b", (1, 1))
        with pytest.raises(SourceChangedError, match=r"/b changed .* still has 1090 bytes, but was written anew"):
            read(JsonlReader, checkpoint, path=f"{files}/*")

    def test_a_file_that_is_done(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        os.utime(files / "a", (1, 1))
        with pytest.raises(SourceChangedError, match=r"files that were read before .*/b changed"):
            read(JsonlReader, checkpoint, path=f"{files}/*")

    def test_a_new_file_among_those_that_are_done(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        (files / "aa").write_bytes(lines(1))
        with pytest.raises(SourceChangedError, match=r"files that were read before .*/b changed"):
            read(JsonlReader, checkpoint, path=f"{files}/*")

    def test_the_file_is_gone(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        (files / "b").unlink()
        with pytest.raises(SourceChangedError, match=r"/b is not among the files any more"):
            read(JsonlReader, checkpoint, path=f"{files}/*")

    def test_files_not_read_yet_may_change(self, files, read):
        checkpoint = self.checkpoint(files, 3)
        (files / "c").write_bytes(lines(7))
        (files / "d").write_bytes(lines(8))
        assert read(JsonlReader, checkpoint, path=f"{files}/*")[-3:] == [299, 7, 8]

    def test_a_split(self, files, read):
        last = reader_of(f"{files}/*").splits(3)[-1]
        (files / "c").write_bytes(lines(1))
        with pytest.raises(SourceChangedError, match=r"/c changed .* 1090 bytes and has 2"):
            read(JsonlReader, **last.options)

    def test_a_split_whose_file_is_gone(self, files, read):
        last = reader_of(f"{files}/*").splits(3)[-1]
        (files / "c").unlink()
        with pytest.raises(SourceNotFoundError, match=r"/c"):
            read(JsonlReader, **last.options)


class TestCompression:
    data = lines(*range(100_000))

    @pytest.mark.parametrize("compress", [gzip.compress, pytest.param(zstd, marks=pytest.mark.zstd)])
    def test_members_and_frames(self, read, tmp_path, compress):
        suffix = "gz" if compress is gzip.compress else "zst"
        (tmp_path / f"a.{suffix}").write_bytes(compress(self.data) + compress(lines(1, 2)))
        assert read(JsonlReader, path=f"{tmp_path}/a.{suffix}") == [*range(100_000), 1, 2]

    def test_as_said(self, read, tmp_path):
        (tmp_path / "a").write_bytes(gzip.compress(lines(1)))
        (tmp_path / "b.gz").write_bytes(lines(2))
        assert read(JsonlReader, path=f"{tmp_path}/a", compression="gzip") == [1]
        assert read(JsonlReader, path=f"{tmp_path}/b.gz", compression="none") == [2]

    @pytest.mark.parametrize("bad_records", ["error", "fail"])
    @pytest.mark.parametrize(
        ("suffix", "compress"), [("gz", gzip.compress), pytest.param("zst", zstd, marks=pytest.mark.zstd)]
    )
    @pytest.mark.parametrize("cut", [-1, -9, 20_000])
    def test_truncated(self, read, tmp_path, suffix, compress, cut, bad_records):
        (tmp_path / f"a.{suffix}").write_bytes(compress(self.data)[:cut])
        with pytest.raises(BadRecordError, match=rf"/a\.{suffix}: the \w+ stream is truncated: .* after [\d,]+ decom"):
            read(JsonlReader, path=f"{tmp_path}/a.{suffix}", bad_records=bad_records)

    @pytest.mark.parametrize(
        ("suffix", "compress"),
        [("gz", gzip.compress), pytest.param("zst", checked_zstd, marks=pytest.mark.zstd)],
    )
    def test_corrupt(self, read, tmp_path, suffix, compress):
        content = bytearray(compress(self.data))
        content[5_000:5_100] = bytes(100)
        (tmp_path / f"a.{suffix}").write_bytes(content)
        with pytest.raises(BadRecordError, match=r"stream is corrupt after [\d,]+ decompressed bytes"):
            read(CsvReader, path=f"{tmp_path}/a.{suffix}", bad_records="fail", headers=["a"])

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_not_compressed_at_all(self, read, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").write_bytes(self.data)
        with pytest.raises(BadRecordError, match=r"corrupt after 0 decompressed bytes"):
            read(JsonReader, path=f"{tmp_path}/a.{suffix}")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_empty_is_truncated(self, read, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").write_bytes(b"")
        with pytest.raises(BadRecordError, match=r"truncated"):
            read(CsvReader, path=f"{tmp_path}/a.{suffix}")

    @pytest.mark.zstd
    def test_missing_library(self, read, tmp_path, monkeypatch):
        (tmp_path / "a.zst").write_bytes(zstd(lines(1)))
        monkeypatch.setitem(sys.modules, "zstandard", None)
        with pytest.raises(MissingExtraError, match=r"airflow-provider-flowstone\[zstd\]"):
            read(JsonlReader, path=f"{tmp_path}/a.zst")


def test_a_line_without_end_is_no_text(read, tmp_path, monkeypatch):
    monkeypatch.setattr(_streams, "_LONGEST_LINE", 1_000_000)
    (tmp_path / "a").write_bytes(b"x" * 2_000_000)
    with pytest.raises(BadRecordError, match=r"no line end in .* bytes; is it a text file"):
        read(CsvReader, path=f"{tmp_path}/a")


@pytest.mark.parametrize("cls", [CsvReader, JsonlReader])
def test_close_closes_files(tmp_path, cls):
    (tmp_path / "a").write_bytes(lines(*range(5_000)))
    reader = reader_of(f"{tmp_path}/a", cls)
    pages = reader.pages()
    next(pages)
    (stream,) = reader._open
    reader.close()
    assert stream.closed
