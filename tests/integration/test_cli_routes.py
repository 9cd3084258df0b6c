"""``airflow flowstone routes …``, as typed, and what `clean` makes of decisions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.decisions import LedgerDecisions
from flowstone_provider.hooks.storage import storage as storage_folder
from flowstone_provider.registry import create_io_manager
from flowstone_provider.testing.routing import DECISION
from tests.integration.test_cli import airflow, scatter_in, storage  # noqa: F401  (fixtures)

RUN = "manual__2026-01-01T00:00:00+00:00"
MAPPED = [replace(DECISION, id=str(n), router="each.route", map_index=n, selected=None) for n in (0, 1)]


@pytest.fixture
def routes(airflow):  # noqa: F811
    """Run a command of the group, where three decisions are; gives what it prints."""
    for decision in (DECISION, *MAPPED, replace(DECISION, run_id="later", id="later")):
        LedgerDecisions(storage_folder()).decide(decision)
    return lambda *words, **how: airflow("routes", *words, **how)


def test_list_says_what_was_decided(routes):
    head, *lines = routes("list", "a dag").splitlines()
    assert head.split() == ["run_id", "router", "map_index", "selected", "decided_at"]
    at = "2026-01-01T00:00:00+00:00"
    assert [line.split() for line in lines] == [
        ["later", "group.route", "small", at],
        [RUN, "each.route", "0", "(none)", at],
        [RUN, "each.route", "1", "(none)", at],
        [RUN, "group.route", "small", at],
    ]
    assert len(routes("list", "a dag", RUN).splitlines()) == 4
    found = json.loads(routes("list", "a dag", "later", "-o", "json"))
    assert [(each["id"], each["available"], each["map_index"]) for each in found] == [("later", ["large", "small"], -1)]
    assert routes("list", "a dag", "never") == "a dag has no decision in run never\n"
    assert json.loads(routes("list", "another", "-o", "json")) == []


def test_show_says_all_of_one(routes):
    out = routes("show", "a dag", RUN, "group.route").splitlines()
    assert "selected    small" in out
    assert "available   large, small" in out
    assert "partition   eu|2026-01-01" in out
    assert not any(line.startswith(("map_index", "error")) for line in out)
    assert "map_index   0" in routes("show", "a dag", RUN, "each.route", "--map-index", "0").splitlines()
    assert "selected    (none)" in routes("show", "a dag", RUN, "each.route", "--map-index", "1").splitlines()
    shown = json.loads(routes("show", "a dag", RUN, "group.route", "-o", "json"))
    assert (shown["id"], shown["map_index"], shown["error"]) == ("one", -1, None)


def test_what_is_not_there_or_not_clear_is_said(routes):
    assert "give --map-index one of 0, 1" in routes("show", "a dag", RUN, "each.route", code=1)
    refused = routes("show", "a dag", RUN, "groop.route", code=1)
    assert f"a dag has no decision of groop.route in run {RUN}; did you mean 'group.route'?" in refused
    assert "no decision of each.route[7]" in routes("forget", "a dag", RUN, "each.route", "--map-index", "7", code=1)
    assert "no decision of route in run never" in routes("forget", "a dag", "never", "route", code=1)


def test_forget_makes_room_for_another_decision(routes):
    assert routes("forget", "a dag", RUN, "each.route", "--map-index", "0") == (
        "forgot 1 of each.route: clear it, with downstream, and it decides anew\n"
    )
    assert [each["id"] for each in json.loads(routes("list", "a dag", RUN, "-o", "json"))] == ["1", "one"]
    LedgerDecisions(storage_folder()).decide(MAPPED[0])
    assert routes("forget", "a dag", RUN, "each.route").startswith("forgot 2 of")
    assert [each["id"] for each in json.loads(routes("list", "a dag", "-o", "json"))] == ["later", "one"]


def test_a_decision_that_cannot_be_read_can_be_forgotten(routes, storage):  # noqa: F811
    (path,) = storage.glob("*/later/~routes/*/-1.json")
    path.write_text("{")
    assert "is damaged" in routes("list", "a dag", code=1)
    assert routes("forget", "a dag", "later", "group.route", "--map-index", "-1").startswith("forgot 1")
    assert routes("list", "a dag", "later") == "a dag has no decision in run later\n"


def age(folder, days):
    old = (datetime.now(timezone.utc) - timedelta(days=days)).timestamp()
    for path in folder.rglob("*"):
        os.utime(path, (old, old))


def test_clean_removes_old_decisions(airflow, routes, storage):  # noqa: F811
    assert airflow("clean", "--older-than", "1d", "-y") == "0 folders\n"
    age(storage, 40)
    LedgerDecisions(storage_folder()).decide(replace(DECISION, run_id="new"))
    assert "removed 2 folders" in airflow("clean", "--older-than", "30d", "-y")
    assert [each["run_id"] for each in json.loads(routes("list", "a dag", "-o", "json"))] == ["new"]


def test_clean_of_a_run_takes_its_decisions_along_and_status_leaves_them_out(airflow, storage):  # noqa: F811
    scatter = scatter_in(storage)
    LedgerDecisions(storage_folder()).decide(replace(DECISION, dag_id="dag", run_id="run"))
    assert list(json.loads(airflow("status", "dag", "run", "-o", "json"))) == ["scatter"]
    assert "removed 2 folders" in airflow("clean", "--dag-id", "dag", "--run-id", "run", "-y")
    assert not scatter.folder.exists()
    assert list(storage.rglob("*")) == []


def test_clean_leaves_assets_alone(airflow, storage):  # noqa: F811
    """Those of the IO manager ``file`` lie in the folder ``assets`` of the storage."""
    manager = create_io_manager("file")
    for name in ("a/b/c", "a/b/plan"):
        manager.store(AssetKey(name), {"n": 1})
    manager.store(AssetKey("flights/daily", "2026-01-01"), {"n": 1})
    age(storage, 40)
    assert airflow("clean", "--older-than", "30d", "-y") == "0 folders\n"
    assert manager.load(AssetKey("flights/daily", "2026-01-01")) == {"n": 1}
