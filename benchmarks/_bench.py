"""What the benchmarks share: a finding, the command line, the data, the table."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WEATHER = ROOT / "dags" / "data" / "weather.csv.gz"

MILLION = 1_000_000


@dataclass(frozen=True)
class Finding:
    """One claim, and what was measured.

    Attributes:
        claim: What is claimed, as the table says it.
        measured: In ``unit``.
        bound: In ``unit``; what the claim promises.
        unit: ``×``, ``s``, ``MB``, ``%``, or none for a number of things.
        at_least: The bound is a lower one.
        details: The numbers behind it.
    """

    claim: str
    measured: float
    bound: float
    unit: str
    at_least: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "held": self.held}


Measure = Callable[[argparse.Namespace], Iterable[Finding]]


def main(measure: Measure, description: str | None, **sizes: int) -> None:
    """The command line of one benchmark: ``--quick``, ``--json FILE``, and a flag for each size.

    Args:
        measure: Yields findings; is given the sizes.
        description: The docstring of the file.
        **sizes: Name of a size and its value; ``--quick`` divides it by ten.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--json", type=Path, help="write the findings to this file")
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, help=f"by default {size:,}")
    options = parser.parse_args()
    for name, size in sizes.items():
        if getattr(options, name) is None:
            setattr(options, name, size // 10 if options.quick else size)
    findings = []
    with airflow_home():
        for finding in measure(options):
            findings.append(finding.as_dict())
            print("  " + ", ".join(f"{name} {_number(value)}" for name, value in finding.details.items()), flush=True)
    print(table(findings))
    if options.json:
        options.json.write_text(json.dumps(findings))


@contextmanager
def airflow_home() -> Iterator[Path]:
    """An ``AIRFLOW_HOME`` that disappears, with Airflow's defaults; to be made before Airflow is imported."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        del os.environ[name]
    with scratch() as home:
        os.environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        yield home


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder on disk; TMPDIR says where."""
    folder = Path(tempfile.mkdtemp(prefix="flowstone-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def weather(rows: int) -> Iterator[dict[str, str]]:
    """So many rows of real data: 26,115 weather observations, repeated; each row its own object."""
    with gzip.open(WEATHER, "rt", newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        values = list(reader)
    return (dict(zip(names, row)) for row in islice(cycle(values), rows))  # noqa: B905


def weather_csv(path: Path, rows: int) -> Path:
    """A CSV file of `weather` rows."""
    with gzip.open(WEATHER, "rt", newline="") as file:
        header = file.readline()
        lines = file.readlines()
    with path.open("w", newline="") as out:
        out.write(header)
        out.writelines(islice(cycle(lines), rows))
    return path


def child(script: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark's own file in a fresh process, as ``python FILE child ARGUMENTS``; what it prints is JSON."""
    import subprocess

    command = [sys.executable, script, "child", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(findings: list[dict[str, Any]]) -> str:
    """Findings as a table: claim, measured, bound, held or missed."""
    rows = [("claim", "measured", "bound", "")]
    for finding in findings:
        sign = "≥" if finding["at_least"] else "≤"
        rows.append(
            (
                finding["claim"],
                f"{_number(finding['measured'])} {finding['unit']}",
                f"{sign} {_number(finding['bound'])} {finding['unit']}",
                "held" if finding["held"] else "MISSED",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths[:3]), *lines[1:]])


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
