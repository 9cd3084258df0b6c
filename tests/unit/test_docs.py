"""The documentation says what the code does: code blocks run, tables name every option, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

import flowstone_provider
from flowstone_provider import telemetry
from flowstone_provider.provider_info import get_provider_info

ROOT = Path(flowstone_provider.__file__).parents[1]
DOCS = ROOT / "docs"
# Packages of their own, with their own tests: tests/integration/test_install.py runs them.
EXAMPLES = {"flowstone_reader_http": "HttpOptions", "flowstone_io_sqlite": "SqliteOptions"}
PAGES = sorted(
    [*(page for page in DOCS.rglob("*.md") if not {"_build", "examples"} & {*page.parts}), *ROOT.glob("*.md")]
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(page: Path) -> str:
    """The Python blocks of a page: they are one module, so that a later block may use what an earlier one defines."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))


def module_of(page: Path, folder: Path) -> ModuleType:
    path = folder / f"test_docs_{page.stem}.py"
    path.write_text(code_of(page))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row_of(text: str, name: str) -> str:
    rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    assert rows, f"no table has a row for `{name}`"
    return "\n".join(rows)


@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=named)
def test_code_blocks_run(page, tmp_path):
    module_of(page, tmp_path)


def test_the_batching_function_of_the_docs_works(tmp_path):
    from flowstone_provider import Batching
    from tests.support.scatters import Scatter

    module = module_of(DOCS / "howto" / "batching.md", tmp_path)
    days = [{"at": f"2013-01-0{day}T00:00:00"} for day in (1, 1, 2, 3, 3)]
    scatter = Scatter(tmp_path / "ledger", days, batching=Batching(function=module.by_day))
    assert [len(batch) for batch in scatter.batches()] == [2, 1, 2]


def test_the_configuration_is_documented():
    text = (DOCS / "reference" / "configuration.md").read_text()
    options = get_provider_info()["config"]["flowstone"]["options"]
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert documented == list(options)
    for name, option in options.items():
        row = row_of(text, name)
        assert f"`{option['example']}`" in row
        assert f"| {option['version_added']} |" in row
        assert option["default"] is None or f"| `{option['default']}` |" in row


def test_the_catalogue_is_documented():
    text = (DOCS / "reference" / "telemetry.md").read_text()
    for name, event in telemetry.EVENTS.items():
        assert f"`{name}`" in text
        row = next(line for line in text.splitlines() if f"`{name}`" in line)
        assert all(f"`{field}`" in row for field in (*event.measurements, *event.metadata))


def readers() -> dict[str, type]:
    points = entry_points(group="flowstone.readers")
    return {point.name: point.load() for point in points if point.value.startswith("flowstone_provider.")}


@pytest.mark.parametrize("name", sorted(readers()))
def test_every_option_of_a_reader_is_documented(name):
    options = readers()[name].options
    text = (DOCS / "howto" / "readers.md").read_text()
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"no section for {name}"
    common = "".join(re.findall(r"^## Options of all.*?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    for option in options.model_fields:
        row_of(section[1] + common, option)
    documented = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
    assert set(documented) <= options.model_fields.keys()
    assert f"`{name}`" in text.partition("## Options of all")[0], "the table to choose from has a row for it"
    reference = (DOCS / "reference" / "readers.md").read_text()
    assert f"{options.__module__}.{options.__name__}" in reference


def io_managers() -> dict[str, type]:
    points = entry_points(group="flowstone.io_managers")
    return {point.name: point.load() for point in points if point.value.startswith("flowstone_provider.")}


@pytest.mark.parametrize("name", sorted(io_managers()))
def test_every_option_of_an_io_manager_is_documented(name):
    manager = io_managers()[name]
    options = manager.options.model_fields
    text = (DOCS / "reference" / "io-managers.md").read_text()
    assert f"| `{manager.conn_type}` |" in row_of(text, name)
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"no section for {name}"
    assert re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE) == list(options)
    for option, field in options.items():
        assert field.is_required() or not field.default or f"| `{field.default}` |" in row_of(section[1], option)
    assert f".{manager.__name__}\n" in section[1]
    assert f"| `{name}`" in (DOCS / "howto" / "assets.md").read_text(), "the table to choose from has a row for it"


def folder_of(example: str) -> Path:
    return DOCS / "examples" / example.replace("_", "-")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_options_of_an_example_are_in_its_readme(example):
    spec = importlib.util.spec_from_file_location(example, folder_of(example) / f"{example}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = getattr(module, EXAMPLES[example]).model_fields
    text = (folder_of(example) / "README.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(options)
    for name, field in options.items():
        assert field.is_required() or field.default is None or f"| `{field.default}` |" in row_of(text, name)


def commands_of(group, words=""):
    """The commands of a group with those of its groups, and the words before them."""
    for command in group.subcommands:
        if hasattr(command, "subcommands"):
            yield from commands_of(command, f"{words}{command.name} ")
        else:
            yield f"{words}{command.name}", command


def test_every_command_is_documented():
    from flowstone_provider.cli import get_commands

    text = (DOCS / "reference" / "cli.md").read_text()
    (group,) = get_commands()
    commands = dict(commands_of(group))
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(commands)
    for name, command in commands.items():
        usage = re.search(rf"^    airflow flowstone {name} (.*\n(?:     .*\n)*)", text, re.MULTILINE)[1]
        for arg in command.args:
            flag = arg.flags[0]
            assert (flag if flag.startswith("-") else flag.upper()) in usage, name


def test_the_converted_state_machine_of_the_docs():
    from flowstone_provider.asl import convert

    page = DOCS / "migration" / "step-functions.md"
    text = page.read_text()
    done = convert(re.search(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1], "accept_order")
    assert code_of(page) == done.source
    assert "\n".join(["```text", *done.report.lines(), "```"]) in text


def test_every_field_of_a_state_machine_is_in_the_guide():
    from flowstone_provider.asl import model

    text = (DOCS / "migration" / "step-functions.md").read_text()
    kinds = [kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, model.Fields)]
    fields = {field.alias for kind in kinds for field in kind.model_fields.values()}
    known = {"Type", "StartAt", "States", "Version"}  # what a state machine is written in, and is nothing by itself
    assert sorted(name for name in fields - known if f"`{name}`" not in text) == []


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_within_the_repository_lead_somewhere(page):
    prose = re.sub(r"^```(?!\{).*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors_of(linked), f"{target}: no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if "literalinclude" in page.read_text()], ids=named)
def test_included_regions_exist(page):
    blocks = re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    for path, options in blocks:
        included = (page.parent / path).read_text()
        for mark in re.findall(r'"(# \[(?:START|END) \w+\])"', options):
            assert included.count(mark) == 1, f"{mark} in {path}"


def test_every_region_of_the_examples_is_included():
    included = "".join(page.read_text() for page in PAGES)
    for path in [*(ROOT / "dags").glob("*.py"), *(DOCS / "examples").rglob("*.py")]:
        for mark in re.findall(r"# \[START \w+\]", path.read_text()):
            assert f'/{path.name}\n:language: python\n:start-after: "{mark}"' in included, f"{mark} in {path.name}"


def test_every_page_is_in_the_table_of_contents():
    index = "".join(page.read_text() for page in (DOCS / "index.md", DOCS / "adr" / "index.md"))
    for page in PAGES:
        if page.is_relative_to(DOCS) and page.stem != "index":
            name = page.stem if page.parent.name == "adr" else str(page.relative_to(DOCS).with_suffix(""))
            assert f"\n{name}\n" in index, page


def test_decisions_are_numbered_and_have_the_same_parts():
    pages = sorted(page for page in (DOCS / "adr").glob("*.md") if page.stem != "index")
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        headings = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
        assert headings == ["Status", "Context", "Decision", "Consequences"], page


def test_the_readme_names_the_versions_that_are_supported():
    readme = (ROOT / "README.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    airflow = re.search(r'"apache-airflow>=([\d.]+)"', project)[1]
    pythons = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    assert f"| {airflow} and newer" in readme
    assert all(version in readme for version in pythons)
    extras = re.search(r"\[project\.optional-dependencies\]\n(.*?)\n\n", project, re.DOTALL)[1]
    for extra in re.findall(r"^(\w+) =", extras, re.MULTILINE):
        assert f"`{extra}`" in readme
