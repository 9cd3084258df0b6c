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
from typing import TYPE_CHECKING, Any

from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import AssetError
from flowstone_provider.hooks._postgres_connection import Transaction
from flowstone_provider.hooks._postgres_sql import psycopg_sql

if TYPE_CHECKING:
    from psycopg.sql import Composable

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
    CREATE TABLE IF NOT EXISTS {} (
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

_CHILDREN = """
    SELECT 1
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE n.nspname = {} AND p.relname = {} LIMIT 1"""


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
        self.receipts = self.table(RECEIPTS)

    def table(self, name: str) -> Composable:
        """A table in a statement."""
        return psycopg_sql().Identifier(self.schema, name)  # type: ignore[no-any-return]

    def of_key(self, key: AssetKey) -> Composable:
        """The receipt of a key, as what follows FROM in a statement."""
        sql = psycopg_sql()
        return sql.SQL("{} WHERE asset = {} AND partition = {}").format(  # type: ignore[no-any-return]
            self.receipts, sql.Literal(key.asset), sql.Literal(key.text or "")
        )

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
        sql = psycopg_sql()
        table, child = self.table(table_of(key.asset)), self.table(child_of(key))
        transaction.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(table))
        transaction.execute(sql.SQL("DELETE FROM {}").format(child))

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
        sql = psycopg_sql()
        transaction.execute(sql.SQL(_MAKE_RECEIPTS).format(self.receipts))
        if not names:
            return
        table, there = self.table(table_of(key.asset)), self._of_asset(transaction, key.asset)
        columns = zip(chosen_columns(names, types, there), types, strict=True)
        # The types are those of `form_of`, which are no names to quote.
        definitions = [
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
            for column, kind in columns
            if column not in there
        ]
        by = sql.Identifier(PARTITION)
        if not there:
            definitions.append(sql.SQL('{} text COLLATE "C"').format(by))
            create = sql.SQL("CREATE TABLE {} ({}) PARTITION BY LIST ({})")
            transaction.execute(create.format(table, sql.SQL(", ").join(definitions), by))
            mark = sql.Literal(_MARK + key.asset)
            transaction.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, mark))
        elif definitions:
            added = [sql.SQL("ADD COLUMN {}").format(each) for each in definitions]
            transaction.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(added)))
        if not self.columns(transaction, child_of(key))[1]:
            child, value = self.table(child_of(key)), sql.Literal(key.text)
            # To attach a table is in nobody's way, to make it as a partition is in everybody's.
            transaction.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(child, table))
            default = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}")
            transaction.execute(default.format(child, by, value))
            attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})")
            transaction.execute(attach.format(table, child, value))

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
        query = psycopg_sql().SQL("SELECT table_name FROM {}").format(self.receipts)
        used = {name for (name,) in transaction.rows(query)}
        return [found for found in _asked(transaction, _TABLES, _MARK, self.schema) if found[1] not in used]

    def drop(self, transaction: Transaction, table: str, child: str | None) -> bool:
        """Drop a partition of an asset's table when no receipt names it, and the table with its last partition.

        Returns:
            Whether no receipt named it.
        """
        self._alone(transaction)
        sql = psycopg_sql()
        drop = sql.SQL("DROP TABLE IF EXISTS {}")
        if child is not None:
            transaction.lock(f"{self.schema}.{child}")
            named = sql.SQL("SELECT 1 FROM {} WHERE table_name = {}")
            if transaction.rows(named.format(self.receipts, sql.Literal(child))):
                return False
            transaction.execute(drop.format(self.table(child)))
        if not _asked(transaction, _CHILDREN, self.schema, table):
            transaction.execute(drop.format(self.table(table)))
        return True

    def _alone(self, transaction: Transaction) -> None:
        # Even CREATE TABLE IF NOT EXISTS fails when two do it at once.
        transaction.lock(f"{self.schema}.{RECEIPTS}")
        sql = psycopg_sql()
        transaction.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_PATIENCE)))


def _asked(transaction: Transaction, query: str, *texts: str) -> list[tuple[Any, ...]]:
    sql = psycopg_sql()
    return transaction.rows(sql.SQL(query).format(*map(sql.Literal, texts)))
