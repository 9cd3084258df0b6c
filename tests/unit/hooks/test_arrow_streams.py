"""Tables of the IO manager ``file``: streams of Arrow's that are verified whole."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import AssetDamagedError, StorageError
from flowstone_provider.hooks import _files
from flowstone_provider.hooks.file import FileIOManager

pytestmark = pytest.mark.parquet

KEY = AssetKey("numbers")


@pytest.fixture
def manager(tmp_path):
    return FileIOManager(path=f"file://{tmp_path}")


@pytest.fixture
def stored(manager, tmp_path):
    """The file of a table."""
    manager.store(KEY, pa.table({"n": list(range(5_000)), "text": [f"row {n * 7_919 % 5_003}" for n in range(5_000)]}))
    (path,) = (tmp_path / "numbers").glob("*.arrows")
    return path


@pytest.mark.parametrize("selection", [{}, {"columns": ["n"]}, {"where": [("n", "<", 3)]}])
@pytest.mark.parametrize("place", [0, 9, 0.1, 0.5, 0.9, -1])
def test_a_byte_that_changed_is_noticed(manager, stored, place, selection):
    data = bytearray(stored.read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 0x55
    stored.write_bytes(data)
    with pytest.raises(AssetDamagedError, match="numbers"):
        manager.load(KEY, **selection)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.99])
def test_a_file_that_was_cut_short_is_noticed(manager, stored, part):
    data = stored.read_bytes()
    stored.write_bytes(data[: int(part * len(data))])
    with pytest.raises(AssetDamagedError, match="numbers"):
        manager.load(KEY)


def test_a_file_that_is_gone_is_noticed(manager, stored):
    stored.unlink()
    with pytest.raises(AssetDamagedError, match="is gone"):
        manager.load(KEY)


def test_bytes_after_the_end_are_noticed(manager, stored):
    stored.write_bytes(stored.read_bytes() + b"more")
    with pytest.raises(AssetDamagedError, match="bytes"):
        manager.load(KEY)


def test_a_value_that_was_replaced_meanwhile_is_no_damage(manager, stored):
    before = manager.receipt(KEY)
    manager.store(KEY, pa.table({"n": [1]}))
    with pytest.raises(StorageError, match="was replaced or deleted while it was loaded; load it again"):
        manager.get_table(KEY, before, None, ())


@pytest.mark.parametrize("after", [0, 1])
def test_storage_that_hiccups_is_no_damage(manager, stored, monkeypatch, after):
    monkeypatch.setattr(_files, "_CHUNK", 1_000)
    real = _files.PathFiles.open

    def cut_off(self, name):
        file = real(self, name)
        reads = iter([file.read] * after)

        class Cut:
            __enter__, __exit__ = file.__enter__, file.__exit__

            def read(self, size):
                read = next(reads, None)
                if read is None:
                    raise ConnectionError("cut off")
                return read(size)

        return Cut()

    monkeypatch.setattr(_files.PathFiles, "open", cut_off)
    with pytest.raises(StorageError, match=r"cannot read file://.*: ConnectionError: cut off; load it again"):
        manager.load(KEY)


def test_small_batches_are_brought_together(manager, tmp_path):
    batches = [pa.record_batch({"n": [n], "kind": pa.array([f"k{n % 3}"]).dictionary_encode()}) for n in range(3_000)]
    receipt = manager.store(KEY, iter(batches))
    assert receipt.rows == 3_000
    assert receipt.bytes < 50_000
    loaded = manager.load(KEY)
    assert loaded.column("n").to_pylist() == list(range(3_000))
    assert loaded.column("kind").to_pylist()[:4] == ["k0", "k1", "k2", "k0"]
