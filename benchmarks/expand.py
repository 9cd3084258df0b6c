"""The same work, which is none, under a real scheduler: plain ``.expand`` over items, against a scatter.

A real Airflow with PostgreSQL and LocalExecutor is started for it. The times are the runs' own, from their start date
to their end date as the API tells them: for the scatter with planning and gathering.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from _bench import MILLION, ROOT, Finding, main, scratch, weather_csv

BATCH = 10_000

EXPAND = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def bench_expand():
        @task
        def items() -> list[int]:
            return list(range({items}))

        @task
        def work(item):
            return item

        work.expand(item=items())

    bench_expand()
"""

SCATTER = """
    from airflow.sdk import dag, task

    from flowstone_provider import Batching, source

    @dag(schedule=None)
    def bench_scatter():
        @task.scatter(items=source("csv", path={path!r}), batching=Batching(max_items={batch}))
        def work(item):
            return item

        work()

    bench_scatter()
"""


def seconds(airflow: Any, code: str) -> float:
    """How long a run of a DAG took."""
    dag_id = airflow.add_dag(code)
    run_id = airflow.trigger(dag_id)
    state = airflow.wait_run(dag_id, run_id, timeout=1_800)
    if state != "success":
        ti = next(ti for ti in airflow.task_instances(dag_id, run_id) if ti["state"] == "failed")
        log = airflow.logs(dag_id, run_id, ti["task_id"], ti["map_index"])
        raise RuntimeError(f"the run of {dag_id} is {state}, first {ti['task_id']}[{ti['map_index']}]:\n{log[-3000:]}")
    run = airflow.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")
    start, end = (datetime.fromisoformat(run[date].replace("Z", "+00:00")) for date in ("start_date", "end_date"))
    return (end - start).total_seconds()


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    import sys

    sys.path.insert(0, str(ROOT))
    from tests.e2e.cluster import running_airflow
    from tests.services.postgres import fresh_database, running_postgres

    with (
        scratch() as folder,
        running_postgres() as server,
        fresh_database(server) as database,
        running_airflow(folder, database, Path("no example DAGs")) as airflow,
    ):
        source = weather_csv(folder / "weather.csv", options.items)
        plain = seconds(airflow, EXPAND.format(items=options.expanded))
        scatter = seconds(airflow, SCATTER.format(path=str(source), batch=BATCH))
    per_item = plain / options.expanded, scatter / options.items
    yield Finding(
        "an item in a plain .expand, over one in a scatter",
        per_item[0] / per_item[1],
        2_000.0,
        "×",
        at_least=True,
        details={
            "expanded": options.expanded,
            "expand_s": plain,
            "items": options.items,
            "batches": -(-options.items // BATCH),
            "scatter_s": scatter,
            "expand_ms_per_item": per_item[0] * 1e3,
            "scatter_us_per_item": per_item[1] * 1e6,
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, items=MILLION, expanded=200)
