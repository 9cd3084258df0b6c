"""Gates that wait: rows in Airflow's database, as its servers would have written them."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG, task

from flowstone_provider.gates import ANY_JSON, OPTION, fingerprint, form
from flowstone_provider.tokens import Gate
from tests.support.dags import make_known
from tests.support.signals import KEY, make_gate

COLUMNS = ("id", "map_index", "state", "next_method", "next_kwargs", "trigger_timeout")


class Gates:
    """Makes gates, and looks at them."""

    def open(
        self, count: int = 1, schema: dict[str, Any] = ANY_JSON, *, name: str = "orders", **columns: Any
    ) -> list[Gate]:
        """Make a run of a mapped task, whose instances wait.

        Args:
            count: How many.
            schema: The schema in their rows.
            name: Begins the id of the DAG.
            **columns: Other values of the task instances' columns.
        """
        from airflow.models.hitl import HITLDetail
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState, TaskInstanceState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        with DAG(f"{name}_{uuid.uuid4().hex[:8]}", schedule=None) as dag:
            task.signal_gate(task_id="pay")(lambda n, signal_url: n).expand(n=list(range(count)))
        make_known(dag)
        now = datetime.now(timezone.utc)
        # Airflow 3.1 and 3.2 defer to a trigger, which looks for the answer.
        parked = getattr(TaskInstanceState, "AWAITING_INPUT", TaskInstanceState.DEFERRED)
        waits = {"state": parked, "next_method": "resume", "updated_at": now - timedelta(minutes=1)}
        with create_session() as session:
            known = SerializedDagModel.get(dag.dag_id, session=session).dag
            run = known.create_dagrun(
                run_id=f"manual__{now.isoformat()}",
                logical_date=now,
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            instances = sorted(run.get_task_instances(session=session), key=lambda ti: ti.map_index)
            for ti in instances:
                for name, value in {**waits, **columns}.items():
                    setattr(ti, name, value)
                session.add(
                    HITLDetail(ti_id=ti.id, options=[OPTION], subject="pay", params=form(schema), multiple=False)
                )
            ids = {"dag_id": dag.dag_id, "run_id": run.run_id, "task_id": "pay", "schema": fingerprint(schema)}
            made = [make_gate(**ids, ti_id=str(ti.id), map_index=ti.map_index) for ti in instances]
        assert len(made) == count
        return made

    def instance(self, gate: Gate) -> dict[str, Any]:
        """The columns of a gate's task instance, and of its row; empty where there is none."""
        found = [each for each in self.instances(gate) if each["map_index"] == gate.map_index]
        return found[0] if found else {}

    def instances(self, gate: Gate) -> list[dict[str, Any]]:
        """Those of all instances of its task, by map index."""
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        columns = (
            *(getattr(TaskInstance, name) for name in COLUMNS),
            *(getattr(HITLDetail, name) for name in ("responded_at", "responded_by", "params_input")),
        )
        query = select(*columns).outerjoin(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        query = query.where(TaskInstance.dag_id == gate.dag_id, TaskInstance.run_id == gate.run_id)
        with create_session() as session:
            return [dict(row._mapping) for row in session.execute(query.order_by(TaskInstance.map_index))]

    def taken(self, gate: Gate) -> Any:
        """The signal that a gate has got.

        Raises:
            AssertionError: It got none, or its task does not go on.
        """
        found = self.instance(gate)
        assert found["responded_by"] == {"id": "flowstone-signal", "name": "signal"}
        assert found["next_method"] == "resume"
        assert found["state"] == self.goes_on()
        return json.loads(found["params_input"]["signal"])

    def goes_on(self) -> str:
        """The state of a task instance after its signal; that of Airflow 3.1 and 3.2 stays, until the trigger looks."""
        from airflow.models.hitl import HITLDetail

        return "scheduled" if hasattr(HITLDetail, "as_resume_event_payload") else "deferred"


@pytest.fixture
def gates(airflow_db, configure) -> Gates:
    """Gates over an empty database."""
    configure("signal_key", KEY)
    return Gates()
