"""The ``postgres`` reader over time: tables that change, kills at any page, splits, the server's plans, memory."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.readers import _postgres_pages
from flowstone_provider.registry import create_reader
from tests.support.postgres import Drivers, items, reader
from tests.support.scatters import Scatter

pytestmark = pytest.mark.postgres


@pytest.fixture
def server(url):
    return Drivers(url)


@pytest.fixture
def numbers(run):
    """A table of 5,000 rows with an index."""
    run("DROP TABLE IF EXISTS numbers")
    run("CREATE TABLE numbers AS SELECT n AS id, n % 50 AS kind FROM generate_series(1, 5000) n")
    run("CREATE INDEX ON numbers (id); CREATE INDEX ON numbers (kind, id)")
    run("VACUUM ANALYZE numbers")
    return "SELECT * FROM numbers"


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(_postgres_pages, "PAGE_ITEMS", 10)


# Changes


def test_a_reading_sees_one_snapshot_also_when_it_asks_anew_for_a_long_tie(server, run, small_pages):
    run("DROP TABLE IF EXISTS ties; CREATE TABLE ties AS SELECT n / 100 AS day, n AS id FROM generate_series(0, 499) n")
    pages = reader(server, "SELECT * FROM ties", "day").pages()
    found = list(next(pages).items)
    run("DELETE FROM ties WHERE id % 2 = 0; INSERT INTO ties SELECT n / 100, n FROM generate_series(1000, 1099) n")
    found += [item for page in pages for item in page.items]
    assert sorted(item["id"] for item in found) == list(range(500))
    assert len(server.streamed()) == 2
    assert len(items(server, "SELECT * FROM ties", "day")) == 350


def test_a_reading_that_goes_on_sees_what_is_behind_the_checkpoint_by_then(server, run, numbers, small_pages):
    pages = reader(server, numbers).pages()
    checkpoint = [next(pages) for _ in range(5)][-1].checkpoint
    last = int(checkpoint["key"][0])
    run("INSERT INTO numbers VALUES (0, 0), (100000, 0)")
    run("DELETE FROM numbers WHERE id IN (1, %s, 4999)", [last])
    rest = [item["id"] for item in items(server, numbers, after=checkpoint)]
    assert rest == [*range(last + 1, 4999), 5000, 100000]


def test_a_tie_that_shrinks_loses_no_other_row(server, run, small_pages):
    run("DROP TABLE IF EXISTS same; CREATE TABLE same AS SELECT 1 AS day, 'x' AS text FROM generate_series(1, 200) n")
    run("INSERT INTO same SELECT 1, n::text FROM generate_series(1, 200) n")
    pages = list(reader(server, "SELECT * FROM same", "day").pages())
    within = next(page for page in pages if page.checkpoint.get("done", 0) > 15)
    seen = [item for page in pages[: pages.index(within) + 1] for item in page.items]
    run("DELETE FROM same WHERE ctid IN (SELECT ctid FROM same WHERE text = 'x' LIMIT 195)")
    rest = items(server, "SELECT * FROM same", "day", after=within.checkpoint)
    assert {item["text"] for item in seen + rest} == {"x", *map(str, range(1, 201))}
    assert not {item["text"] for item in seen if item["text"] != "x"} & {item["text"] for item in rest}


# The server's plans


def explained(run, statement):
    return "\n".join(row[0] for row in run(f"EXPLAIN {statement}").fetchall())


@pytest.mark.parametrize("cursor", ["id", ["kind", "id"]])
def test_a_reading_that_goes_on_begins_in_the_index(server, run, numbers, small_pages, cursor):
    (key,) = run("SELECT array[id, kind]::text[] FROM numbers WHERE kind = 48 ORDER BY id DESC LIMIT 1").fetchone()
    after = {"key": key[:1] if cursor == "id" else key[::-1], "taken": 1}
    items(server, numbers, cursor, after=after)
    for statement in server.streamed():
        plan = explained(run, statement)
        assert "Index Cond" in plan, plan
        assert "Seq Scan" not in plan, plan


def test_a_split_finds_its_range_in_the_index(server, run, numbers):
    for cursor in ("id", ["kind", "id"]):
        for spec in reader(server, numbers, cursor).splits(10)[1:-1]:
            server.statements.clear()
            items(server, **spec.options)
            (statement,) = server.streamed()
            plan = explained(run, statement)
            assert "Index Cond" in plan, plan
            assert "Seq Scan" not in plan, plan


# Splits


def test_splits_are_even_and_ties_whole(server, run, numbers):
    sizes = [len(items(server, **spec.options)) for spec in reader(server, numbers).splits(7)]
    assert len(sizes) == 7
    assert sum(sizes) == 5_000
    assert max(sizes) - min(sizes) <= 7
    kinds = [
        {item["kind"] for item in items(server, **spec.options)} for spec in reader(server, numbers, "kind").splits(7)
    ]
    assert len(kinds) == 7
    assert sum(map(len, kinds)) == 50


def test_few_values_make_few_splits(server, run):
    run("DROP TABLE IF EXISTS few; CREATE TABLE few AS SELECT n / 900 AS kind FROM generate_series(0, 999) n")
    assert len(reader(server, "SELECT * FROM few", "kind").splits(10)) == 2
    assert reader(server, "SELECT * FROM few WHERE kind = 0", "kind").splits(10) is None


def test_the_plan_of_a_scatter_over_splits_moves_no_row(tmp_path, server, run, numbers):
    scatter = Scatter(
        tmp_path, ReaderSpec(reader="postgres", options={"query": numbers, "cursor": "id"}), early_stop=False
    )
    scatter.resources = server
    plan = scatter.plan()
    assert len(plan.batches) == 100
    assert all(batch.reader is not None for batch in plan.batches)
    assert server.streamed() == []
    # The columns of the query, their types, the count, and the borders of the splits.
    assert server.rows <= 2 + 1 + 100

    def fails_once(item):
        if item["id"] == 7 and not (tmp_path / "again").exists():
            raise ValueError("not now")
        return item["id"]

    assert scatter.run(fails_once, 0).failed == 1
    # A later try of the batch has the items of the first, whatever became of the table.
    run("DELETE FROM numbers WHERE id <= 20; INSERT INTO numbers VALUES (3, 0)")
    (tmp_path / "again").touch()
    rows = server.rows
    again = scatter.run(fails_once, 0)
    assert (again.succeeded, again.failed) == (50, 0)
    assert server.rows == rows
    for batch in plan.batches[1:]:
        scatter.run(fails_once, batch.number)
    assert scatter.gather()["counts"]["succeeded"] == 5_000


# Kills and splits, whatever the values are

CELLS = {
    "int": st.integers(0, 3),
    "numeric": st.sampled_from(["0", "0.0", "-1.50", "NaN", "Infinity"]),
    "float8": st.sampled_from([0.0, -0.0, 1.5, "NaN", "-Infinity"]),
    "text": st.sampled_from(["", "a", "A", "\\", "'", "\n", "\x01", "%s", "é"]),
    "timestamptz": st.sampled_from(["2024-01-01 00:00:00.000001Z", "2024-01-01 02:00:00.000001+02", "infinity"]),
    "bytea": st.sampled_from([b"", b"\x00", b"\xff"]),
    "bool": st.booleans(),
}


@st.composite
def tables(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=3))
    row = st.tuples(*[st.none() | CELLS[kind] for kind in kinds], st.integers(0, 2))
    return kinds, draw(st.lists(row, max_size=60))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), page=st.integers(1, 4), seed=st.integers(0, 1000), at_most=st.integers(2, 9))
def test_kills_and_splits_lose_and_repeat_no_row(server, run, monkeypatch, table, page, seed, at_most):
    monkeypatch.setattr(_postgres_pages, "PAGE_ITEMS", page)
    kinds, rows = table
    names = [f"c{number}" for number in range(len(kinds))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
    run(f"DROP TABLE IF EXISTS cells; CREATE TABLE cells ({columns}, rest int)")
    for row in rows:
        run(f"INSERT INTO cells VALUES ({', '.join(['%s'] * len(row))})", row)
    query = "SELECT * FROM cells"
    whole = items(server, query, names)
    in_order = run(f"SELECT rank() OVER (ORDER BY {', '.join(names)}), rest FROM cells ORDER BY 1, 2").fetchall()
    assert len(whole) == len(rows)
    assert sorted(item["rest"] for item in whole) == sorted(rest for _, rest in in_order)

    found, checkpoint, chance = [], None, random.Random(seed)
    while True:
        pages = reader(server, query, names).pages(checkpoint)
        some = [page for _, page in zip(range(chance.randint(1, 3)), pages, strict=False)]
        if not some:
            break
        found += [item for page in some for item in page.items]
        checkpoint = json.loads(json.dumps(some[-1].checkpoint))
    assert found == whole

    specs = reader(server, query, names).splits(at_most)
    if specs is not None:
        assert len(specs) <= at_most
        parts = [create_reader(spec, server) for spec in specs]
        assert [item for part in parts for page in part.pages() for item in page.items] == whole
        assert sum(part.count() for part in parts) == len(rows)


# Memory


@pytest.mark.parametrize(
    ("query", "cursor", "rows"),
    [
        ("SELECT n AS id, 'user ' || n AS name FROM generate_series(1, 300000) n", "id", 300_000),
        ("SELECT 1 AS same, n FROM generate_series(1, 100000) n", "same", 100_000),
        ("SELECT n AS id, repeat('x', 100000) AS text FROM generate_series(1, 1000) n", "id", 1_000),
    ],
    ids=["many rows", "one tie", "long rows"],
)
def test_memory_is_bounded(url, driver, query, cursor, rows):
    pages = reader(Drivers(url, driver), query, cursor).pages()
    found = len(next(pages).items)
    tracemalloc.start()
    try:
        for page in pages:
            found += len(page.items)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == rows
    assert peak < 32 << 20
