"""A backfill of chosen months, by command line and scheduler."""

from __future__ import annotations

import json

from tests.e2e.cluster import Cluster

SUMMARY = ("nyc/weather_by_airport", "--io-manager", "warehouse")


def assets(airflow: Cluster, *words: str) -> str:
    return airflow.cli("flowstone", "assets", *words).stdout


def test_chosen_months_are_backfilled(airflow: Cluster):
    airflow.unpause("monthly_weather")
    spring = ("--from", "2013-03", "--to", "2013-05", "--every", "month")
    first = json.loads(assets(airflow, "backfill", "monthly_weather", "--keys", "2013-04,2013-11", "-o", "json"))
    for each in first:
        assert airflow.wait_run("monthly_weather", each["run_id"]) == "success"
    assert assets(airflow, "missing", *SUMMARY, *spring).split() == ["2013-03", "2013-05"]
    rest = ("backfill", "monthly_weather", *spring, "--missing", *SUMMARY)
    for each in json.loads(assets(airflow, *rest, "-o", "json")):
        assert airflow.wait_run("monthly_weather", each["run_id"]) == "success"
    assert assets(airflow, "missing", *SUMMARY, *spring) == ""
    partitions = json.loads(assets(airflow, "partitions", *SUMMARY, "-o", "json"))
    assert [each["partition"] for each in partitions] == ["2013-03", "2013-04", "2013-05", "2013-11"]
    assert {each["rows"] for each in partitions} == {3}
