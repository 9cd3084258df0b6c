"""Ranges of keys: what a split of an S3 listing is, and how it is told that its objects are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.s3_objects import place_of

# What asking for an object costs, as bytes that could be read in the same time: about 5 ms at 100 MB/s.
_REQUEST_BYTES = 500_000

# While the listing is read there are at most this many ranges for each split that is wanted.
_RANGES_PER_SPLIT = 8


class KeyRange(BaseModel):
    """The objects between two keys, as they were listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: str | None = Field(description="The key before the first; `None` is the listing's start.")
    last: str = Field(description="The last key.")
    tally: list[Any] = Field(description="How many objects there are, and a digest of their keys, sizes and ETags.")


@dataclass
class Tally:
    """Objects that were seen: how many, and a digest of them. Tallies of neighbours add up to that of both."""

    objects: int = 0
    digest: int = 0

    def add(self, file: SourceFile) -> None:
        """Count an object."""
        self.objects += 1
        self._mix(int(hashlib.sha256(f"{file.url}\n{file.size}\n{file.etag}".encode()).hexdigest()[:32], 16))

    def merge(self, other: Tally) -> None:
        """Count the objects of another tally."""
        self.objects += other.objects
        self._mix(other.digest)

    # A sum, so that parts can be added without knowing what they were made of.
    def _mix(self, digest: int) -> None:
        self.digest = (self.digest + digest) % (1 << 128)

    def dump(self) -> list[Any]:
        """It as JSON, for `load`."""
        return [self.objects, f"{self.digest:032x}"]

    @classmethod
    def load(cls, dumped: list[Any]) -> Tally:
        """What `dump` gave."""
        return cls(dumped[0], int(dumped[1], 16))


@dataclass
class _Range:
    last: str
    weight: int
    tally: Tally

    def extend(self, other: _Range) -> None:
        self.last = other.last
        self.weight += other.weight
        self.tally.merge(other.tally)


def cut_keys(files: Iterable[SourceFile], at_most: int, after: str | None) -> list[KeyRange]:
    """Cut a listing, read once, into ranges of keys that take about the same time to read.

    Memory is bounded by the number of ranges: neighbours are merged when there are too many.

    Args:
        files: The objects, in the order of their keys.
        at_most: The greatest number of ranges.
        after: The key before the first.
    """
    ranges: list[_Range] = []
    total = 0
    for file in files:
        tally = Tally()
        tally.add(file)
        weight = (file.size or 0) + _REQUEST_BYTES
        ranges.append(_Range(place_of(file.url)[1], weight, tally))
        total += weight
        if len(ranges) > _RANGES_PER_SPLIT * at_most:
            # Two neighbours together exceed the bound, so that half of the ranges are left at most.
            ranges = _merged(ranges, 4 * total // (_RANGES_PER_SPLIT * at_most))
    parts = []
    for part in _grouped(ranges, at_most, total):
        parts.append(KeyRange(after=after, last=part.last, tally=part.tally.dump()))
        after = part.last
    return parts


def _merged(ranges: list[_Range], bound: int) -> list[_Range]:
    merged = ranges[:1]
    for item in ranges[1:]:
        if merged[-1].weight + item.weight <= bound:
            merged[-1].extend(item)
        else:
            merged.append(item)
    return merged


def _grouped(ranges: list[_Range], at_most: int, total: int) -> Iterator[_Range]:
    """Merge neighbours into groups of about the same weight."""
    before = 0
    numbered = []
    for item in ranges:
        # By its middle: a heavy range goes where most of it lies.
        numbered.append(((2 * before + item.weight) * at_most // (2 * total), item))
        before += item.weight
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        first, *others = [item for _, item in group]
        for item in others:
            first.extend(item)
        yield first
