"""Values are loaded by their references, and IO managers are known by the names that DAGs give them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from flowstone_provider import load
from flowstone_provider.contracts.io_manager import AssetKey, make_reference
from flowstone_provider.contracts.telemetry import Emitter
from flowstone_provider.errors import AssetNotFoundError, AssetReplacedError, OptionsError, ReferenceError
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.hooks.memory import MemoryIOManager
from flowstone_provider.registry import create_io_manager, emitters

pytestmark = pytest.mark.parquet

KEYS = [AssetKey("numbers", "a"), AssetKey("numbers", "b")]


@pytest.fixture
def lake(configure, tmp_path):
    configure("io_managers", json.dumps({"lake": {"use": "file", "path": f"file://{tmp_path}/lake"}}))
    return create_io_manager("lake")


@pytest.fixture
def references(lake):
    return [make_reference(key, "lake", lake.store(key, pa.table({"n": [1, 2]}))) for key in KEYS]


def test_several_references_are_one_table_of_what_they_mean(lake, references, monkeypatch):
    asked = []
    real = FileIOManager.receipt

    def receipt(self, key):
        asked.append(key)
        return real(self, key)

    monkeypatch.setattr(FileIOManager, "receipt", receipt)
    assert load(references, pa.Table).num_rows == 4
    assert asked == KEYS, "what was checked is what is read"
    lake.store(KEYS[1], pa.table({"n": [3]}))
    with pytest.raises(AssetReplacedError, match="partition b was replaced"):
        load(references, pa.Table)
    lake.delete(KEYS[0])
    with pytest.raises(AssetNotFoundError, match="has no value of numbers, partition a; there are the partitions b"):
        load(references, pa.Table)


def test_what_is_no_reference_is_named_by_its_type_alone():
    secret = "every-cell-says-this"
    for value in (pa.table({"cell": [secret]}), [secret], {"cell": secret}, secret):
        with pytest.raises(ReferenceError, match=f"of type {type(value).__qualname__}") as raised:
            load(value)
        assert secret not in str(raised.value)


def test_messages_and_telemetry_have_the_name_of_the_dag(lake, configure):
    seen = []

    class Recording(Emitter):
        def emit(self, event, measurements, metadata):
            seen.append((event, dict(measurements), dict(metadata)))

    emitters.register("recording", Recording)
    configure("emitters", "recording")
    try:
        stored = lake.store(KEYS[0], pa.table({"n": [1, 2]}))
        lake.load(KEYS[0])
    finally:
        emitters.unregister("recording")
    about = {"io_manager": "lake", "asset": "numbers", "partition": "a"}
    events = {event: (measured, metadata) for event, measured, metadata in seen}
    assert events["flowstone.asset.load"] == ({"bytes": stored.bytes, "rows": 2}, about)
    measured, metadata = events["flowstone.asset.store"]
    assert (measured["bytes"], measured["rows"], metadata) == (stored.bytes, 2, about)
    assert measured["seconds"] > 0
    with pytest.raises(AssetNotFoundError, match="the IO manager lake has no value of numbers; there are the part"):
        lake.load(AssetKey("numbers"))
    with pytest.raises(AssetNotFoundError, match="the IO manager lake has no partition of planes"):
        lake.load_all("planes")


def test_memory_says_that_it_does_not_cross_processes(monkeypatch):
    monkeypatch.setattr(MemoryIOManager, "_values", {})
    with pytest.raises(AssetNotFoundError, match="memory keeps values in one process .*; choose file, s3, parquet or"):
        create_io_manager("memory").load(KEYS[0])


def test_a_connection_of_another_type_is_refused(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "flowstone_s3"}))
    with pytest.raises(OptionsError, match="'lake' is of type 'flowstone_s3', not 'flowstone_file'"):
        create_io_manager("file", flowstone_conn_id="lake").store(KEYS[0], 1)
