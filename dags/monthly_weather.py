"""The weather of a month, joined with the airports: tables from task to task. Where they lie is configuration.

``[flowstone] io_managers`` says what ``warehouse`` is, e.g. ``{"warehouse": {"use": "parquet"}}``, or of PostgreSQL
``{"warehouse": {"use": "postgres", "conn_id": "my_database"}}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, dag, task

from flowstone_provider import load

if TYPE_CHECKING:
    import pyarrow as pa

DATA = Path(__file__).parent / "data"
MONTH = Param("2013-01", type="string", pattern=r"^2013-(0[1-9]|1[0-2])$")


def read(name: str) -> pa.Table:
    """A CSV file of the examples."""
    from pyarrow import csv

    return csv.read_csv(DATA / name, convert_options=csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True))


# [START monthly_weather]
@dag(schedule=None, tags=["flowstone"], params={"partition": MONTH})
def monthly_weather():
    """How warm, windy and wet a month was, per airport."""

    @task.materialize(asset="nyc/airports", io_manager="warehouse", if_exists="skip")
    def airports() -> pa.Table:
        return read("airports.csv").select(["faa", "name"])

    @task.materialize(asset="nyc/weather", io_manager="warehouse", partition="{{ params.partition }}")
    def weather(params: dict[str, Any]) -> pa.Table:
        import pyarrow.compute as pc

        month = int(params["partition"].rpartition("-")[2])
        return read("weather.csv.gz").filter(pc.field("month") == month)

    @task.materialize(asset="nyc/weather_by_airport", io_manager="warehouse", partition="{{ params.partition }}")
    def by_airport(weather: pa.Table, airports: pa.Table) -> pa.Table:
        joined = weather.join(airports, keys="origin", right_keys="faa", join_type="inner").group_by("name")
        return joined.aggregate([("temp", "mean"), ("wind_speed", "max"), ("precip", "sum")]).sort_by("name")

    @task
    def report(summary: dict[str, Any]) -> list[dict[str, Any]]:
        rows = load(summary, list)
        for row in rows:
            celsius, rain = (row["temp_mean"] - 32) / 1.8, row["precip_sum"] * 25.4
            print(f"{summary['partition']} {row['name']}: {celsius:.1f} °C on average, {rain:.0f} mm of rain")
        return rows

    report(by_airport(weather(), airports()))


# [END monthly_weather]

monthly_weather()
