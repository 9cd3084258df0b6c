"""Every registered reader in a process of its own that is killed between two pages: another goes on where it was."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.registry import create_io_manager, create_reader, readers
from flowstone_provider.scatter.items import encode_page
from tests.services import dynamodb
from tests.support.s3_inventories import listed, write_inventory
from tests.support.scatters import Scatter
from tests.support.sources import csv_bytes, rows

ROOT = Path(__file__).parents[2]
ROWS = rows(900)

# Says the checkpoint of each page, and then waits to be told to go on.
READ = """
import importlib, json, sys
out, sys.stdout = sys.stdout, sys.stderr  # where Airflow logs
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.items import encode_page
module, name, options, after = json.loads(sys.argv[1])
cls = getattr(importlib.import_module(module), name)
for page in cls(cls.options(**options), LocalResources()).pages(after):
    lines = [line.decode() for line in encode_page(page, 0, None)]
    print(json.dumps([lines, page.checkpoint]), file=out, flush=True)
    sys.stdin.readline()
"""


def of_sequence(request, folder):
    return {"items": list(range(3_500))}


def of_function(request, folder):
    return {"function": "tests.support.sources:pages_of_numbers"}


def of_csv(request, folder):
    (folder / "a.csv").write_bytes(csv_bytes(ROWS))
    return {"path": str(folder / "a.csv")}


def of_jsonl(request, folder):
    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return {"path": str(folder / "a.jsonl")}


def of_json(request, folder):
    (folder / "a.json").write_text(json.dumps(ROWS))
    return {"path": str(folder / "a.json")}


def of_parquet(request, folder):
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet", row_group_size=200)
    return {"path": str(folder / "a.parquet")}


def of_asset(request, folder):
    request.getfixturevalue("configure")("storage", f"file://{folder}/storage")
    create_io_manager("file").store(AssetKey("a", "eu"), pa.Table.from_pylist(rows(4_500)))
    return {"asset": "a", "partition": "eu"}


def of_manifest(request, folder):
    scatter = Scatter(folder, list(range(900)), tolerance={"count": 900})
    scatter.run_all(lambda number: 1 / (number % 2))
    return {"uri": scatter.gather()["manifest"], "status": ["failed"]}


def of_s3(request, folder):
    bucket = request.getfixturevalue("s3")
    for number in range(4):
        bucket.put(f"a/{number}.jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS[number::4]))
    return {"bucket": bucket.bucket, "prefix": "a/", "contents": "jsonl"}


def of_s3_inventory(request, folder):
    items = [listed(f"{number}.csv", number) for number in range(500)]
    return {"manifest": write_inventory(request.getfixturevalue("s3"), "a", [items[:250], items[250:]], "CSV")}


def of_dynamodb(request, folder):
    client = dynamodb.make_client(request.getfixturevalue("dynamodb_url"))
    # DynamoDB ends a page at 1 MB.
    request.addfinalizer(lambda: table.__exit__(None, None, None))
    table = dynamodb.fresh_table(client, "id:S")
    name = table.__enter__()
    for number in range(16):
        dynamodb.put(client, name, [{"id": str(number), "text": "x" * 300_000}])
    return {"table": name}


def of_postgres(request, folder):
    url = request.getfixturevalue("postgres_database")
    parts = urlsplit(url)
    patch = request.getfixturevalue("monkeypatch")
    for name, value in (("HOST", parts.hostname), ("PORT", parts.port), ("USER", parts.username)):
        patch.setenv(f"PG{name}", str(value))
    patch.setenv("PGDATABASE", parts.path[1:])
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("create table a as select n, n / 7 as g from generate_series(1, 900) n")
    connection.close()
    return {"query": "select n, g from a", "cursor": "g"}


SOURCES = {name.removeprefix("of_"): make for name, make in list(globals().items()) if name.startswith("of_")}


def test_every_registered_reader_is_killed():
    assert {point.name for point in entry_points(group="flowstone.readers")} == SOURCES.keys()


@pytest.fixture
def aws(s3_server, monkeypatch):
    """Where boto3 finds the servers by itself, as in a notebook."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    monkeypatch.setenv("AWS_DEFAULT_REGION", s3_server.region)


@pytest.mark.parametrize("name", SOURCES)
def test_a_killed_reader_is_gone_on_with(name, request, tmp_path, aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", request.getfixturevalue("dynamodb_url"))
    spec = ReaderSpec(reader=name, options=SOURCES[name](request, tmp_path))
    expected = planned(spec, None)
    assert len(expected) > 3, "the source needs more pages"
    found, after = killed_after(2, spec, None)
    more, after = killed_after(1, spec, after)
    pages = [*found, *more, *planned(spec, after)]
    assert [item for page in pages for item in page] == [item for page in expected for item in page]


def planned(spec, after):
    """The pages as the planner would write them, read in this process."""
    return [items(encode_page(page, 0, None)) for page in create_reader(spec, LocalResources()).pages(after)]


def items(lines):
    return [json.loads(line)["item"] for line in lines]


def killed_after(pages, spec, after):
    """Read so many pages in another process and kill it: what it gave, and the last checkpoint it left."""
    cls = readers.lookup(spec.reader).cls
    argv = [sys.executable, "-c", READ, json.dumps([cls.__module__, cls.__name__, spec.options, after])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reading:
        found = []
        for number in range(pages):
            line = reading.stdout.readline()
            assert line, f"{spec.reader} ended or failed after {number} pages"
            lines, after = json.loads(line)
            found.append(items(lines))
            if number < pages - 1:
                reading.stdin.write("\n")
                reading.stdin.flush()
        reading.kill()
    return found, after
