"""A reader as a stranger writes one: needs the contracts only."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, PositiveInt

from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Page, ReaderOptions, limited


class CountdownOptions(ReaderOptions):
    """Options of `CountdownReader`."""

    start: PositiveInt = Field(description="The first number.")


class CountdownReader(ItemReader):
    """Counts down to one."""

    options = CountdownOptions

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """See `ItemReader.pages`."""
        after = after or {"next": self.opts.start}
        pages = (Page([n], {"next": n - 1}) for n in range(after["next"], 0, -1))
        return limited(pages, self.opts.max_items, self.opts.start - after["next"])
