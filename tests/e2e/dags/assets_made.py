"""Two assets, one made from the other, of the month that the run is told of (``conf["month"]``)."""

from __future__ import annotations

from collections.abc import Iterator

from airflow.sdk import dag, task


@dag(schedule=None)
def assets_made():
    """A table and one made from it."""

    @task.materialize(asset="e2e/numbers", partition="{{ dag_run.conf['month'] }}")
    def numbers():
        import pyarrow as pa

        return pa.table({"n": list(range(100_000)), "text": ["every cell says this"] * 100_000})

    @task.materialize(asset="e2e/even", partition="{{ dag_run.conf['month'] }}")
    def even(batches: Iterator):
        import pyarrow.compute as pc

        for batch in batches:
            yield batch.filter(pc.equal(pc.bit_wise_and(batch["n"], 1), 0)).select(["n"])

    even(numbers())


made = assets_made()

try:
    from airflow.providers.openlineage.utils.selective_enable import enable_lineage

    enable_lineage(made)
except ImportError:
    pass
