"""Sources for the contract suites of readers of files."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from upath import UPath

TEXTS = ["plain", "", 'quoted "word"', "a, comma", "Grüße 🌍", "\u2028 no line end", "tab\there"]


def rows(count: int, texts: list[str] = TEXTS) -> list[dict[str, str]]:
    """Items with a number and a text, both as text."""
    return [{"id": str(number), "text": texts[number % len(texts)]} for number in range(count)]


def csv_bytes(items: list[dict[str, Any]]) -> bytes:
    """Such items as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "text"])
    writer.writeheader()
    writer.writerows(items)
    return text.getvalue().encode()


def pages_of_numbers(checkpoint: int | None) -> Iterator[tuple[list[int], int]]:
    """Ten pages, for the ``function`` reader."""
    for number in range(checkpoint or 0, 10):
        yield [number * 10, number * 10 + 1], number + 1


class OnDisk:
    """Makes files in the test's folder."""

    def folder(self, folder: Path) -> UPath:
        return UPath(folder)


class InMemory:
    """Makes files in fsspec's memory, which is a store of objects."""

    test_memory_is_bounded = None  # measured on disk; what a reader holds is the same

    def folder(self, folder: Path) -> UPath:
        return UPath(f"memory://{uuid.uuid4().hex}")
