"""New Python environments, with the package installed from its wheel as others get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
_UV = (sys.executable, "-m", "uv")


def run(*words: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Run a command; return what it writes. A failure shows all of it.

    Args:
        *words: The command.
        cwd: The folder to run in.
        **env: Variables, besides those of this process that are no settings of Airflow, Python or pytest.
    """
    others = {name: text for name, text in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "PYTEST"))}
    done = subprocess.run(words, cwd=cwd, env={**others, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def build_wheel(project: Path, folder: Path) -> Path:
    """The wheel of a project, built into a folder."""
    run(*_UV, "build", "-q", "--wheel", "--out-dir", folder, project)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, *requirements: str | Path) -> Path:
    """A new virtual environment with these packages and pip; its Python."""
    run(*_UV, "venv", "-q", "--seed", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    run(*_UV, "pip", "install", "-q", "--python", python, "-c", CONSTRAINTS, *requirements)
    return python
