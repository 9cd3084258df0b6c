"""The tables of the IO manager ``postgres``.

::

    flowstone_assets                  the receipts, and the JSON values
    "flights/enriched"                one table for each asset: all its partitions, the column "_partition" among them
    "flights/enriched|2026-01-15"     a partition of that table, as PostgreSQL means the word

Each partition of an asset is a partition of its table, so that it needs no index, is found without looking at the
others, and is stored as quickly as a table of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import AssetError
from flowstone_provider.hooks._postgres_connection import Transaction
from flowstone_provider.hooks._postgres_types import quote_name, quote_text

RECEIPTS = "flowstone_assets"
PARTITION = "_partition"

# PostgreSQL cuts a longer identifier (NAMEDATALEN - 1 bytes).
_LONGEST_NAME = 63

# Columns that every table of PostgreSQL has, and ours.
_TAKEN = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", PARTITION}

# How long a change of a table waits for those who read it; whoever wants to read it then has to wait as well.
_PATIENCE = "10s"

_MARK = "FlowStone asset "

_MAKE_RECEIPTS = """
    CREATE TABLE IF NOT EXISTS {table} (
        asset text COLLATE "C" NOT NULL,
        partition text COLLATE "C" NOT NULL,
        kind text NOT NULL,
        value jsonb,
        table_name text,
        columns jsonb,
        arrow_schema text,
        schema jsonb,
        rows bigint,
        bytes bigint NOT NULL,
        checksum text NOT NULL,
        stored_at text NOT NULL,
        PRIMARY KEY (asset, partition)
    )"""

_COLUMNS = """
    SELECT CAST(c.relname AS text), CAST(a.attname AS text), format_type(a.atttypid, a.atttypmod)
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname = {} AND c.relname IN ({}, {})"""

_COMMENT_OF = """
    SELECT obj_description(c.oid, 'pg_class')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {} AND c.relname = {}"""

# The tables of assets, with each of their partitions.
_TABLES = """
    SELECT CAST(p.relname AS text), CAST(c.relname AS text), coalesce(pg_total_relation_size(c.oid), 0)
    FROM pg_catalog.pg_class p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    LEFT JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid
    LEFT JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE starts_with(obj_description(p.oid, 'pg_class'), {}) AND n.nspname = {}"""

_CHILDREN = "SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass({}) LIMIT 1"


def identifier(name: str) -> str:
    """A name as one that PostgreSQL keeps as it is: a long one is cut and ends in a hash."""
    data = name.encode("utf-8", "surrogatepass")
    if data and len(data) <= _LONGEST_NAME and b"\0" not in data and name not in _TAKEN:
        return name
    digest = hashlib.sha256(data).hexdigest()[:16]
    kept = data.replace(b"\0", b"")[: _LONGEST_NAME - 17].decode("utf-8", "ignore")
    return f"{kept}~{digest}"


def table_of(asset: str) -> str:
    """The table of an asset."""
    # The table of receipts and its index have names that an asset may have.
    return identifier(f"asset~{asset}" if asset.startswith(RECEIPTS) else asset)


def child_of(key: AssetKey) -> str:
    """The partition of an asset's table that keeps the value of a key; no asset has such a name."""
    return identifier(f"{table_of(key.asset)}|{key.text or ''}")


def chosen_columns(names: list[str], types: list[str], there: Mapping[str, str]) -> list[str]:
    """The columns of a table that take those of a value.

    A column whose name is taken by one of another type, because the schema of the asset has changed, has its type in
    its name.

    Args:
        names: Of the value's columns.
        types: Of the value's columns, in SQL.
        there: Column -> type of the table, as far as there is one.
    """
    chosen: dict[str, str] = {}
    for name, sql in zip(names, types, strict=True):
        column = identifier(name)
        while there.get(column, sql) != sql or column in chosen:
            column = identifier(f"{column}~{sql}")
        chosen[column] = sql
    return list(chosen)


class Tables:
    """The tables in one schema.

    Args:
        schema: Its name.
    """

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.receipts = self.quoted(RECEIPTS)

    def quoted(self, table: str) -> str:
        """The table as SQL has it."""
        return f"{quote_name(self.schema)}.{quote_name(table)}"

    def of_key(self, key: AssetKey) -> str:
        """The receipt of a key, as what follows FROM in a statement."""
        return f"{self.receipts} WHERE asset = {quote_text(key.asset)} AND partition = {quote_text(key.text or '')}"

    def lock(self, transaction: Transaction, key: AssetKey) -> None:
        """Let no other writer change the value of a key in this transaction."""
        transaction.lock(f"{self.schema}.{child_of(key)}")

    def columns(self, transaction: Transaction, table: str) -> tuple[bool, dict[str, str]]:
        """Whether there is the table of receipts; and column -> type of a table, none when there is no such table."""
        found: dict[str, dict[str, str]] = {RECEIPTS: {}, table: {}}
        for relation, column, sql in _asked(transaction, _COLUMNS, self.schema, RECEIPTS, table):
            found[relation][column] = sql
        return bool(found[RECEIPTS]), found[table]

    def clear(self, transaction: Transaction, key: AssetKey) -> None:
        """Delete the rows of a key, which has a table."""
        # Who writes to a partition looks at the table, too. Who changes the table locks it before its partitions, and
        # two who lock the same in another order wait for one another.
        transaction.execute(f"LOCK TABLE ONLY {self.quoted(table_of(key.asset))} IN ACCESS SHARE MODE")
        transaction.execute(f"DELETE FROM {self.quoted(child_of(key))}")  # noqa: S608

    def make(self, transaction: Transaction, key: AssetKey, names: list[str], types: list[str]) -> None:
        """Make what a store needs: the table of receipts, the asset's table with the columns, and its partition.

        It is a transaction before that of the store, which is then in nobody's way. When it is all that happens, an
        empty table is left, which no receipt names.

        Args:
            transaction: It holds locks that others wait for: it must not last.
            key: What is to be stored.
            names: Of the value's columns; none of a JSON value.
            types: Of the value's columns, in SQL.

        Raises:
            AssetError: A table of the asset's name is not ours.
        """
        self._alone(transaction)
        transaction.execute(_MAKE_RECEIPTS.format(table=self.receipts))
        if not names:
            return
        name = table_of(key.asset)
        table, there = self.quoted(name), self._of_asset(transaction, key.asset)
        columns = zip(chosen_columns(names, types, there), types, strict=True)
        definitions = [f"{quote_name(column)} {sql}" for column, sql in columns if column not in there]
        if not there:
            definitions.append(f'{quote_name(PARTITION)} text COLLATE "C"')
            partitioned = f"PARTITION BY LIST ({quote_name(PARTITION)})"
            transaction.execute(f"CREATE TABLE {table} ({', '.join(definitions)}) {partitioned}")
            transaction.execute(f"COMMENT ON TABLE {table} IS {quote_text(_MARK + key.asset)}")
        elif definitions:
            transaction.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN {text}' for text in definitions)}")
        if not self.columns(transaction, child_of(key))[1]:
            child = self.quoted(child_of(key))
            partition = "NULL" if key.text is None else quote_text(key.text)
            # To attach a table is in nobody's way, to make it as a partition is in everybody's.
            transaction.execute(f"CREATE TABLE {child} (LIKE {table})")
            transaction.execute(f"ALTER TABLE {child} ALTER COLUMN {quote_name(PARTITION)} SET DEFAULT {partition}")
            transaction.execute(f"ALTER TABLE {table} ATTACH PARTITION {child} FOR VALUES IN ({partition})")

    def _of_asset(self, transaction: Transaction, asset: str) -> dict[str, str]:
        name = table_of(asset)
        comments = _asked(transaction, _COMMENT_OF, self.schema, name)
        if comments and not str(comments[0][0]).startswith(_MARK):
            raise AssetError(
                f"the schema {self.schema!r} has a relation {name!r} that FlowStone did not make (its comment does not "
                f"begin with {_MARK!r}): give the asset another name, or its IO manager another schema",
                asset=asset,
            )
        return self.columns(transaction, name)[1]

    def unused(self, transaction: Transaction) -> list[tuple[str, str | None, int]]:
        """Tables that no receipt names: that of the asset, its partition, and the bytes that this takes."""
        if not self.columns(transaction, RECEIPTS)[0]:
            return []
        used = {name for (name,) in transaction.rows(f"SELECT table_name FROM {self.receipts}")}  # noqa: S608
        return [found for found in _asked(transaction, _TABLES, _MARK, self.schema) if found[1] not in used]

    def drop(self, transaction: Transaction, table: str, child: str | None) -> bool:
        """Drop a partition of an asset's table when no receipt names it, and the table with its last partition.

        Returns:
            Whether no receipt named it.
        """
        self._alone(transaction)
        if child is not None:
            transaction.lock(f"{self.schema}.{child}")
            if transaction.rows(f"SELECT 1 FROM {self.receipts} WHERE table_name = {quote_text(child)}"):  # noqa: S608
                return False
            transaction.execute(f"DROP TABLE IF EXISTS {self.quoted(child)}")
        if not _asked(transaction, _CHILDREN, self.quoted(table)):
            transaction.execute(f"DROP TABLE IF EXISTS {self.quoted(table)}")
        return True

    def _alone(self, transaction: Transaction) -> None:
        # Even CREATE TABLE IF NOT EXISTS fails when two do it at once.
        transaction.lock(f"{self.schema}.{RECEIPTS}")
        transaction.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")


def _asked(transaction: Transaction, query: str, *texts: str) -> list[tuple[Any, ...]]:
    return transaction.rows(query.format(*map(quote_text, texts)))
