"""Storing and loading a table through the IO manager ``postgres``, against ADBC alone.

The store makes a new partition of an asset that has others, against an ingest into a fresh table; the load of the
partition is against a fetch of that table. They take turns, which begins alternates, on one server that does without
durability. All connect anew each time, as tasks do; a server's types are read once by each. Also shown: the store of a
partition that is there already, ``pandas.to_sql`` (of a tenth of the rows, times ten), and COPY of psycopg row by row.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from _bench import MILLION, ROOT, Finding, main
from _tables import observations

sys.path.insert(0, str(ROOT))  # the server of the tests

ROUNDS = 5


def in_turns(*runs: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> list[float]:
    """Seconds of each, over all rounds, without those of what comes before each; all are warmed up first."""
    seconds = [0.0] * len(runs)
    for number in range(-1, ROUNDS):
        order = range(len(runs))
        for index in order if number % 2 else reversed(order):
            before()
            began = time.perf_counter()
            runs[index]()
            if number >= 0:
                seconds[index] += time.perf_counter() - began
    return seconds


class Peers:
    """What others do.

    Args:
        url: The database.
        table: What to store.
    """

    def __init__(self, url: str, table: Any) -> None:
        self.url = url
        self.table = table

    def ingest(self) -> None:
        """ADBC into a fresh table."""
        from adbc_driver_postgresql import dbapi

        with closing(dbapi.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("bare", self.table, mode="create")
            connection.commit()

    def fetch(self) -> Any:
        """ADBC from that table."""
        from adbc_driver_postgresql import dbapi

        with closing(dbapi.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM bare")
            return cursor.fetch_arrow_table()

    def pandas(self) -> None:
        """``pandas.to_sql`` into a fresh table, with its own choice of statements."""
        import sqlalchemy

        frame = self.table.slice(0, len(self.table) // 10).to_pandas()
        engine = sqlalchemy.create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        frame.to_sql("pandas", engine, if_exists="replace", index=False, chunksize=10_000)
        engine.dispose()

    def rows(self) -> None:
        """COPY of psycopg, row by row."""
        import psycopg

        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE by_row (LIKE bare)")
            with cursor.copy("COPY by_row FROM STDIN") as copy:
                for row in zip(*(column.to_pylist() for column in self.table.columns), strict=True):
                    copy.write_row(row)


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    from flowstone_provider.contracts.io_manager import AssetKey
    from flowstone_provider.hooks.postgres import PostgresIOManager
    from tests.services.postgres import execute, running_postgres
    from tests.support.postgres import airflow_connection

    logging.disable(logging.INFO)
    table = observations(options.rows)
    with running_postgres() as url:
        os.environ["AIRFLOW_CONN_BENCHMARK"] = airflow_connection(url)
        manager, peers = PostgresIOManager(conn_id="benchmark"), Peers(url, table)
        kept, new = AssetKey("observations", "2026-01"), AssetKey("observations", "2026-02")
        manager.store(kept, table)
        if not manager.load(kept).equals(table):
            raise RuntimeError("another table came back")

        def remove() -> None:
            manager.delete(new)
            execute(url, "DROP TABLE IF EXISTS bare")

        theirs, ours = in_turns(peers.ingest, lambda: manager.store(new, table), before=remove)
        remove()
        peers.ingest()
        manager.store(new, table)
        replaced, pandas, rows = (_once(run) for run in (lambda: manager.store(new, table), peers.pandas, peers.rows))
        others = {"replace": replaced, "pandas_to_sql": pandas * 10, "rowwise_copy": rows}
        yield _finding("store", theirs, ours, options.rows, others)
        theirs, ours = in_turns(peers.fetch, lambda: manager.load(new))
        yield _finding("load", theirs, ours, options.rows, {})


def _once(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _finding(what: str, theirs: float, ours: float, rows: int, others: dict[str, float]) -> Finding:
    return Finding(
        f"{what} through postgres: rate against ADBC alone, {rows:,} rows of six columns",
        theirs / ours,
        0.8 if what == "store" else 0.9,
        "×",
        at_least=True,
        details={
            "adbc_seconds": theirs / ROUNDS,
            "postgres_seconds": ours / ROUNDS,
            **{f"{name}_seconds": seconds for name, seconds in others.items()},
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, rows=MILLION)
