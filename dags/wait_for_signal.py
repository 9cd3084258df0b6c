"""A task that starts a job outside of Airflow and waits for its callback, without holding a worker.

The job here is a process of its own that counts the observations of 2013 at New York's airports. It could be a build, a
payment, or a colleague with `curl`. Needs `[flowstone] signal_key` and `[api] base_url`.
"""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task
from pydantic import BaseModel

DATA = Path(__file__).parent / "data"

JOB = """
import csv, gzip, json, os, sys, urllib.request

with gzip.open(sys.argv[1], "rt") as file:
    airports = [row["origin"] for row in csv.DictReader(file)]
body = json.dumps({"observations": len(airports), "airports": len(set(airports))}).encode()
request = urllib.request.Request(os.environ["SIGNAL_URL"], body, {"Content-Type": "application/json"})
urllib.request.urlopen(request, timeout=60)
"""


class Counted(BaseModel):
    """What the job sends: anything else is refused, and the gate stays open."""

    observations: int
    airports: int


@dag(schedule=None, doc_md=__doc__)
def wait_for_signal():
    """Start a job outside, and go on with what it sends."""

    # [START gate]
    @task.signal_gate(timeout=timedelta(hours=1), schema=Counted)
    def count(signal_url: str):
        """Whoever holds the URL may end the gate: it goes into the environment, not onto the command line."""
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(DATA / "weather.csv.gz")],
            env={**os.environ, "SIGNAL_URL": signal_url},
            start_new_session=True,
        )

    # [END gate]

    @task
    def report(counted: dict) -> str:
        return f"{counted['observations']} observations of {counted['airports']} airports"

    report(count())


wait_for_signal()
