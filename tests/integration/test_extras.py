"""The bare distribution runs the tests of the core, and each extra alone runs its own.

A test that needs an extra bears the marker of its name; a module that imports the extra's library bears it as a whole
(``pytestmark``). Whatever bears none must pass without any extra.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tests.support.environments import ROOT, make_environment, run

EXTRAS = sorted({*metadata("airflow-provider-flowstone").get_all("Provides-Extra")} - {"all"})
TEST_LIBRARIES = ("pytest", "pytest-mock", "pytest-timeout", "hypothesis", "psutil")
# What they check is the repository, not the package.
OF_THE_REPOSITORY = {"test_compose.py", "test_docs.py"}
# The servers run in this process's environment: what talks to them needs no more than its extra.
SERVERS = {"s3": {"FLOWSTONE_TEST_S3_URL": "moto_url"}, "dynamodb": {"FLOWSTONE_TEST_DYNAMODB_URL": "moto_url"}}
SERVERS["postgres"] = {"FLOWSTONE_TEST_POSTGRES_URL": "postgres_url"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The tests and their settings, without the package beside them."""
    folder = tmp_path_factory.mktemp("tests")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "e2e"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def modules(folder: Path, extra: str | None) -> list[Path]:
    """The test modules to run with one extra, or with none."""
    found = []
    for path in sorted(path for kind in ("unit", "contract") for path in (folder / "tests" / kind).rglob("test_*.py")):
        text = path.read_text()
        whole = {*re.findall(r"pytest\.mark\.(\w+)", "".join(re.findall(r"^pytestmark = .*$", text, re.MULTILINE)))}
        needed = f"pytest.mark.{extra}" in text if extra else path.name not in OF_THE_REPOSITORY
        if needed and not whole & {*EXTRAS} - {extra}:
            found.append(path)
    assert found, f"no test module bears the marker {extra}"
    return found


def run_tests(folder: Path, wheel: Path, copy: Path, extra: str | None, servers: dict[str, str]) -> str:
    """Run the tests of an extra, or of none, in an environment that has no other; what pytest prints."""
    package = f"airflow-provider-flowstone{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}"
    python = make_environment(folder / "venv", package, *TEST_LIBRARIES)
    others = " or ".join(other for other in EXTRAS if other != extra)
    words = ["-x", "-q", "-p", "no:cacheprovider", "-m", f"{extra} and not ({others})" if extra else f"not ({others})"]
    # No test selected, or one that cannot be imported, is a failure of pytest's.
    return run(python, "-m", "pytest", *words, *modules(copy, extra), cwd=copy, **servers)


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory, wheel, copy):
    """The runs of all extras that are asked for, two at a time."""
    asked = [item.callspec.params["extra"] for item in request.session.items if item.module is request.module]
    with ThreadPoolExecutor(2) as pool:
        started = {}
        for extra in asked:
            servers = {name: request.getfixturevalue(fixture) for name, fixture in SERVERS.get(extra, {}).items()}
            folder = tmp_path_factory.mktemp(extra or "core")
            started[extra] = pool.submit(run_tests, folder, wheel, copy, extra, servers)
        yield started


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_an_extra_alone_runs_its_tests(runs, extra):
    printed = runs[extra].result()
    passed = int(re.search(r"(\d+) passed", printed)[1])
    assert passed > (500 if extra is None else 0)
    assert "skipped" not in printed
