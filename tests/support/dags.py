"""Running a DAG in this process; a test that does so asks for the fixture ``airflow_db``."""

from __future__ import annotations

from typing import Any


def make_known(dag: Any) -> None:
    """Make a DAG known to Airflow, as if its file had been parsed."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag("/dev/null", collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)


def run_dag(dag: Any, conf: dict[str, Any] | None = None, **test_options: Any) -> Any:
    """Make a DAG known to Airflow and run it with ``dag.test()``.

    Mapping, retries and triggers work; everything runs one after the other, without pools or limits.

    Args:
        dag: The DAG.
        conf: The run's configuration.
        **test_options: Further arguments of ``dag.test()``, as ``logical_date``.

    Returns:
        The ``DagRun``: ``state``, ``get_task_instances()``.
    """
    make_known(dag)
    return dag.test(run_conf=conf, **test_options)


def states(dag_run: Any) -> dict[str, str | None]:
    """The state of each task instance of a run: ``{"plan": "success", "batch[0]": "failed"}``."""
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state and str(ti.state)
        for ti in dag_run.get_task_instances()
    }


def pulled(run: Any, task_id: str, map_index: int = -1) -> Any:
    """What a task instance of a run returned."""
    (ti,) = [ti for ti in run.get_task_instances() if ti.task_id == task_id and ti.map_index == map_index]
    return ti.xcom_pull(task_ids=task_id, key="return_value", map_indexes=map_index)


def numbers(rows: int = 10) -> Any:
    """A table that tasks hand to one another."""
    import pyarrow as pa

    return pa.table({"n": list(range(rows)), "text": [f"row {n}" for n in range(rows)]})
