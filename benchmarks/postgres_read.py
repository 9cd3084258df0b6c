"""A million PostgreSQL rows into items, against a server-side cursor of psycopg that gives the rows as dicts.

Both read the same rows in the same order, and take turns. What our reader gives is ready to be written as JSON. The
details have also what the plan of a scatter over splits costs, which moves no row.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _bench import MILLION, ROOT, Finding, main, scratch

sys.path.insert(0, str(ROOT))  # the server of the tests

ROUNDS = 5

# Rows that the peer asks for at once; 100 by default, which takes longer.
ITERSIZE = 2_000

QUERY = "SELECT * FROM measurements"


def fill(url: str, rows: int) -> None:
    """A table of six columns: the primary key, a text, a float, a numeric, a time, a boolean."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"""
            CREATE TABLE measurements AS
            SELECT i::bigint AS id, 'station ' || i AS name, (i * 1.25)::float8 AS value,
                   (i % 100)::numeric(10, 2) AS price, i % 2 = 0 AS valid,
                   timestamp '2020-01-01' + i * interval '1 second' AS at
            FROM generate_series(1, {rows}) i
            """
        )
        connection.execute("ALTER TABLE measurements ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE measurements")


def peer(url: str) -> int:
    """The rows as dicts, from a server-side cursor."""
    import psycopg
    from psycopg.rows import dict_row

    count = 0
    with psycopg.connect(url) as connection, connection.cursor("peer", row_factory=dict_row) as cursor:
        cursor.itersize = ITERSIZE
        cursor.execute(f"{QUERY} ORDER BY id")
        for _ in cursor:
            count += 1
    return count


def ours(resources: Any) -> int:
    """The rows as items."""
    from flowstone_provider.readers.postgres import PostgresOptions, PostgresReader

    reader = PostgresReader(PostgresOptions(query=QUERY, cursor="id"), resources)
    return sum(len(page.items) for page in reader.pages())


def plan(resources: Any, folder: Path) -> dict[str, Any]:
    """Plan a scatter over the rows."""
    from upath import UPath

    from flowstone_provider import registry
    from flowstone_provider.contracts.item_reader import ReaderSpec
    from flowstone_provider.contracts.scatter import Barrier
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.options import ScatterOptions
    from flowstone_provider.scatter.planner import make_plan

    ledger = LedgerCoordinator(UPath(folder))
    progress = ledger.open(Barrier("benchmark", "run", "postgres"))
    reader = registry.create_reader(ReaderSpec(reader="postgres", options={"query": QUERY, "cursor": "id"}), resources)
    began = time.perf_counter()
    made = make_plan(reader, ScatterOptions(), ledger, progress, limit=1024, resources=resources)
    seconds = time.perf_counter() - began
    if any(batch.reader is None for batch in made.batches) or resources.streamed():
        raise RuntimeError("the plan read rows")
    return {"plan_seconds": seconds, "plan_batches": len(made.batches), "plan_rows_fetched": resources.rows}


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    from tests.services.postgres import running_postgres
    from tests.support.postgres import Drivers
    from tests.support.resources import ServiceResources

    with running_postgres() as url, scratch() as folder:
        fill(url, options.items)
        planned = plan(Drivers(url), folder)
        runs = [lambda: peer(url), lambda: ours(ServiceResources(postgres=url))]
        seconds = [0.0, 0.0]
        for number in range(ROUNDS):
            for which in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                if runs[which]() != options.items:
                    raise RuntimeError("rows are missing")
                seconds[which] += time.perf_counter() - began
        rates = [ROUNDS * options.items / total for total in seconds]
        yield Finding(
            f"reading {options.items:,} PostgreSQL rows into items, against psycopg's server-side cursor",
            rates[1] / rates[0],
            0.9,
            "×",
            at_least=True,
            details={"rows_per_s": rates[1], "psycopg_rows_per_s": rates[0], **planned},
        )


if __name__ == "__main__":
    main(measure, __doc__, items=MILLION)
