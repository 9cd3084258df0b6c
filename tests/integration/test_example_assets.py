"""The example DAG of assets, over one IO manager after another: only the configuration differs."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from statistics import fmean

import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.registry import create_io_manager
from tests.integration.test_example_dags import DAGS, Run, storage  # noqa: F401  (a fixture)


def mean_temperatures(month):
    """By airport, from the file itself."""
    with (DAGS / "data" / "airports.csv").open(newline="") as file:
        names = {row["faa"]: row["name"] for row in csv.DictReader(file)}
    found = defaultdict(list)
    with gzip.open(DAGS / "data" / "weather.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            if int(row["month"]) == month and row["temp"] != "NA":
                found[names[row["origin"]]].append(float(row["temp"]))
    return {name: fmean(of) for name, of in found.items()}


@pytest.fixture
def warehouse(request, tmp_path, configure, monkeypatch):
    """The alias ``warehouse`` means the IO manager that the test is for."""
    options = {"use": request.param}
    if request.param == "postgres":
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", request.getfixturevalue("postgres_database"))
        options["conn_id"] = "warehouse"
    elif request.param == "s3":
        bucket = request.getfixturevalue("s3")
        options |= {"bucket": bucket.bucket, "prefix": "assets", "conn_id": "flowstone_s3"}
    else:
        options["path"] = f"file://{tmp_path}/warehouse"
    configure("io_managers", json.dumps({"warehouse": options}))


@pytest.mark.parametrize("warehouse", ["file", "parquet", "postgres", "s3"], indirect=True)
def test_monthly_weather(airflow_db, storage, warehouse):  # noqa: F811
    for month in (2, 7):
        run = Run("monthly_weather", storage, {"partition": f"2013-{month:02}"})
        means = {row["name"]: row["temp_mean"] for row in run.report}
        assert means == pytest.approx(mean_temperatures(month)), month
    manager = create_io_manager("warehouse")
    assert list(manager.list_assets()) == ["nyc/airports", "nyc/weather", "nyc/weather_by_airport"]
    months = list(manager.list_partitions("nyc/weather"))
    assert months == ["2013-02", "2013-07"]
    both = manager.load_many([AssetKey("nyc/weather", month) for month in months], columns=["month"])
    assert set(both.column("month").to_pylist()) == {2, 7}
    assert both.num_rows == sum(manager.receipt(AssetKey("nyc/weather", month)).rows for month in months)
