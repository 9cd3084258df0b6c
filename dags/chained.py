"""A scatter over the results of another, a whole batch at once as an Arrow table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, task

from flowstone_provider import Batching, Tolerance, load, source

if TYPE_CHECKING:
    import pyarrow as pa

PLANES = Path(__file__).parent / "data" / "planes.csv"


@dag(schedule=None, tags=["flowstone"])
def chained():
    """How much older or younger each plane is than its manufacturer's planes are on average."""

    # [START chained]
    @task.scatter(
        items=source("csv", path=str(PLANES)),
        batching=Batching(max_items=1_500),
        tolerance=Tolerance(percent=3),  # some planes lack their year
    )
    def clean(plane: dict[str, str]) -> dict[str, Any]:
        return {
            "tailnum": plane["tailnum"],
            "manufacturer": plane["manufacturer"],
            "age": 2013 - int(plane["year"]),
        }

    @task.scatter(
        items=clean(),  # the results of the planes that succeeded
        batching=Batching(group_by="manufacturer", max_items=1_500),
        per="batch",
        results="parquet",
    )
    def compare(planes: pa.Table) -> pa.Table:
        """One row for each plane, in the order of the planes."""
        grouped = planes.group_by("manufacturer").aggregate([("age", "mean")])
        means = dict(zip(grouped["manufacturer"].to_pylist(), grouped["age_mean"].to_pylist(), strict=True))
        return planes.append_column("mean_age", [[means[name] for name in planes["manufacturer"].to_pylist()]])

    # [END chained]

    # [START to_batches]
    @task
    def report(compared: dict[str, Any]) -> dict[str, float]:
        means: dict[str, float] = {}
        for batch in load(compared).to_batches():  # one after the other: never all in memory
            means.update(zip(batch["manufacturer"].to_pylist(), batch["mean_age"].to_pylist(), strict=True))
        return {name: round(mean, 1) for name, mean in sorted(means.items())}

    # [END to_batches]

    report(compare())


chained()
