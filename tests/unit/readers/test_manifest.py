import json

import pytest

from flowstone_provider.contracts.item_reader import BadRecord
from flowstone_provider.errors import OptionsError, ReaderError, SourceChangedError, SourceNotFoundError
from flowstone_provider.readers.manifest import ManifestOptions, ManifestReader
from flowstone_provider.readers.resources import LocalResources

FAILED = [
    {"index": 1, "item": {"n": 1}, "source": "a.csv", "error": {"type": "TimeoutError", "message": "slow"}},
    {
        "index": 2,
        "bad": {"message": "a.csv, line 3", "raw": "?"},
        "error": {"type": "BadRecordError", "message": "3"},
    },
    {"index": 4, "item": None, "error": {"type": "ValueError", "message": "Timeout\nwas meant"}},
]


@pytest.fixture
def scatter(tmp_path):
    def write(results="jsonl", **changes):
        (tmp_path / "FAILED_0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in FAILED))
        (tmp_path / "PENDING_0.jsonl").write_text('{"index":7,"item":[7],"source":"b.csv"}\n')
        (tmp_path / "SUCCEEDED_00000.jsonl").write_text('{"index":0,"status":"succeeded","result":{"result":5}}\n')
        manifest = {
            "version": 1,
            "counts": {"total": 5, "succeeded": 1, "failed": 3, "pending": 1},
            "files": {
                "succeeded": [{"name": "SUCCEEDED_00000.jsonl", "items": 1, "rows": 1}],
                "failed": [{"name": "FAILED_0.jsonl", "items": 3}],
                "pending": [{"name": "PENDING_0.jsonl", "items": 1}],
            },
            "results": results,
        }
        (tmp_path / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        return f"{tmp_path}/manifest.json"

    return write


def reader_of(uri, **options):
    return ManifestReader(ManifestOptions(uri=uri, **options), LocalResources())


def test_what_did_not_succeed(scatter):
    pages = list(reader_of(scatter()).pages())
    assert [(page.items, page.source) for page in pages] == [
        ([{"n": 1}], "a.csv"),
        ([BadRecord("a.csv, line 3", "?"), None], None),
        ([[7]], "b.csv"),
    ]


@pytest.mark.parametrize(
    ("status", "count"), [(["failed", "pending"], 4), (["pending"], 1), (["failed"], 3), (["succeeded"], 1)]
)
def test_count(scatter, read, status, count):
    uri = scatter()
    assert reader_of(uri, status=status).count() == len(read(ManifestReader, uri=uri, status=status)) == count
    assert reader_of(uri, max_items=2).count() == 2
    assert reader_of(uri, error="*").count() is None


@pytest.mark.parametrize(
    ("error", "items"),
    [
        ("TimeoutError", [{"n": 1}]),
        ("Timeout*", [{"n": 1}]),
        ("*Timeout*", [{"n": 1}, None]),
        ("ValueError: Timeout?was*", [None]),
        ("timeout*", []),
        ("*", [{"n": 1}, BadRecord("a.csv, line 3", "?"), None]),
    ],
)
def test_error_patterns(scatter, read, error, items):
    assert read(ManifestReader, uri=scatter(), error=error) == items


def test_results(scatter, read):
    assert read(ManifestReader, uri=scatter(), status=["succeeded"]) == [{"result": 5}]


@pytest.mark.parquet
@pytest.mark.parametrize(
    ("rows", "items"),
    [
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        ([{"result": 1}, {"result": 2}], [{"result": 1}, {"result": 2}]),
        ([{"index": 1, "result": 2}], [{"index": 1, "result": 2}]),
    ],
)
def test_results_in_parquet(scatter, read, tmp_path, rows, items):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "SUCCEEDED_00000.parquet")
    files = {"succeeded": [{"name": "SUCCEEDED_00000.parquet", "items": 2, "rows": 2}], "failed": [], "pending": []}
    uri = scatter(results="parquet", files=files)
    assert read(ManifestReader, uri=uri, status=["succeeded"]) == items


def test_a_folder_with_brackets(scatter, tmp_path, read):
    (tmp_path / "run[1]*").mkdir()
    scatter()
    for path in tmp_path.glob("*.json*"):
        path.rename(tmp_path / "run[1]*" / path.name)
    assert len(read(ManifestReader, uri=f"{tmp_path}/run[1]*/manifest.json")) == 4


def test_no_results_were_kept(scatter, read):
    with pytest.raises(ReaderError, match="kept no results"):
        read(ManifestReader, uri=scatter(results=None), status=["succeeded"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"status": ["succeeded", "failed"]}, "read them apart"),
        ({"status": ["failed", "failed"]}, "has a status twice"),
        ({"status": []}, "status"),
        ({"status": ["lost"]}, "status"),
        ({"status": ["pending"], "error": "*"}, "`error` selects among failed items"),
    ],
)
def test_options(options, problem):
    with pytest.raises(OptionsError, match=problem):
        ManifestOptions(uri="manifest.json", **options)


def test_missing(scatter, read, tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"there is no manifest .*/nothing\.json"):
        read(ManifestReader, uri=f"{tmp_path}/nothing.json")
    uri = scatter()
    (tmp_path / "PENDING_0.jsonl").unlink()
    with pytest.raises(SourceNotFoundError, match=r"PENDING_0\.jsonl"):
        read(ManifestReader, uri=uri)


def test_other_files(scatter, tmp_path):
    for content, problem in [
        ("{", "is no manifest"),
        ("[]", "is no manifest"),
        ('{"a": 1}', "names no files"),
    ]:
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ReaderError, match=problem):
            reader_of(f"{tmp_path}/x.json").count()
    with pytest.raises(ReaderError, match="has version 2; this package reads version 1"):
        reader_of(scatter(version=2)).count()


def test_a_file_that_changes(scatter, read, tmp_path):
    uri = scatter()
    pages = reader_of(uri).pages()
    next(pages)
    second = next(pages)
    (tmp_path / "FAILED_0.jsonl").write_text("")
    with pytest.raises(SourceChangedError, match=r"FAILED_0\.jsonl changed"):
        read(ManifestReader, second.checkpoint, uri=uri)
