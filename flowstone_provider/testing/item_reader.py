"""The suite that every item reader must pass."""

# ruff: noqa: D102  (tests assert, and their names say what they are about)

from __future__ import annotations

import json
import random
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

from flowstone_provider.contracts.item_reader import (
    Checkpoint,
    ItemReader,
    Json,
    ReaderSpec,
    Resources,
)
from flowstone_provider.errors import OptionsError
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.registry import create_reader
from flowstone_provider.scatter.items import encode_page

CHECKPOINT_BYTES = 4_096
"""The size of a checkpoint as JSON, at most. It is written after every page."""


class ItemReaderContract:
    r"""Pytest runs it for each subclass in a test module that says what to read.

    ::

        class TestLines(ItemReaderContract):
            reader = LinesReader

            def make_source(self, folder, count):
                items = [f"line {number}" for number in range(count)]
                (folder / "lines.txt").write_text("".join(f"{item}\n" for item in items))
                return {"path": str(folder / "lines.txt")}, items
    """

    reader: ClassVar[type[ItemReader]]
    """The class to test."""

    resources: ClassVar[Resources] = LocalResources()
    """What readers are given."""

    count: ClassVar[int] = 2_345
    """Items in the source; enough for at least two pages."""

    many: ClassVar[int] = 20_000
    """Items in the source of the memory test: so many that they take more memory than a page and some buffers."""

    splittable: ClassVar[bool] = False
    """Whether `make_source` makes a source that must be split. If not, it still may be."""

    ordered: ClassVar[bool] = True
    """Whether the splits, one after the other, keep the order of the source."""

    def make_source(self, folder: Path, count: int) -> tuple[dict[str, Any], list[Json]]:
        """Make a source.

        Args:
            folder: An empty folder for the test.
            count: How many items it shall have, maybe none.

        Returns:
            The reader's options, and the items in order.
        """
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> tuple[dict[str, Any], list[Json]]:
        """A source with `count` items."""
        options, items = self.make_source(tmp_path, self.count)
        assert len(items) == self.count, "make_source must make as many items as it is asked for"
        return options, items

    def make_reader(self, options: dict[str, Any], resources: Resources | None = None) -> ItemReader:
        """A reader with these options."""
        return self.reader(self.reader.options(**options), resources or self.resources)

    def make_split(self, spec: ReaderSpec) -> ItemReader:
        """The reader of a split, after the travel between tasks that it makes as JSON."""
        return create_reader(ReaderSpec.model_validate_json(json.dumps(spec.model_dump())), self.resources)

    def test_yields_all_items_in_order(self, source: Any) -> None:
        options, expected = source
        pages = list(self.make_reader(options).pages())
        assert [item for page in pages for item in page.items] == expected
        assert len(pages) > 1, "make the source larger (`count`), so that it has several pages"

    def test_a_source_without_items_has_none(self, tmp_path: Path) -> None:
        options, expected = self.make_source(tmp_path, 0)
        reader = self.make_reader(options)
        assert expected == []
        assert _items(reader) == []
        assert reader.count() in (0, None)
        assert [item for spec in reader.splits(3) or [] for item in _items(self.make_split(spec))] == []

    def test_goes_on_after_every_page(self, source: Any) -> None:
        options, expected = source
        done = 0
        for page in self.make_reader(options).pages():
            done += len(page.items)
            assert _items(self.make_reader(options), _travelled(page.checkpoint)) == expected[done:]

    def test_a_resumed_reading_can_be_resumed(self, source: Any) -> None:
        options, expected = source
        found: list[Json] = []
        checkpoint = None
        while (page := next(self.make_reader(options).pages(checkpoint), None)) is not None:
            found += page.items
            checkpoint = _travelled(page.checkpoint)
        assert found == expected

    @pytest.mark.parametrize("seed", range(8))
    def test_whenever_it_is_killed_it_goes_on_where_it_was(self, source: Any, seed: int) -> None:
        options, expected = source
        chance = random.Random(seed)  # noqa: S311  (the same cases in every run)
        most = chance.choice([None, chance.randrange(1, len(expected) + 1)])
        found: list[Json] = []
        checkpoint, ended = None, False
        while not ended:
            pages = self.make_reader({**options, "max_items": most}).pages(checkpoint)
            # The reader is left as it is, as by a process that dies: nobody closes it.
            for _ in range(chance.choice([1, 1, 2, 5, 20])):
                page = next(pages, None)
                ended = page is None
                if page is None:
                    break
                found += page.items
                checkpoint = _travelled(page.checkpoint)
        assert found == expected[:most]

    def test_items_are_json(self, source: Any) -> None:
        options, expected = source
        lines = [line for page in self.make_reader(options).pages() for line in encode_page(page, 0, None)]
        assert len(lines) == len(expected)
        assert all("item" in json.loads(line) or "bad" in json.loads(line) for line in lines)

    def test_memory_is_bounded(self, tmp_path: Path) -> None:
        options, _ = self.make_source(tmp_path, self.many)
        _items(self.make_reader({**options, "max_items": 1}))  # what the first reading brings, such as imports
        one, other = self.make_reader(options), self.make_reader(options)
        peak = _traced(lambda: sum(len(page.items) for page in one.pages()))
        held = _traced(lambda: _items(other))
        one.close()
        assert peak < held / 2, f"reading {self.many:,} items takes {peak:,} bytes, all of them together {held:,}"

    def test_checkpoints_are_small_json(self, source: Any) -> None:
        options, _ = source
        for page in self.make_reader(options).pages():
            assert isinstance(page.checkpoint, dict)
            assert _travelled(page.checkpoint) == page.checkpoint
            assert len(json.dumps(page.checkpoint)) < CHECKPOINT_BYTES

    @pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 1.0, 2.0])
    def test_max_items_holds_across_resumes(self, source: Any, part: float) -> None:
        options, expected = source
        most = int(part * len(expected)) or 1
        options = {**options, "max_items": most}
        assert _items(self.make_reader(options)) == expected[:most]
        found: list[Json] = []
        checkpoint = None
        while (page := next(self.make_reader(options).pages(checkpoint), None)) is not None:
            found += page.items
            checkpoint = _travelled(page.checkpoint)
        assert found == expected[:most]

    def test_max_items_holds_across_splits(self, source: Any) -> None:
        options, expected = source
        most = len(expected) // 2
        specs = self.make_reader({**options, "max_items": most}).splits(4)
        if specs is not None:
            found = [item for spec in specs for item in _items(self.make_split(spec))]
            assert found == expected[:most]

    def test_count_is_exact_or_unknown(self, source: Any) -> None:
        options, expected = source
        assert self.make_reader(options).count() in (len(expected), None)
        assert self.make_reader({**options, "max_items": 3}).count() in (3, None)

    @pytest.mark.parametrize("at_most", [1, 2, 7])
    def test_splits_together_have_every_item_once(self, source: Any, at_most: int) -> None:
        options, expected = source
        specs = self.make_reader(options).splits(at_most)
        if specs is None:
            assert not self.splittable or at_most == 1, "`splittable`, but splits() returned None"
            return
        assert len(specs) <= at_most
        found: list[Json] = []
        for spec in specs:
            split = self.make_split(spec)
            items = _items(split)
            assert split.count() in (len(items), None)
            found += items
        if not self.ordered:
            found, expected = sorted(found, key=_as_text), sorted(expected, key=_as_text)
        assert found == expected

    def test_splits_can_be_resumed(self, source: Any) -> None:
        options, _ = source
        for spec in self.make_reader(options).splits(3) or []:
            whole = _items(self.make_split(spec))
            done = 0
            for page in self.make_split(spec).pages():
                done += len(page.items)
                checkpoint = _travelled(page.checkpoint)
                assert len(json.dumps(checkpoint)) < CHECKPOINT_BYTES
                assert _items(self.make_split(spec), checkpoint) == whole[done:]

    def test_can_be_read_twice(self, source: Any) -> None:
        options, expected = source
        reader = self.make_reader(options)
        assert _items(reader) == expected
        assert _items(reader) == expected

    def test_close_may_come_at_any_time(self, source: Any) -> None:
        options, _ = source
        reader = self.make_reader(options)
        reader.close()
        pages = reader.pages()
        next(pages)
        reader.close()
        reader.close()
        del pages

    def test_constructing_does_no_io(self, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        options, _ = source

        def refuse(*_: Any, **__: Any) -> NoReturn:
            pytest.fail("a constructor must do no I/O: DAG files are parsed all the time")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        refusing = type("Refusing", (), {"path": refuse})()
        self.make_reader(options, refusing)

    def test_a_misspelt_option_is_refused_with_the_nearest(self, source: Any) -> None:
        options, _ = source
        name = max(self.reader.options.model_fields, key=len)
        with pytest.raises(OptionsError, match=name):
            self.reader.options(**{**options, f"{name}x": 1})

    def test_a_value_of_the_wrong_type_is_refused(self, source: Any) -> None:
        options, _ = source
        for wrong in ("many", 0, -1, [1]):
            with pytest.raises(OptionsError, match="max_items"):
                self.reader.options(**{**options, "max_items": wrong})

    def test_options_survive_a_dump(self, source: Any) -> None:
        options, expected = source
        dumped = self.reader.options(**options).dump()
        assert _items(self.make_reader(dumped)) == expected


def _items(reader: ItemReader, after: Checkpoint | None = None) -> list[Json]:
    try:
        return [item for page in reader.pages(after) for item in page.items]
    finally:
        reader.close()


def _as_text(item: Json) -> str:
    return json.dumps(item, sort_keys=True, default=str)


def _traced(read: Callable[[], Any]) -> int:
    """Bytes that Python holds at most while it reads."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _travelled(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as it comes back from where it was written."""
    travelled: Checkpoint = json.loads(json.dumps(checkpoint))
    return travelled
