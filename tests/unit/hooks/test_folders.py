"""IO managers over files: what goes on while a value is stored, replaced or deleted."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from flowstone_provider import folders
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import StorageError
from flowstone_provider.hooks._files import PathFiles
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager

pytestmark = pytest.mark.parquet

KEY = AssetKey("numbers", "eu")
LATER = datetime.now(timezone.utc) + timedelta(hours=1)


def numbers(number, rows=1_000):
    return pa.table({"n": [number] * rows, "text": [f"number {number}"] * rows})


@pytest.fixture(params=[FileIOManager, ParquetIOManager])
def make(request, tmp_path):
    return lambda: request.param(path=f"file://{tmp_path}/assets")


@pytest.fixture
def manager(make):
    return make()


def files_in(tmp_path):
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def test_a_value_that_is_deleted_while_another_is_stored_is_whole_or_not_there(manager, make, tmp_path):
    manager.store(KEY, numbers(1))

    def batches():
        yield from numbers(2, 70_000).to_batches(max_chunksize=10_000)
        make().delete(KEY)
        assert not make().exists(KEY)
        yield from numbers(2).to_batches()

    manager.store(KEY, batches())
    assert make().load(KEY).num_rows == 71_000
    assert len(files_in(tmp_path)) == 2


def test_delete_leaves_no_file_also_of_a_damaged_receipt(manager, tmp_path):
    for damage in (False, True):
        manager.store(AssetKey("numbers"), numbers(0))
        manager.store(KEY, numbers(1))
        if damage:
            (tmp_path / "assets" / "numbers" / manager.receipt_name).write_text("{")
        manager.delete(AssetKey("numbers"))
        assert manager.load(KEY).num_rows == 1_000, "the asset's partition stays"
        manager.delete(KEY)
        assert files_in(tmp_path) == []


def test_old_files_that_stay_do_not_fail_a_store(manager, make, monkeypatch, caplog, tmp_path):
    manager.store(KEY, numbers(1))

    def refuses(self, names):
        raise StorageError(f"cannot remove {', '.join(names)}")

    with monkeypatch.context() as patch:
        patch.setattr(PathFiles, "remove", refuses)
        manager.store(KEY, numbers(2))
    assert make().load(KEY).equals(numbers(2))
    assert "cannot remove numbers/p=eu/" in caplog.text
    assert "`airflow flowstone assets clean` removes it" in caplog.text
    assert len(files_in(tmp_path)) == 3
    assert manager.clean(LATER) > 0
    assert len(files_in(tmp_path)) == 2


def test_storage_that_knows_no_times_is_listed_and_only_not_cleaned(manager, monkeypatch, tmp_path):
    real = LocalFileSystem.find

    def timeless(self, path, **options):
        found = real(self, path, **options)
        if not options.get("detail"):
            return found
        return {name: {"name": name, "size": info["size"]} for name, info in found.items()}

    monkeypatch.setattr(LocalFileSystem, "find", timeless)
    manager.store(KEY, numbers(1))
    assert list(manager.list_partitions("numbers")) == ["eu"]
    assert manager.clean(LATER) == 0
    left = tmp_path / "assets" / "numbers" / "p=eu" / f"{'0' * 32}-00000.bin"
    left.write_bytes(b"left behind")
    with pytest.raises(StorageError, match="does not say when .*numbers/p=eu was written: it cannot be removed by age"):
        manager.clean(LATER)
    with pytest.raises(StorageError, match="does not say when"):
        folders.last_touched(manager.files._root)
    assert left.exists()


def test_exists_and_receipt_read_no_value(manager, monkeypatch):
    manager.store(KEY, numbers(1))

    def opened(self, name):
        raise AssertionError(f"{name} was opened")

    monkeypatch.setattr(PathFiles, "open", opened)
    assert manager.exists(KEY)
    assert manager.receipt(KEY).rows == 1_000
    assert not manager.exists(AssetKey("numbers"))


def test_who_reads_beside_a_writer_sees_one_value_whole(manager, make):
    manager.store(KEY, numbers(0))
    done = threading.Event()

    def write():
        try:
            for number in range(1, 40):
                make().store(KEY, numbers(number))
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        try:
            table = manager.load(KEY)
        except StorageError as error:  # the files of a receipt went before they were opened
            assert "load it again" in str(error)  # noqa: PT017
            continue
        assert table.num_rows == 1_000
        (number,) = set(table.column("n").to_pylist())
        assert set(table.column("text").to_pylist()) == {f"number {number}"}
        seen.append(number)
    writer.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    assert manager.load(KEY).equals(numbers(39))
