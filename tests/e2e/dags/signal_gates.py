"""Gates of every kind. Their functions leave the URL in the folder that the run's configuration names."""

import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
from airflow.sdk import dag, get_current_context, task
from pydantic import BaseModel


def leave(signal_url: str) -> None:
    context = get_current_context()
    ti = context["ti"]
    if ti.task_id == "plain":
        logging.getLogger(__name__).info("it is %s", signal_url)
    path = Path(context["dag_run"].conf["folder"], f"{ti.task_id}{ti.map_index}-{ti.try_number}")
    part = path.with_suffix(".part")
    part.write_text(signal_url)
    part.rename(path)


SEND = """
import sys, time, httpx
time.sleep(int(sys.argv[2]) / 10)
httpx.post(sys.argv[1], json=int(sys.argv[2]), timeout=30, trust_env=False).raise_for_status()
"""


class Paid(BaseModel):
    order: int


@dag(schedule=None)
def signal_gates():
    @task.signal_gate
    def early(signal_url):
        """The signal is there before the task waits."""
        httpx.post(signal_url, json={"early": True}, trust_env=False).raise_for_status()
        assert httpx.post(signal_url, json={"early": False}, trust_env=False).status_code == 409

    @task.signal_gate(schema=Paid, on_signal=lambda paid: paid.order + 1)
    def checked(signal_url):
        leave(signal_url)

    @task.signal_gate
    def mapped(n: int, signal_url):
        leave(signal_url)

    @task.signal_gate
    def hasty(tenths: int, signal_url):
        """The signal comes around the moment in which the task parks."""
        subprocess.Popen([sys.executable, "-c", SEND, signal_url, str(tenths)], start_new_session=True)

    @task
    def after(values) -> list:
        return list(values)

    for name in ("plain", "cleared", "person"):
        task.signal_gate(task_id=name)(leave)()
    for outcome in ("fail", "skip", "default"):
        default = {"default": ["nobody"]} if outcome == "default" else {}
        task.signal_gate(task_id=outcome, timeout=timedelta(seconds=1), on_timeout=outcome, **default)(leave)()
    early()
    checked()
    hasty.expand(tenths=[0, 4, 8, 15])
    after(mapped.expand(n=[0, 1]))


signal_gates()
