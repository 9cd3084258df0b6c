"""Every weather observation of New York's airports in 2013, one item each; a few lack a reading and fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from flowstone_provider import Tolerance, load, source

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"


# [START weather]
@dag(schedule=None, tags=["flowstone"])
def weather():
    """How it felt, per airport and month."""

    @task
    def units() -> dict[str, float]:
        return {"fahrenheit_zero": 32.0, "mph_in_kmh": 1.609344}

    @task.scatter(
        items=source("csv", path=str(OBSERVATIONS)),
        select=["origin", "month", "time_hour", "temp", "humid", "wind_speed"],
        tolerance=Tolerance(percent=0.1),
        results="parquet",
    )
    def observe(observation: dict[str, str], units: dict[str, float]) -> dict[str, Any]:
        celsius = (float(observation["temp"]) - units["fahrenheit_zero"]) / 1.8
        wind = float(observation["wind_speed"]) * units["mph_in_kmh"]
        if wind > 408:  # the strongest gust ever measured, Barrow Island 1996
            raise ValueError(f"no wind blows at {wind:,.0f} km/h")
        feels_like = celsius
        if celsius <= 10 and wind > 4.8:  # wind chill, Environment Canada's formula
            feels_like = 13.12 + 0.6215 * celsius + (0.3965 * celsius - 11.37) * wind**0.16
        return {
            "airport": observation["origin"],
            "month": int(observation["month"]),
            "time": observation["time_hour"],
            "celsius": round(celsius, 2),
            "feels_like": round(feels_like, 2),
            "humidity": float(observation["humid"]),
            "wind_kmh": round(wind, 2),
        }

    @task
    def report(observed: dict[str, Any]) -> list[dict[str, Any]]:
        table = load(observed).to_arrow().group_by(["airport", "month"], use_threads=False)
        means = table.aggregate([("celsius", "mean"), ("feels_like", "min"), ("wind_kmh", "max")])
        rows = means.sort_by([("airport", "ascending"), ("month", "ascending")]).to_pylist()
        for row in rows:
            print(
                f"{row['airport']} {row['month']:2}: {row['celsius_mean']:6.1f} °C on average, felt like "
                f"{row['feels_like_min']:6.1f} °C at the coldest, wind up to {row['wind_kmh_max']:5.1f} km/h"
            )
        return rows

    report(observe(units=units()))


# [END weather]

weather()
