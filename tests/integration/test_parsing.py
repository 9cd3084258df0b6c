"""What parsing a DAG file costs and gives: which libraries it loads, and that it gives the same twice."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import flowstone_provider

BARRED = {"boto3", "botocore", "pyarrow", "pandas", "psycopg", "psycopg2"}


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_and_its_contracts_loads_next_to_nothing():
    loaded = loaded_by("import flowstone_provider, flowstone_provider.contracts.item_reader")
    assert not loaded & (BARRED | {"airflow", "sqlalchemy", "orjson", "tenacity", "upath"})


def test_importing_what_a_dag_needs_loads_no_data_library():
    before = loaded_by("from airflow.sdk import dag, task")
    names = ", ".join(name for name in flowstone_provider.__all__ if name != "__version__")
    code = f"from airflow.sdk import dag, task\nfrom flowstone_provider import {names}\n"
    code += "import flowstone_provider.decorators.scatter, flowstone_provider.decorators.materialize\n"
    code += "import flowstone_provider.decorators.approval\n"
    code += "task.materialize(asset='a', partition='{{ ds }}')(lambda: 1)\n"
    code += "".join(f"source({name!r}, path='x')\n" for name in ("csv", "jsonl", "json", "parquet"))
    code += "source('s3', bucket='b'), source('s3_inventory', manifest='s3://b/i/manifest.json')\n"
    code += "source('dynamodb', table='t'), source('postgres', query='SELECT 1 AS n', cursor='n')\n"
    added = loaded_by(code) - before
    assert not added & (BARRED | {"sqlalchemy", "fsspec", "upath", "zstandard", "ijson"})


DAG_FILE = """
from airflow.sdk import DAG, task
from flowstone_provider import Batching, ItemRetry, ParallelTaskGroup, RateLimit, Tolerance, source

def pages(checkpoint):
    yield [1, 2], {}

with DAG("d", schedule=None) as dag:
    @task
    def rates(): ...

    @task.scatter(
        items=source("function", function=pages),
        select=lambda item: item,
        key=lambda item: item,
        batching=Batching(group_by=lambda item: item % 7, max_items=10),
        retry=ItemRetry(on=(TimeoutError, "Http*")),
        rate_limit=RateLimit(5),
        tolerance=Tolerance(percent=1.5),
        results=None,
        max_active_batches=2,
    )
    def work(item, rates, ti): ...

    with ParallelTaskGroup("g") as group:
        group.join(lambda outcomes: outcomes, task_id="combine")
        with group.branch("a", timeout=60):
            rates()

    work(rates=rates()) >> group

import json
from airflow.serialization.serialized_objects import {serializer}
# Airflow itself walks sets of field names, and sorts when it hashes.
print(json.dumps({serializer}.{method}(dag), sort_keys=True))
"""


def test_a_dag_parsed_twice_serialises_to_the_same_bytes(tmp_path):
    try:
        from airflow.serialization.serialized_objects import DagSerialization  # noqa: F401

        names = {"serializer": "DagSerialization", "method": "to_dict"}
    except ImportError:  # Airflow 3.1
        names = {"serializer": "SerializedDAG", "method": "to_dict"}
    path = tmp_path / "dag.py"
    path.write_text(
        textwrap.dedent(DAG_FILE).replace("{serializer}", names["serializer"]).replace("{method}", names["method"])
    )
    texts = [
        subprocess.run([sys.executable, path], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["dag"]["dag_id"] == "d"
    assert "0x" not in texts[0]


ASSETS_FILE = """
from datetime import date, timedelta
from airflow.sdk import DAG, task
from flowstone_provider import DeleteAssetOperator, Into, approve

with DAG("d", schedule=None) as dag:
    @task.materialize(asset="a", partition=("eu", date(2026, 1, 1)))
    def make(): ...

    @task.materialize(asset="b", partition="{{ task.op_kwargs.month }}")
    def mapped(month): ...

    @task.scatter(items=[1], into=Into(asset="c", partition=date(2026, 1, 1)))
    def work(item): ...

    @task.approval(asset="b")
    def check(n): ...

    make() >> mapped.expand(month=["a"]) >> work() >> DeleteAssetOperator(task_id="gone", asset="a")
    check.expand(n=[1]) >> approve("Sure?", asset="a", response_timeout=timedelta(days=1), defaults="Reject")

import json
from airflow.serialization import serialized_objects
cls = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG  # Airflow 3.1
print(json.dumps(cls.to_dict(dag), sort_keys=True))
"""


def test_a_dag_with_assets_parsed_twice_serialises_to_the_same_bytes(tmp_path):
    (tmp_path / "dag.py").write_text(ASSETS_FILE)
    argv = [sys.executable, tmp_path / "dag.py"]
    texts = [subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[-1] for _ in "ab"]
    assert texts[0] == texts[1]
    assert "flowstone://file/a" in texts[0]
    assert "0x" not in texts[0]
