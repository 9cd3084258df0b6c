"""``airflow flowstone assets …``: list, show, partitions, missing, clean; `backfill` is next door."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import orjson

from flowstone_provider.cli import _keys, backfill
from flowstone_provider.cli._common import age, friendly, manager_of, output, remark, say, say_table
from flowstone_provider.contracts.io_manager import AssetKey, StoredAsset
from flowstone_provider.contracts.partition import decode, encode


def commands() -> tuple[Any, ...]:
    """The commands of the group ``assets``."""
    from airflow.cli.cli_config import Arg

    asset = Arg(("asset",), help="The asset")
    partition = Arg(("--partition",), help="The partition's text", default=None)
    manager = Arg(("--io-manager",), help="The IO manager's name, or an alias of it (default: file)", default="file")
    older = Arg(
        ("--older-than",),
        help="Written longer ago: 1d, 12h; longer than any store takes",
        type=age,
        required=True,
    )
    return (
        _command("list", list_assets, "The assets that have a value", manager, output()),
        _command(
            "show",
            show,
            "What is stored of an asset or a partition: rows, bytes, checksum, schema",
            *(asset, partition, manager, output()),
        ),
        _command("partitions", partitions, "The partitions of an asset", asset, manager, output()),
        _command(
            "missing",
            missing,
            "The partitions that should be there and are not",
            *(asset, *_keys.arguments(), manager, output()),
            description="Prints a partition's text in each line, for --keys @- of another command.",
        ),
        _command(
            "backfill",
            backfill.backfill,
            "A DAG run for each of some partitions",
            *backfill.arguments(manager),
            description="Makes a DAG run for each partition that is named and has none. A run gets its partition as "
            "conf, {'partition': …}, and as partition key where the DAG takes one.",
        ),
        _command(
            "clean",
            clean,
            "Remove what stores that died left behind",
            *(older, manager),
            description="Removes files that no value consists of, such as those of a store whose process was killed. "
            "No value is removed.",
        ),
    )


def _command(name: str, run: Callable[[Namespace], None], text: str, *args: Any, description: str | None = None) -> Any:
    from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand

    return ActionCommand(name=name, help=text, description=description, func=friendly(run), args=(*args, ARG_VERBOSE))


def _receipts(manager: Any, asset: str) -> Iterator[tuple[AssetKey, StoredAsset]]:
    """What is stored of an asset: without partition, then by partition."""
    for partition in (None, *manager.list_partitions(asset)):
        key = AssetKey(asset, partition)
        receipt = manager.receipt(key)
        if receipt is not None:  # deleted since it was listed
            yield key, receipt


def list_assets(args: Namespace) -> None:
    """Say which assets there are."""
    manager = manager_of(args)
    rows = []
    for asset in manager.list_assets():
        found = list(_receipts(manager, asset))
        if not found:
            continue
        receipts = [receipt for _, receipt in found]
        rows.append(
            {
                "asset": asset,
                "partitions": sum(key.partition is not None for key, _ in found),
                "rows": None if all(r.rows is None for r in receipts) else sum(r.rows or 0 for r in receipts),
                "bytes": sum(receipt.bytes for receipt in receipts),
                "stored_at": max(receipt.stored_at for receipt in receipts),
            }
        )
    _say_rows(args, rows, f"the IO manager {args.io_manager} has no asset")


def show(args: Namespace) -> None:
    """Say what is stored under a key."""
    manager = manager_of(args)
    key = AssetKey(args.asset, None if args.partition is None else decode(args.partition))
    receipt = manager.receipt(key)
    if receipt is None:
        raise manager.missing(key)
    facts = {"asset": key.asset, "partition": key.text, "io_manager": args.io_manager, **receipt.dump()}
    if args.output == "json":
        say(orjson.dumps(facts).decode())
        return
    schema = facts.pop("schema")
    for name, fact in facts.items():
        if fact is not None:
            say(f"{name:<11} {fact:,}" if isinstance(fact, int) else f"{name:<11} {fact}")
    if schema is not None:
        say("schema", *(f"  {column}: {kind}" for column, kind in schema.items()))


def partitions(args: Namespace) -> None:
    """Say which partitions an asset has."""
    manager = manager_of(args)
    rows = [
        {
            "partition": key.text,
            "kind": receipt.kind,
            "rows": receipt.rows,
            "bytes": receipt.bytes,
            "stored_at": receipt.stored_at,
        }
        for key, receipt in _receipts(manager, AssetKey(args.asset).asset)
        if key.partition is not None
    ]
    _say_rows(args, rows, f"the IO manager {args.io_manager} has no partition of {args.asset}")


def missing(args: Namespace) -> None:
    """Say which partitions an asset lacks."""
    expected = _keys.asked_for(args)
    found = [encode(partition) for partition in _keys.lacking(manager_of(args), args.asset, expected)]
    if args.output == "json":
        say(orjson.dumps(found).decode())
        return
    say(*found)
    remark(f"{len(found):,} of {len(expected):,} partitions of {args.asset} are missing")


def clean(args: Namespace) -> None:
    """Remove what stores that died left behind."""
    removed = manager_of(args).clean(datetime.now(timezone.utc) - args.older_than)
    say(f"removed {removed:,} bytes")


def _say_rows(args: Namespace, rows: list[dict[str, Any]], nothing: str) -> None:
    if args.output == "json":
        say(orjson.dumps(rows).decode())
    elif rows:
        say_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say(nothing)
