"""Sources and the ledger on S3, through Airflow's connection."""

from __future__ import annotations

import gzip
import io

import orjson
import pytest

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.errors import SourceChangedError, SourceNotFoundError, StorageError
from flowstone_provider.folders import last_touched, list_folders, remove_folder
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.options import Batching, Tolerance
from flowstone_provider.scatter.view import ScatterResults
from flowstone_provider.testing.coordinator import CoordinatorContract
from tests.support.scatters import Scatter

pytestmark = pytest.mark.s3


@pytest.fixture
def scatter_on(s3):
    def make(items, folder="ledger", **options):
        scatter = Scatter("unused", items, **options)
        scatter.resources = AirflowResources()
        scatter.storage = scatter.resources.path(s3.url(folder))
        return scatter

    return make


def test_a_scatter_keeps_everything_on_s3(s3, scatter_on):
    def function(item):
        if item == 13:
            raise ValueError("thirteen")
        return {"n": item}

    for results in ("jsonl", "parquet"):
        scatter = scatter_on(
            list(range(40)), results, batching=Batching(max_items=10), results=results, tolerance=Tolerance(count=1)
        )
        scatter.run_all(function)
        reference = scatter.gather()
        assert reference["counts"] == {"total": 40, "succeeded": 39, "failed": 1, "pending": 0}
        assert reference["manifest"].startswith(f"s3://flowstone_s3@{s3.bucket}/{results}/dag/run/scatter/")
        view = ScatterResults(reference, AirflowResources())
        assert [row["n"] for row in view] == [n for n in range(40) if n != 13]
        assert view.to_arrow().num_rows == 39
        assert [failure["item"] for failure in view.failures()] == [13]


def test_a_batch_resumes_from_its_parts_on_s3(scatter_on):
    scatter = scatter_on(list(range(20)), batching=Batching(max_items=20))

    def dies(item):
        if item == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scatter.run(dies)
    calls = []
    scatter.run(calls.append)
    assert calls == list(range(7, 20))
    assert scatter.gather()["counts"]["succeeded"] == 20


def test_files_on_s3_by_glob_compressed_and_split(s3, scatter_on):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"n": str(n)} for n in range(3000)]
    for part in range(3):
        text = "n\n" + "".join(f"{row['n']}\n" for row in rows[part * 1000 : (part + 1) * 1000])
        s3.put(f"csv/{part}.csv.gz", gzip.compress(text.encode()))
    s3.put("lines/a.jsonl", b"".join(orjson.dumps(row) + b"\n" for row in rows))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=500)
    s3.put("rows.parquet", buffer.getvalue())
    s3.put("doc.json", orjson.dumps({"a": {"items": rows}}))

    sources = {
        "csv": {"path": s3.url("csv/*.csv.gz")},
        "jsonl": {"path": f"s3://{s3.bucket}/lines/*", "conn_id": "flowstone_s3"},
        "parquet": {"path": s3.url("rows.parquet")},
        "json": {"path": s3.url("doc.json"), "items_path": "/a/items"},
    }
    for reader, options in sources.items():
        scatter = scatter_on(ReaderSpec(reader=reader, options=options), f"ledger/{reader}")
        assert [item for batch in scatter.batches() for item in batch] == rows, reader


def test_an_object_that_changes_between_plan_and_batch_is_noticed(s3, scatter_on):
    s3.put("a.jsonl", b'{"n": 1}\n' * 1000)
    scatter = scatter_on(ReaderSpec(reader="jsonl", options={"path": s3.url("a.jsonl")}))
    assert scatter.plan().batches[0].reader is not None
    s3.put("a.jsonl", b'{"n": 2}\n' * 1000)
    with pytest.raises(SourceChangedError, match=r"a\.jsonl"):
        scatter.run(lambda item: item)


def test_missing_objects_and_buckets_are_named(s3, scatter_on):
    with pytest.raises(SourceNotFoundError, match=r"nothing\.csv"):
        scatter_on(ReaderSpec(reader="csv", options={"path": s3.url("nothing.csv")})).plan()
    scatter = scatter_on([1])
    scatter.storage = scatter.resources.path("s3://flowstone_s3@no-such-bucket-here/x")
    with pytest.raises(StorageError, match=r"cannot write .*no-such-bucket-here.*\[flowstone\] storage"):
        scatter.plan()


def test_what_is_old_can_be_told_and_removed(scatter_on):
    scatter = scatter_on([1, 2])
    scatter.run_all(lambda item: item)
    scatter.gather()
    (dag,) = list_folders(scatter.storage)
    (run,) = list_folders(dag)
    (folder,) = list_folders(run)
    assert folder.name == "scatter"
    assert last_touched(folder) is not None
    remove_folder(folder)
    assert list_folders(scatter.storage) == []


class TestLedgerOnS3(CoordinatorContract):
    @pytest.fixture
    def make(self, s3):
        return lambda: LedgerCoordinator(AirflowResources().path(s3.url("ledger")))
