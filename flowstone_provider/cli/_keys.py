"""The partitions that a command is told: listed, or the days, months … of a span of time."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from flowstone_provider.contracts.io_manager import AssetKey, IOManager
from flowstone_provider.contracts.partition import Partition, canonical, decode
from flowstone_provider.errors import OptionsError

# How the partition of a period is written: as Airflow's own mappers write years and months; days and hours are dates
# and times.
_TEXTS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00:00"}


def arguments() -> tuple[Any, ...]:
    """``--keys``, or ``--from``, ``--to`` and ``--every``."""
    from airflow.cli.cli_config import Arg

    return (
        Arg(
            ("--keys",),
            help="Texts of partitions, separated by commas; or @FILE, with one in each line (@- is the standard input)",
        ),
        Arg(("--from",), help="The first: 2026, 2026-01, 2026-01-15 or 2026-01-15T09:00", type=_span, dest="start"),
        Arg(("--to",), help="The last, written the same way", type=_span, dest="end"),
        Arg(("--every",), help="How long a partition is", choices=tuple(_TEXTS)),
    )


def asked_for(args: Namespace) -> list[Partition]:
    """The partitions of `arguments`, each once, in the order given.

    Raises:
        OptionsError: Neither way of naming them is whole, or both are there.
        PartitionError: A key is no partition's text.
    """
    span = (args.start, args.end, args.every)
    if (args.keys is None) is not all(span) or (any(span) and not all(span)):
        raise OptionsError("say which partitions: --keys a,b,c or --keys @file; or all of --from, --to and --every")
    found = _periods(*span) if args.keys is None else map(decode, _texts(args.keys))
    return list(dict.fromkeys(found))


def lacking(manager: IOManager, asset: str, partitions: list[Partition]) -> list[Partition]:
    """Of some partitions those that an asset lacks."""
    there = set(manager.list_partitions(AssetKey(asset).asset))
    return [partition for partition in partitions if partition not in there]


def _texts(keys: str) -> Iterator[str]:
    if not keys.startswith("@"):
        lines = keys.split(",")
    elif keys == "@-":
        lines = sys.stdin.read().splitlines()
    else:
        try:
            lines = Path(keys[1:]).read_text().splitlines()
        except OSError as error:
            raise OptionsError(f"--keys {keys}: {error}") from error
    return (line.strip() for line in lines if line.strip())


def _span(text: str) -> tuple[datetime, datetime]:
    """The first and the last moment of a year, a month, a day or a minute."""
    match = re.fullmatch(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::00)?)?)?)?", text)
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute = (None if part is None else int(part) for part in match.groups())
        first = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, tzinfo=timezone.utc)
        every = "year" if month is None else "month" if day is None else "day" if hour is None else "minute"
        return first, _after(first, every) - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is no time: write 2026, 2026-01, 2026-01-15 or 2026-01-15T09:00 (UTC)"
        ) from None


def _periods(start: tuple[datetime, datetime], end: tuple[datetime, datetime], every: str) -> Iterator[Partition]:
    if start[0] > end[1]:
        raise OptionsError(f"--from {start[0]:%Y-%m-%d %H:%M} is later than --to {end[1]:%Y-%m-%d %H:%M}")
    # The period that the first moment is in.
    moment = start[0].replace(minute=0)
    if every != "hour":
        moment = moment.replace(hour=0)
    if every in ("month", "year"):
        moment = moment.replace(day=1)
    if every == "year":
        moment = moment.replace(month=1)
    while moment <= end[1]:
        yield canonical(moment.strftime(_TEXTS[every]))
        moment = _after(moment, every)


def _after(moment: datetime, every: str) -> datetime:
    if every == "year":
        return moment.replace(year=moment.year + 1)
    if every == "month":
        return moment.replace(year=moment.year + moment.month // 12, month=moment.month % 12 + 1)
    return moment + timedelta(**{f"{every}s": 1})
