"""Run the benchmarks, each in a process of its own, and print what was measured beside what is claimed.

    python benchmarks/run.py                    all of them
    python benchmarks/run.py --quick            a tenth of the size, in a few minutes
    python benchmarks/run.py runner_cost memory

The findings are kept in ``results/latest.json``, those of ``--quick`` in ``results/quick.json``. A miss is a finding
like any other; the exit code tells only whether everything could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _bench import table

HERE = Path(__file__).resolve().parent

BENCHMARKS = (
    "runner_cost",
    "planning_csv",
    "planning_parquet",
    "expand",
    "memory",
    "parse_cost",
    "s3_listing",
    "s3_contents",
    "dynamodb_scan",
    "asset_parquet",
    "asset_postgres",
    "asset_memory",
    "asset_handover",
    "asset_s3",
    "postgres_read",
)

PACKAGES = ("airflow-provider-flowstone", "apache-airflow", "apache-airflow-task-sdk", "orjson", "pyarrow", "pydantic")


def run(name: str, quick: bool) -> list[dict[str, Any]] | None:
    """The findings of one benchmark, or nothing when it failed."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "findings.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(answer), *(["--quick"] if quick else [])]
        print(f"{name} …", flush=True)
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode or not answer.exists():
            print(done.stdout)
            return None
        findings: list[dict[str, Any]] = json.loads(answer.read_text())
        print(table(findings), end="\n\n", flush=True)
        return findings


def about(name: str, quick: bool) -> dict[str, Any]:
    """When, with what and on how many processors."""
    return {
        "command": f"python benchmarks/{name}.py{' --quick' if quick else ''}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    kept = HERE / "results" / ("quick.json" if options.quick else "latest.json")
    measured: list[dict[str, Any]] = []
    failed = []
    for name in BENCHMARKS:
        if options.names and name not in options.names:
            continue
        findings = run(name, options.quick)
        if findings is None:
            failed.append(name)
            continue
        measured += findings
        # At once, and read anew: what takes minutes is not lost to what fails later or runs beside it.
        results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        results[name] = {**about(name, options.quick), "findings": findings}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({name: results[name] for name in BENCHMARKS if name in results}, indent=2) + "\n")
    print(table(measured))
    if failed:
        print(f"could not be measured: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
