"""A list as a source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Json, Page, ReaderOptions

_PAGE_ITEMS = 1_000


class SequenceOptions(ReaderOptions):
    """Options of the ``sequence`` reader."""

    title: ClassVar[str] = "sequence"

    items: list[Json] = Field(description="The items, or another task's output that is a list.")


class SequenceReader(ItemReader):
    """Items are the elements of a list."""

    options: ClassVar[type[ReaderOptions]] = SequenceOptions

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the elements, a thousand a page."""
        end = self.count()
        for start in range(after["position"] if after else 0, end, _PAGE_ITEMS):
            page = self.opts.items[start : min(start + _PAGE_ITEMS, end)]
            yield Page(page, {"position": start + len(page)})

    def count(self) -> int:
        """The length of the list, or ``max_items``."""
        number = len(self.opts.items)
        return number if self.opts.max_items is None else min(number, self.opts.max_items)
