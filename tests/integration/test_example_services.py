"""The example DAGs that read from services: S3, DynamoDB, PostgreSQL."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict

import psycopg2
import pytest

from tests.integration.test_example_dags import DAGS, Run, storage  # noqa: F401  (a fixture)
from tests.services import dynamodb
from tests.support.s3_inventories import listed, write_inventory

WEATHER = DAGS / "data" / "weather.csv.gz"


def planes():
    with (DAGS / "data" / "planes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def weather_bucket(s3, monkeypatch):
    """A bucket with the observations of each airport and month in a file, as the default connection sees it."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.server.connection())
    files = defaultdict(list)
    with gzip.open(WEATHER, "rt", newline="") as file:
        rows = csv.reader(file)
        header = ",".join(next(rows))
        for row in rows:
            files[f"weather/{row[0]}/{row[2]}.csv.gz"].append(",".join(row))
    for key, lines in files.items():
        s3.put(key, gzip.compress("\n".join([header, *lines]).encode()))
    s3.put("weather/", b"")
    s3.put("weather-notes.txt", b"no observation")
    return s3


@pytest.mark.s3
def test_s3_objects(airflow_db, storage, weather_bucket):  # noqa: F811
    run = Run("s3_objects", storage, {"bucket": weather_bucket.bucket})
    assert run.counts("size") == (36, 0, 0)
    assert run.counts("freezes") == (26_114, 1, 0)
    assert run.report["files"] == {"EWR": 12, "JFK": 12, "LGA": 12}
    assert run.report["hours_of_frost"] == frosty_hours()


def frosty_hours():
    with gzip.open(WEATHER, "rt", newline="") as file:
        return sum(float(row["temp"]) < 32 for row in csv.DictReader(file) if row["temp"] != "NA")


@pytest.mark.s3
@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_s3_inventory(airflow_db, storage, s3, monkeypatch, form):  # noqa: F811
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.server.connection())
    items = [listed(f"weather/{number}.csv.gz", number * 1_000) for number in range(250)]
    manifest = write_inventory(s3, "inventories", [items[:100], items[100:]], form)
    run = Run("s3_inventory", storage, {"manifest": manifest})
    assert run.counts("measure") == (250, 0, 0)
    assert run.report[0] == {"key": "weather/249.csv.gz", "kb": 249.0}


@pytest.mark.dynamodb
def test_dynamodb_table(airflow_db, storage, dynamodb_url, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", dynamodb.connection(dynamodb_url))
    with (DAGS / "data" / "airports.csv").open(newline="") as file:
        airports = [{**row, "alt": int(row["alt"])} for row in csv.DictReader(file)]
    client = dynamodb.make_client(dynamodb_url)
    with dynamodb.fresh_table(client, "faa:S", index=("tzone:S", "alt:N")) as table:
        dynamodb.put(client, table, airports)
        run = Run("dynamodb_table", storage, {"table": table})
    assert run.counts("is_high") == (len(airports), 0, 0)
    high = [airport for airport in airports if airport["alt"] > 5_000]
    rockies = [a["name"] for a in airports if a["tzone"] == "America/Denver" and a["alt"] > 7_000]
    assert run.report == {"high": len(high), "rockies": sorted(rockies)}


def test_postgres_rows(airflow_db, storage, postgres_database, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", postgres_database)
    with psycopg2.connect(postgres_database) as connection, connection.cursor() as cursor:
        cursor.execute("create table planes (tailnum text primary key, year int, manufacturer text, seats int)")
        rows = [
            (p["tailnum"], None if p["year"] == "NA" else p["year"], p["manufacturer"], p["seats"]) for p in planes()
        ]
        cursor.executemany("insert into planes values (%s, %s, %s, %s)", rows)
    connection.close()
    run = Run("postgres_rows", storage, {"seats": 150})
    large = [plane for plane in planes() if int(plane["seats"]) >= 150]
    without_year = sum(plane["year"] == "NA" for plane in large)
    assert run.counts("age") == (len(large) - without_year, without_year, 0)
    airbus = [2013 - int(p["year"]) for p in large if p["manufacturer"] == "AIRBUS" and p["year"] != "NA"]
    assert run.report["AIRBUS"] == pytest.approx(sum(airbus) / len(airbus), abs=0.051)
    plan = next((storage / "postgres_rows").rglob("sealed.json")).read_text()
    assert plan.count('"part"') > 10, "the batches read their rows themselves"
