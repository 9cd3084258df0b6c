"""``make demo``: run the weather DAG in this process, on SQLite and a local folder, and print what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HOME = Path(os.environ.get("AIRFLOW_HOME", ROOT / ".demo"))
SETTINGS = {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__FLOWSTONE__STORAGE": f"file://{HOME}/flowstone",
    "AIRFLOW__FLOWSTONE__IO_MANAGERS": '{"warehouse": {"use": "parquet"}}',
    "PYTHONWARNINGS": "ignore",
}


def airflow(*words: str) -> str:
    """Run an Airflow command; when it fails, show where its output is and end."""
    log = HOME / f"{words[0]}-{words[1]}.log"
    command = [sys.executable, "-m", "airflow", *words]
    done = subprocess.run(  # noqa: S603  (our own words)
        command, env={**os.environ, **SETTINGS}, capture_output=True, text=True, check=False
    )
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        sys.exit(f"airflow {' '.join(words)} failed; its output is in {log}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def newest_manifest() -> Path:
    """The manifest of the run that just ended."""
    return max(HOME.glob("flowstone/weather/*/observe/manifest.json"), key=lambda path: path.stat().st_mtime)


def table(manifest: dict[str, Any], path: Path, seconds: float) -> str:
    """The summary of a scatter for people."""
    counts = manifest["counts"]
    rows = [
        ("items", f"{counts['total']:,}"),
        ("succeeded", f"{counts['succeeded']:,}"),
        ("failed", f"{counts['failed']:,}   (tolerance: {manifest['tolerance']})"),
        *(("", f"{error['count']} × {error['signature']}") for error in manifest["errors"][:3]),
        ("pending", f"{counts['pending']:,}"),
        ("batches", f"{manifest['batches']:,}"),
        ("seconds", f"{seconds:.1f}   (the whole run, its {manifest['batches'] + 4} task instances one by one)"),
        ("manifest", f"file://{path}"),
    ]
    return "\n".join(f"  {name:<10} {value}" for name, value in rows)


def main() -> None:
    """Set up, run, print."""
    HOME.mkdir(parents=True, exist_ok=True)
    print("Setting up Airflow's database …", flush=True)
    airflow("db", "migrate")
    print("Running the DAG `weather`: 26,115 hourly observations, one item each …", flush=True)
    out = airflow("dags", "test", "weather")
    path = newest_manifest()
    manifest = json.loads(path.read_text())
    duration = next(
        float(part.removeprefix("run_duration="))
        for line in out.splitlines()
        if "DagRun Finished" in line
        for part in line.split(", ")
        if part.startswith("run_duration=")
    )
    report = [line for line in out.splitlines() if "°C on average" in line]
    print("\nHow it felt in 2013, from the results (Parquet):\n")
    print("\n".join(f"  {line}" for line in report))
    print(f"\nThe scatter `observe`: {manifest['verdict']}\n")
    print(table(manifest, path, duration))


if __name__ == "__main__":
    main()
