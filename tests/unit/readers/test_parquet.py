import datetime as dt
import sys
import time
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone_provider.errors import (
    BadRecordError,
    MissingExtraError,
    OptionsError,
    ReaderError,
    SourceChangedError,
)
from flowstone_provider.readers.parquet import ParquetOptions, ParquetReader
from flowstone_provider.readers.resources import LocalResources

pytestmark = pytest.mark.parquet

UTC = dt.timezone.utc


@pytest.fixture
def file(tmp_path):
    def write(table, name="a.parquet", **how):
        pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), tmp_path / name, **how)
        return str(tmp_path / name)

    return write


def reader_of(path, **options):
    return ParquetReader(ParquetOptions(path=path, **options), LocalResources())


def test_types(read, file):
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, 123456)
    row = {
        "nested": {"list": [{"x": 1}, None], "when": moment},
        "decimal": Decimal("12345678901234567890.12"),
        "us": moment,
        "utc": moment.replace(tzinfo=UTC),
        "day": moment.date(),
        "time": moment.time(),
        "bytes": b"\x00\xff",
        "map": [("k", 1)],
        "text": "é",
        "none": None,
        "dictionary": "d",
        "uuid": uuid.UUID(int=7).bytes,
    }
    schema = pa.schema(
        {
            "nested": pa.struct({"list": pa.list_(pa.struct({"x": pa.int8()})), "when": pa.timestamp("us")}),
            "decimal": pa.decimal128(30, 2),
            "us": pa.timestamp("us"),
            "utc": pa.timestamp("us", "UTC"),
            "day": pa.date32(),
            "time": pa.time64("us"),
            "bytes": pa.binary(),
            "map": pa.map_(pa.string(), pa.int64()),
            "text": pa.large_string(),
            "none": pa.null(),
            "dictionary": pa.dictionary(pa.int8(), pa.string()),
            "uuid": pa.uuid(),
        }
    )
    (found,) = read(ParquetReader, path=file(pa.Table.from_pylist([row], schema=schema)))
    assert found == {**row, "uuid": uuid.UUID(int=7)}
    assert type(found["us"]) is dt.datetime


class TestNanoseconds:
    """Written by pandas by default; most of the time they are whole microseconds."""

    schema = pa.schema(
        {
            "at": pa.timestamp("ns"),
            "utc": pa.timestamp("ns", "UTC"),
            "time": pa.time64("ns"),
            "deep": pa.list_(pa.struct({"at": pa.timestamp("ns")})),
            "map": pa.map_(pa.string(), pa.timestamp("ns")),
        }
    )

    def table(self, value):
        columns = []
        for field in self.schema:
            raw = {"deep": [[{"at": value}]], "map": [[("k", value)]]}.get(field.name, [value])
            columns.append(pa.array(raw, field.type))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def test_microseconds(self, read, file):
        when = dt.datetime(1970, 1, 1, 0, 0, 1, 5)
        assert read(ParquetReader, path=file(self.table(1_000_005_000))) == [
            {
                "at": when,
                "utc": when.replace(tzinfo=UTC),
                "time": when.time(),
                "deep": [{"at": when}],
                "map": [("k", when)],
            }
        ]

    def test_nothing_is_cut_off(self, read, file):
        assert read(ParquetReader, path=file(self.table(1_000_005_001))) == [
            {
                "at": "1970-01-01T00:00:01.000005001",
                "utc": "1970-01-01T00:00:01.000005001Z",
                "time": "00:00:01.000005001",
                "deep": [{"at": "1970-01-01 00:00:01.000005001"}],
                "map": [("k", "1970-01-01 00:00:01.000005001")],
            }
        ]


def test_durations_have_no_json_form(read, file):
    path = file({"a": [1], "d": pa.array([1], pa.duration("s"))})
    with pytest.raises(ReaderError, match=r"the column 'd' holds duration\[s\].*leave it out with `columns`"):
        read(ParquetReader, path=path)
    assert read(ParquetReader, path=path, columns=["a"]) == [{"a": 1}]


class TestColumns:
    def test_are_selected_in_order(self, read, file):
        path = file({"a": [1], "b": [2], "c": pa.array([{"x": 3, "y": 4}])})
        (found,) = read(ParquetReader, path=path, columns=["c", "a"])
        assert list(found.items()) == [("c", {"x": 3, "y": 4}), ("a", 1)]

    def test_unknown(self, read, file):
        with pytest.raises(OptionsError, match="has no column 'prize'; did you mean 'price'"):
            read(ParquetReader, path=file({"price": [1]}), columns=["prize"])

    def test_none(self):
        with pytest.raises(OptionsError, match="columns"):
            ParquetOptions(path="a", columns=[])

    def test_two_of_one_name(self, read, file):
        path = file(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
        with pytest.raises(ReaderError, match="several columns named 'a'"):
            read(ParquetReader, path=path)


class TestDamage:
    def test_truncated(self, read, file, tmp_path):
        content = (tmp_path / "a.parquet", file({"a": list(range(10_000))}))[0].read_bytes()
        (tmp_path / "b.parquet").write_bytes(content[:-100])
        with pytest.raises(BadRecordError, match=r"b\.parquet: no Parquet file, or a truncated one"):
            read(ParquetReader, path=f"{tmp_path}/*")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n" * 100])
    def test_no_parquet(self, tmp_path, content):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(BadRecordError, match=r"b\.parquet: no Parquet file"):
            reader_of(f"{tmp_path}/b.parquet").count()

    def test_a_damaged_row_group_is_named(self, read, file, tmp_path):
        path = file({"a": [f"text {n * n}" for n in range(10_000)]}, row_group_size=2_500)
        column = pq.ParquetFile(path).metadata.row_group(2).column(0)
        content = bytearray((tmp_path / "a.parquet").read_bytes())
        start = column.dictionary_page_offset
        content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(BadRecordError, match=r"a\.parquet, row group 2: ") as caught:
            read(ParquetReader, path=path)
        assert caught.value.row_group == 2

    def test_within_gzip(self, read, tmp_path):
        (tmp_path / "a.parquet.gz").write_bytes(b"")
        with pytest.raises(ReaderError, match="a Parquet file is compressed inside"):
            read(ParquetReader, path=f"{tmp_path}/a.parquet.gz")

    def test_a_disk_error_is_no_damage(self, file, monkeypatch):
        reader = reader_of(file({"a": [1]}))

        def broken(*_, **__):
            raise ConnectionResetError(104, "reset by peer")

        monkeypatch.setattr(pq, "ParquetFile", broken)
        with pytest.raises(ConnectionResetError):
            reader.count()


def test_missing_library(read, file, monkeypatch):
    path = file({"a": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"airflow-provider-flowstone\[parquet\]"):
        read(ParquetReader, path=path)


class TestSplits:
    def test_cut_within_row_groups_and_across_files(self, read, file, tmp_path):
        for number, rows in enumerate([10, 0, 1, 30]):
            start = sum([10, 0, 1, 30][:number])
            file({"n": pa.array(range(start, start + rows), pa.int64())}, f"{number}.parquet", row_group_size=4)
        for at_most in range(1, 45):
            specs = reader_of(f"{tmp_path}/*").splits(at_most)
            found = [read(ParquetReader, **spec.options) for spec in specs]
            assert [row["n"] for rows in found for row in rows] == list(range(41))
            assert [reader_of(**spec.options).count() for spec in specs] == [len(rows) for rows in found]
            assert all(found)

    def test_only_the_wanted_row_groups_are_opened(self, file, monkeypatch):
        path = file({"n": list(range(1_000))}, row_group_size=100)
        opened = []
        usual = pq.ParquetFile.iter_batches

        def watched(self, *args, row_groups, **named):
            opened.extend(row_groups)
            return usual(self, *args, row_groups=row_groups, **named)

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
        spec = reader_of(path).splits(4)[1]
        rows = [row["n"] for page in reader_of(**spec.options).pages() for row in page.items]
        assert rows == list(range(250, 500))
        assert opened == [2, 3, 4]

    def test_no_rows_no_splits(self, file):
        reader = reader_of(file({"n": pa.array([], pa.int64())}))
        assert reader.count() == 0
        assert reader.splits(3) is None

    def test_max_items(self, read, file):
        specs = reader_of(file({"n": list(range(100))}), max_items=50).splits(4)
        assert len(specs) == 4
        assert [row["n"] for spec in specs for row in read(ParquetReader, **spec.options)] == list(range(50))

    def test_a_changed_file(self, read, file):
        spec = reader_of(file({"n": [1, 2]})).splits(2)[1]
        file({"n": [1, 2, 3]})
        with pytest.raises(SourceChangedError, match="changed"):
            read(ParquetReader, **spec.options)

    def test_ten_million_rows_are_planned_from_the_footer(self, file):
        table = pa.table({"n": pa.array([0], pa.int8()).take(pa.array([0] * 1_000_000, pa.int32()))})
        path = file(pa.concat_tables([table] * 10), row_group_size=100_000)
        start = time.perf_counter()
        specs = reader_of(path).splits(1_000)
        assert time.perf_counter() - start < 1
        assert len(specs) == 1_000
        assert reader_of(**specs[7].options).count() == 10_000


def test_pages_of_large_rows_are_short(file):
    path = file({"a": [f"{n}" + "x" * 100_000 for n in range(300)]})
    assert max(len(page.items) for page in reader_of(path).pages()) <= 50
