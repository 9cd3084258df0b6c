"""The IO manager ``parquet`` on S3, through the filesystem of Airflow's connection; and more data than memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import AssetDamagedError, ValueKindError
from flowstone_provider.hooks import _tables, parquet
from flowstone_provider.hooks.parquet import ParquetIOManager
from flowstone_provider.testing.io_manager import IOManagerContract
from tests.services.s3 import fresh_bucket

pytestmark = [pytest.mark.parquet, pytest.mark.s3]

KEY = AssetKey("flights/delays", "2026-01")


class TestParquetOnS3(IOManagerContract):
    """Each test has a folder of its own in one bucket."""

    manager = ParquetIOManager
    kinds = ("table",)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _bucket(cls, s3_server):
        with fresh_bucket(s3_server) as bucket:
            cls.bucket = bucket
            yield

    @pytest.fixture
    def options(self, request):
        return {"path": self.bucket.url(request.node.name)}


@pytest.fixture
def manager(s3):
    return ParquetIOManager(path=s3.url("lake"))


def numbers(rows):
    return pa.table({"n": range(rows), "text": [f"a row with the number {n}" for n in range(rows)]})


def test_objects_are_a_hive_dataset(manager, s3, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_FILE_BYTES", 20_000)
    monkeypatch.setattr(_tables, "_GROUP_ROWS", 1_000)
    manager.store(KEY, numbers(10_000))
    keys = s3.keys()
    assert len(keys) > 2
    assert "lake/flights/delays/p=2026-01/_receipt.json" in keys
    assert manager.load(KEY).equals(numbers(10_000))
    for key in keys:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(s3.get(key))
    dataset = ds.dataset(tmp_path / "lake" / "flights" / "delays", partitioning="hive")
    assert dataset.to_table(filter=ds.field("p") == "2026-01").num_rows == 10_000
    manager.delete(KEY)
    assert s3.keys() == []


def test_a_damaged_object_is_named(manager, s3):
    manager.store(KEY, numbers(1_000))
    (key,) = (key for key in s3.keys("lake/") if key.endswith(".parquet"))
    whole = s3.get(key)
    for damaged in (whole[:-100], b"", whole[:500] + b"\xff" * 50 + whole[550:]):
        s3.put(key, damaged)
        with pytest.raises(AssetDamagedError, match=f"{key.rpartition('/')[2]} is damaged"):
            manager.load(KEY)


def test_the_partition_before_is_asked_for_its_schema(s3):
    strict = ParquetIOManager(path=s3.url("lake"), schema_change="error")
    strict.store(KEY, numbers(10))
    with pytest.raises(ValueKindError, match="are not those of partition 2026-01: more is new"):
        strict.store(AssetKey("flights/delays", "2026-02"), numbers(1).append_column("more", [[1]]))


def test_a_data_frame_comes_back(tmp_path):
    manager = ParquetIOManager(path=f"file://{tmp_path}")
    frame = pd.DataFrame({"n": [1, 2], "text": ["a", None]}, index=pd.Index([7, 8], name="id"))
    manager.store(KEY, frame)
    loaded = manager.load(KEY, pd.DataFrame)
    pd.testing.assert_frame_equal(loaded, frame)


def test_a_series_is_no_table(tmp_path):
    with pytest.raises(ValueKindError, match="Series is no table, .*; what can be stored"):
        ParquetIOManager(path=f"file://{tmp_path}").store(KEY, pd.Series([1]))


def test_more_is_stored_and_loaded_than_memory_would_hold(tmp_path):
    script = """
        import json, os, resource, sys
        sys.path.insert(0, {root!r})
        from collections.abc import Iterator
        import pyarrow as pa
        from flowstone_provider.contracts.io_manager import AssetKey
        from flowstone_provider.hooks.parquet import ParquetIOManager

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        manager, key = ParquetIOManager(path={path!r}, compression="none"), AssetKey("large")
        begun = peak()
        noise = os.urandom(4 << 20)
        batch = pa.record_batch({{"noise": pa.array([noise[n : n + 4096] for n in range(0, len(noise), 4096)])}})
        receipt = manager.store(key, (batch for _ in range(400)))
        stored = peak() - begun
        rows = sum(batch.num_rows for batch in manager.load(key, Iterator[pa.RecordBatch]))
        print(json.dumps([receipt.bytes / 1e6, rows, stored, peak() - begun]))
    """
    root = str(Path(__file__).parents[2])
    script = textwrap.dedent(script).format(root=root, path=f"file://{tmp_path}")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    megabytes, rows, storing, loading = json.loads(done.stdout.splitlines()[-1])
    assert megabytes > 1_600
    assert rows == 400 * 1024
    assert storing < 350
    assert loading < 450
