"""Parsing a DAG with a scatter, against parsing the same DAG with another provider's decorator.

Each is parsed in a fresh process, in turns; the medians are compared. What is measured runs from before ``from
airflow.sdk import dag, task`` to the end of the file, and is processor time: parsing waits for nothing, and on a busy
machine the wall clock differs more between two parses of one file than between the two files. Both resolve a decorator
through Airflow's provider manager.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import sys
import time
from collections.abc import Iterator

from _bench import ROOT, Finding, child, main, scratch

HEAVY = ("boto3", "pandas", "psycopg", "psycopg2", "pyarrow", "sqlalchemy")

# The DAG dags/weather.py, with the standard provider's decorator in the scatter's place.
OTHER = """
from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

OBSERVATIONS = Path(__file__).parent / "data" / "weather.csv.gz"


@dag(schedule=None, tags=["flowstone"])
def weather():
    @task
    def units() -> dict[str, float]:
        return {"fahrenheit_zero": 32.0, "mph_in_kmh": 1.609344}

    @task.bash
    def observe(units: dict[str, float]) -> str:
        return f"zcat {OBSERVATIONS} | wc -l"

    @task
    def report(observed: str) -> list[dict[str, Any]]:
        return [{"observed": observed}]

    report(observe(units=units()))


weather()
"""


def parse(file: str) -> None:
    """Run a DAG file in this process; print the seconds it took and what heavy libraries are loaded."""
    began, cpu = time.perf_counter(), time.process_time()
    runpy.run_path(file)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "heavy": [name for name in HEAVY if name in sys.modules]}))


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    with scratch() as folder:
        other = folder / "other.py"
        other.write_text(OTHER)
        files = {"ours": ROOT / "dags" / "weather.py", "peer": other}
        seconds: dict[str, list[float]] = {name: [] for name in files}
        cpu: dict[str, list[float]] = {name: [] for name in files}
        heavy: dict[str, set[str]] = {}
        # Nine at least: with fewer, a median says nothing.
        for round_ in range(max(9, options.rounds)):
            for name in sorted(files, reverse=bool(round_ % 2)):
                answer = child(__file__, files[name])
                seconds[name].append(answer["seconds"])
                cpu[name].append(answer["cpu"])
                heavy[name] = set(answer["heavy"])
    wall = {name: statistics.median(values) for name, values in seconds.items()}
    median = {name: statistics.median(values) for name, values in cpu.items()}
    yield Finding(
        "parsing a DAG with a scatter, more than one with @task.bash",
        (median["ours"] / median["peer"] - 1) * 100,
        5.0,
        "%",
        details={
            "rounds": len(seconds["ours"]),
            "ours_cpu_s": median["ours"],
            "peer_cpu_s": median["peer"],
            "wall_percent": (wall["ours"] / wall["peer"] - 1) * 100,
        },
    )
    added = sorted(heavy["ours"] - heavy["peer"])
    yield Finding(
        f"heavy libraries that it loads besides, of {', '.join(HEAVY)}",
        len(added),
        0,
        "",
        details={"added": " ".join(added) or "none", "peer": " ".join(sorted(heavy["peer"])) or "none"},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        parse(sys.argv[2])
    else:
        main(measure, __doc__, rounds=15)
