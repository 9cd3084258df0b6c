"""The IO manager ``parquet``: what other tools see, what is read, what is noticed."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import AssetDamagedError, AssetNotFoundError, OptionsError, ValueKindError
from flowstone_provider.hooks import _tables, parquet
from flowstone_provider.hooks._files import PathFiles
from flowstone_provider.hooks.parquet import ParquetIOManager

pytestmark = pytest.mark.parquet

KEY = AssetKey("flights/delays", "2026-01")
LATER = datetime.now(timezone.utc) + timedelta(hours=1)


@pytest.fixture
def make(tmp_path):
    return lambda **options: ParquetIOManager(path=f"file://{tmp_path}/lake", **options)


@pytest.fixture
def manager(make):
    return make()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake" / "flights" / "delays" / "p=2026-01"


def numbers(rows=10, first=0):
    return pa.table({"n": range(first, first + rows), "text": [f"row {n}" for n in range(first, first + rows)]})


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(_tables, "_GROUP_ROWS", 1_000)


# What other tools see


def test_other_tools_read_an_asset_as_a_hive_dataset(manager, tmp_path):
    for month in (1, 2):
        manager.store(AssetKey("flights/delays", date(2026, month, 1)), numbers(first=month * 10))
    dataset = ds.dataset(tmp_path / "lake" / "flights" / "delays", partitioning="hive")
    assert dataset.schema.names == ["n", "text", "p"]
    assert dataset.to_table().num_rows == 20
    february = dataset.to_table(filter=ds.field("p") == "2026-02-01")
    assert february.column("n").to_pylist() == list(range(20, 30))


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "lz4", "none"])
def test_files_have_the_compression_and_checksums(make, folder, compression):
    make(compression=compression).store(KEY, numbers(1_000))
    (file,) = folder.glob("*.parquet")
    codec = pq.read_metadata(file).row_group(0).column(0).compression.lower()
    assert codec == {"none": "uncompressed", "lz4": "lz4"}.get(compression, compression)
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc"):
        pq.read_table(file, page_checksum_verification=True)


def test_bad_options_are_refused(make):
    with pytest.raises(OptionsError, match="compression"):
        make(compression="rar")
    with pytest.raises(OptionsError, match="schema_change"):
        make(schema_change="ignore")


def test_only_tables_are_kept(manager):
    with pytest.raises(ValueKindError, match="keeps table, not a value of kind json"):
        manager.store(KEY, {"n": 1})


def test_by_default_tables_lie_in_the_storage(configure, tmp_path):
    configure("storage", f"file://{tmp_path}")
    assert ParquetIOManager().uri(KEY) == f"file://{tmp_path}/tables/flights/delays/p=2026-01"


def test_a_large_table_is_several_files(manager, folder, monkeypatch, small_groups):
    monkeypatch.setattr(parquet, "_FILE_BYTES", 20_000)
    table = numbers(10_000)
    receipt = manager.store(KEY, table.to_reader(300))
    files = sorted(folder.glob("*.parquet"))
    assert len(files) > 2
    assert files[0].name.endswith("-00000.parquet")
    assert receipt.bytes == sum(file.stat().st_size for file in files)
    assert (receipt.rows, receipt.uri) == (10_000, f"file://{folder}")
    assert manager.load(KEY).equals(table)
    assert manager.load(KEY, columns=["n"], where=[("n", ">=", 9_000)]).column("n").to_pylist() == [
        *range(9_000, 10_000)
    ]
    manager.store(KEY, numbers())
    assert len(list(folder.iterdir())) == 2, "the old files are gone"


def test_a_row_group_is_bounded_however_the_batches_come(manager, folder, monkeypatch):
    monkeypatch.setattr(_tables, "_GROUP_BYTES", 10_000)
    table = pa.table({"text": ["x" * 100] * 1_000})
    for batches in ([table.to_batches()[0]], table.to_batches(max_chunksize=7)):
        manager.store(KEY, iter(batches))
        (file,) = folder.glob("*.parquet")
        groups = pq.read_metadata(file)
        rows = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        assert sum(rows) == 1_000
        assert max(rows) <= 100
        assert min(rows[:-1]) >= 85


# What is read


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, file):
        self._file = file
        self.bytes = 0

    def read(self, size=-1):
        data = self._file.read(size)
        self.bytes += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.fixture
def counted(monkeypatch):
    """The files that were opened since."""
    files = []
    real = PathFiles.open

    def counting(self, name):
        files.append(Counting(real(self, name)))
        return files[-1]

    monkeypatch.setattr(PathFiles, "open", counting)
    return files


def test_only_what_is_asked_for_is_read(manager, counted, small_groups):
    rows = 20_000
    texts = [hashlib.sha512(b"%d" % n).hexdigest() for n in range(rows)]
    size = manager.store(KEY, pa.table({"n": range(rows), "text": texts})).bytes

    def read(**selection):
        counted.clear()
        loaded = manager.load(KEY, **selection)
        return loaded.num_rows, sum(file.bytes for file in counted)

    # pyarrow reads so much of the end at once.
    footer = 65_536
    assert read()[1] >= size
    assert read(columns=["n"])[1] < size / 8 + footer
    found, of_one_group = read(where=[("n", ">=", 5_100), ("n", "<", 5_200)])
    assert found == 100
    assert of_one_group < size / 20 + footer
    found, nothing = read(where=[("n", "=", rows)])
    assert found == 0
    assert nothing <= footer


@pytest.mark.parametrize("condition", [("n", "=", "text"), ("text", "<", 5), ("n", "in", ["a"]), ("n", "=", object())])
def test_a_condition_that_does_not_fit_is_an_error_of_its_own(manager, condition):
    manager.store(KEY, numbers())
    with pytest.raises(ValueKindError, match=f"the condition {condition[0]} .* does not fit the column's type"):
        manager.load(KEY, where=[condition])


def test_all_partitions_are_one_table(manager):
    with pytest.raises(AssetNotFoundError, match="no partition of flights/delays"):
        manager.load_all("flights/delays")
    for month in (2, 1, 3):
        manager.store(AssetKey("flights/delays", date(2026, month, 1)), numbers(first=month * 10))
    manager.store(AssetKey("flights/delays/other", "x"), numbers())
    assert manager.load_all("flights/delays").column("n").to_pylist() == list(range(10, 40))
    assert manager.load_all("flights/delays", list, columns=["n"], where=[("n", ">", 38)]) == [{"n": 39}]


def test_a_value_that_is_replaced_is_read_to_its_end(manager, small_groups):
    manager.store(KEY, numbers(10_000))
    batches = manager.load(KEY, pa.RecordBatchReader)
    first = batches.read_next_batch()
    manager.store(KEY, numbers(5))
    assert first.num_rows + batches.read_all().num_rows == 10_000


# What is noticed


def test_a_damaged_file_is_named(manager, folder, monkeypatch, small_groups):
    monkeypatch.setattr(parquet, "_FILE_BYTES", 20_000)
    manager.store(KEY, numbers(10_000))
    second = sorted(folder.glob("*.parquet"))[1]
    whole = second.read_bytes()
    for damaged in (whole[:-100], whole[:50], b"", b"no parquet" * 100, whole[:300] + b"\xff" * 50 + whole[350:]):
        second.write_bytes(damaged)
        with pytest.raises(AssetDamagedError, match=rf"{second.name} is damaged.*store it again"):
            manager.load(KEY)
    second.unlink()
    with pytest.raises(AssetDamagedError, match="lacks a file"):
        manager.load(KEY)
    manager.store(KEY, numbers())
    assert manager.load(KEY).equals(numbers())


def test_a_file_that_was_swapped_for_another_is_noticed(manager, folder):
    manager.store(KEY, numbers())
    (file,) = folder.glob("*.parquet")
    pq.write_table(numbers(9), file)
    with pytest.raises(AssetDamagedError, match="9 rows, but 10 were stored"):
        manager.load(KEY)


def test_a_damaged_receipt_is_named_and_can_be_replaced(manager, folder):
    manager.store(KEY, numbers())
    (folder / "_receipt.json").write_text("{")
    with pytest.raises(AssetDamagedError, match=r"_receipt\.json is no receipt.*store it again"):
        manager.load(KEY)
    assert manager.clean(LATER) == 0, "nobody knows which files are the value's"
    manager.store(KEY, numbers(3))
    assert manager.load(KEY).num_rows == 3
    assert manager.clean(LATER) > 0


def other(**columns):
    return pa.table({"n": [1], "text": ["x"], **columns})


@pytest.mark.parametrize(
    ("table", "difference"),
    [
        (other(more=[1]), "more is new"),
        (other().select(["n"]), "text is gone"),
        (other(n=[0.5]), "n is double, was int64"),
        (other().select(["text", "n"]), "their order is text, n, was n, text"),
    ],
    ids=["new", "gone", "type", "order"],
)
def test_a_schema_that_changes_is_noticed(make, caplog, table, difference):
    manager = make()
    manager.store(AssetKey("flights/delays", "2026-01"), other())
    manager.store(AssetKey("flights/delays", "2026-02"), other())
    assert caplog.records == [record for record in caplog.records if record.levelname == "INFO"]
    strict = make(schema_change="error")
    for partition, before in (("2026-03", "partition 2026-02"), ("2026-02", "the value that it replaces")):
        key = AssetKey("flights/delays", partition)
        with pytest.raises(ValueKindError, match=f"{partition} are not those of {before}: {difference}"):
            strict.store(key, table)
        assert manager.exists(key) == (partition == "2026-02")
    caplog.clear()
    manager.store(AssetKey("flights/delays", "2025-12"), table)
    assert f"partition 2025-12 are not those of partition 2026-01: {difference}" in caplog.text
    caplog.clear()
    strict.store(AssetKey("flights/delays", "2025-12"), table)
    strict.store(AssetKey("another"), table)
    assert "are not those of" not in caplog.text


def test_texts_of_another_layout_are_the_same_texts(make):
    strict = make(schema_change="error")
    texts = [pa.array(["x"], type_) for type_ in (pa.string(), pa.large_string(), pa.string())]
    for month, text in enumerate(texts):
        strict.store(AssetKey("flights/delays", str(month)), other(text=text))
    assert strict.load_all("flights/delays", list) == [{"n": 1, "text": "x"}] * 3


def test_neighbours_that_have_no_receipt_are_passed_over(make, tmp_path):
    strict = make(schema_change="error")
    strict.store(AssetKey("flights/delays", "2026-01"), other())
    for left in ("p=2026-02", "p=2026-03", "other"):
        (tmp_path / "lake" / "flights" / "delays" / left).mkdir()
    with pytest.raises(ValueKindError, match="partition 2026-01"):
        strict.store(AssetKey("flights/delays", "2026-04"), other(more=[1]))


def test_what_others_put_beside_stays(manager, folder):
    manager.store(KEY, numbers())
    foreign = [folder / "_SUCCESS", folder / "part-0.snappy.parquet", folder.parent / "notes.txt"]
    for file in foreign:
        file.write_text("")
    left = folder / f"{'0' * 32}-00000.parquet"
    left.write_bytes(b"left behind")
    assert manager.clean(LATER) == len(b"left behind")
    manager.delete(KEY)
    assert not manager.exists(KEY)
    assert sorted(path for path in folder.parent.rglob("*") if path.is_file()) == sorted(foreign)
