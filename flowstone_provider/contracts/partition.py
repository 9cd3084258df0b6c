"""The text of a partition: in paths, in object keys, in SQL values, and as Airflow's ``partition_key``.

========================= =================================== ==========================
partition                 text
========================= =================================== ==========================
``"eu west/1"``           ``eu~20west~2F1``                   unsafe bytes in hex
``date(2026, 1, 15)``     ``2026-01-15``                      also ``"2026-01-15"``
an aware datetime         ``2026-01-15T09:30:00``             in UTC
``("eu", date(…))``       ``eu|2026-01-15``                   a part for each dimension
========================= =================================== ==========================

A text that is written like a date or a time *is* that date or time: ``"{{ ds }}"`` in a template and a ``date`` in
Python are one partition. A time without offset is UTC, as Airflow's timetables write it. No two other partitions have
one text.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import TypeAlias

from flowstone_provider.errors import PartitionError

Dimension: TypeAlias = str | date
"""A text, a date, or a datetime that is aware."""

Partition: TypeAlias = Dimension | tuple[Dimension, ...]
"""The key of one slice of an asset; a tuple has a part for each dimension, two or more."""

# Airflow keeps a partition key in a column of this width (airflow.models.base.ID_LEN).
LONGEST_TEXT = 250

# Airflow's ProductMapper joins the keys of dimensions with it.
_SEPARATOR = "|"

# What needs no escape in file names, S3 keys and URLs, and the colon that Airflow's own keys have. A leading dot would
# hide a file, and be a folder's name for "." and "..".
_UNSAFE = re.compile(rb"[^A-Za-z0-9._:+-]|^\.")
_ESCAPED = re.compile(rb"~([0-9A-F]{2})")

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})?", re.ASCII)


def canonical(partition: Partition) -> Partition:
    """The one form of partitions that are the same: dates and times as such, times in UTC.

    Raises:
        PartitionError: It is no partition.
    """
    if isinstance(partition, tuple):
        if len(partition) < 2:
            raise PartitionError(f"the partition {partition!r} has {len(partition)} parts: a tuple has two or more")
        return tuple(_canonical(part, partition) for part in partition)
    return _canonical(partition, partition)


def encode(partition: Partition) -> str:
    """The text of a partition.

    Raises:
        PartitionError: It is no partition, or its text has more than 250 characters.
    """
    value = canonical(partition)
    text = _SEPARATOR.join(_text(part) for part in (value if isinstance(value, tuple) else (value,)))
    if len(text) > LONGEST_TEXT:
        raise PartitionError(
            f"the partition {partition!r:.100} takes {len(text)} characters as a key, Airflow allows {LONGEST_TEXT}: "
            "use a shorter name or its hash",
            partition=partition,
        )
    return text


def decode(text: str) -> Partition:
    """The partition of a text that `encode` made, in its canonical form.

    Raises:
        PartitionError: No partition has this text.
    """
    parts = tuple(_unescape(part) for part in text.split(_SEPARATOR))
    partition = canonical(parts if len(parts) > 1 else parts[0])
    if encode(partition) != text:
        raise PartitionError(f"{text!r} is no partition's text; that of {partition!r} is {encode(partition)!r}")
    return partition


def _canonical(part: object, whole: object) -> Dimension:
    if isinstance(part, datetime):
        if part.tzinfo is None:
            raise PartitionError(f"the partition {whole!r} has a time without time zone: give it one, such as UTC")
        return _utc(part, whole)
    if isinstance(part, date):
        return date(part.year, part.month, part.day)
    if not isinstance(part, str):
        raise PartitionError(
            f"the partition {whole!r} is of type {type(part).__name__}: it must be a text, a date, an aware datetime "
            "or a tuple of those",
            partition=whole,
        )
    if not part:
        raise PartitionError(f"the partition {whole!r} has an empty text")
    try:
        if _DATE.fullmatch(part):
            return date.fromisoformat(part)
        if not _TIME.fullmatch(part):
            return part
        moment = _time(part)
    except ValueError:  # such as the 30th of February, which is a text like any other
        return part
    return _utc(moment, whole)


def _utc(moment: datetime, whole: object) -> datetime:
    try:
        utc = moment.astimezone(timezone.utc)
    except OverflowError:
        raise PartitionError(f"the partition {whole!r} has a time that UTC has in no year from 1 to 9999") from None
    # Not a subclass such as pendulum's, which is another type in JSON and in a repr.
    return datetime(*utc.timetuple()[:6], utc.microsecond, timezone.utc)


def _time(text: str) -> datetime:
    # Python 3.10 reads no "Z", and three or six digits of a second only.
    whole, fraction, offset = re.fullmatch(r"(.{19})(?:\.(\d+))?(.*)", text).groups()  # type: ignore[union-attr]
    zone = "+00:00" if offset in ("", "Z") else offset
    return datetime.fromisoformat(f"{whole}.{(fraction or '0').ljust(6, '0')}{zone}")


def _text(part: Dimension) -> str:
    if isinstance(part, datetime):
        return part.replace(tzinfo=None).isoformat()
    if isinstance(part, date):
        return part.isoformat()
    return _UNSAFE.sub(lambda found: b"~%02X" % found.group()[0], part.encode("utf-8", "surrogatepass")).decode()


def _unescape(text: str) -> str:
    data = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogatepass"))
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise PartitionError(f"{text!r} is no partition's text: {error}") from None
