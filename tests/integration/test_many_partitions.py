"""Ten thousand partitions of an asset are listed."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.memory import MemoryIOManager
from flowstone_provider.hooks.parquet import ParquetIOManager

NAMES = [f"{number:05}" for number in range(10_000)]


@pytest.mark.parametrize("manager_of", [FileIOManager, ParquetIOManager])
def test_as_files(tmp_path, manager_of):
    manager = manager_of(path=f"file://{tmp_path}")
    manager.store(AssetKey("many", NAMES[0]), pa.table({"a": [1]}))
    receipt = (tmp_path / "many" / f"p={NAMES[0]}" / manager.receipt_name).read_bytes()
    for name in NAMES[1:]:
        folder = tmp_path / "many" / f"p={name}"
        folder.mkdir()
        (folder / manager.receipt_name).write_bytes(receipt)
    assert list(manager.list_partitions("many")) == NAMES
    assert list(manager.list_assets()) == ["many"]


def test_in_memory(monkeypatch):
    monkeypatch.setattr(MemoryIOManager, "_values", {})
    manager = MemoryIOManager()
    manager.store(AssetKey("many", NAMES[0]), {"a": 1})
    (value,) = manager._values.values()
    manager._values.update({("many", name): value for name in reversed(NAMES)})
    assert list(manager.list_partitions("many")) == NAMES


@pytest.mark.parametrize("texts", [["2026-01", "2026-01-15"], ["a", "a.b", "ab"]])
def test_in_the_order_of_their_texts(tmp_path, texts):
    manager = FileIOManager(path=f"file://{tmp_path}")
    for text in texts:
        manager.store(AssetKey("ordered", text), {"a": 1})
    found = [AssetKey("ordered", partition).text for partition in manager.list_partitions("ordered")]
    assert found == texts
