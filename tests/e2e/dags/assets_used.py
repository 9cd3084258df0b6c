"""Runs for each partition of an asset that another DAG stores."""

from __future__ import annotations

from airflow.sdk import dag, task

from flowstone_provider import airflow_asset, load

EVEN = airflow_asset("e2e/even")

try:
    from airflow.sdk import PartitionedAssetTimetable

    schedule = PartitionedAssetTimetable(assets=EVEN)
except ImportError:  # Airflow 3.1 knows no partitions
    schedule = [EVEN]


@dag(schedule=schedule)
def assets_used():
    """What the event stands for is loaded, and stored under the run's partition."""

    @task.materialize(asset="e2e/seen")
    def seen(triggering_asset_events):
        ((event,),) = triggering_asset_events.values()
        return {"rows": load(event.extra, columns=["n"]).num_rows, "partition": event.extra["partition"]}

    seen()


assets_used()
