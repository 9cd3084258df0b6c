"""The user's own functions as a source."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Page, ReaderOptions, limited
from flowstone_provider.errors import OptionsError, ReaderError


def _function(value: Any) -> Any:
    if isinstance(value, str):
        module, _, name = value.partition(":")
        if not module or not name:
            raise ValueError("is no function and no name of one, which has the form 'module:name'")
    elif not callable(value):
        raise ValueError("is no function")
    return value


Function = Annotated[Any, AfterValidator(_function)]
"""A callable, or its name as ``module:name``."""


class FunctionOptions(ReaderOptions):
    """Options of the ``function`` reader: either ``function``, or both ``init`` and ``read``."""

    title: ClassVar[str] = "function"

    function: Function | None = Field(
        default=None,
        description="A generator function `(checkpoint or None)`, or its name as `module:name`, that yields "
        "pages: a `Page`, or a tuple (list of items, checkpoint).",
    )
    init: Function | None = Field(default=None, description="`()` to the checkpoint at which reading begins.")
    read: Function | None = Field(
        default=None,
        description="`(checkpoint)` to a tuple (list of items, next checkpoint), where `None` is the end.",
    )

    @model_validator(mode="after")
    def _one_form(self) -> FunctionOptions:
        pair = [self.init is not None, self.read is not None]
        if (self.function is not None and any(pair)) or (self.function is None and not all(pair)):
            raise ValueError("give either `function`, or both `init` and `read`")
        return self


class FunctionReader(ItemReader):
    """Items come from functions that are handed the checkpoint to go on from.

    Checkpoints of the functions are any JSON values; the reader's own wraps them.
    """

    options: ClassVar[type[ReaderOptions]] = FunctionOptions

    def __init__(self, options: Any, resources: Any) -> None:
        super().__init__(options, resources)
        self._running: list[Any] = []

    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the functions' pages.

        Raises:
            OptionsError: A name leads to no function.
            ReaderError: A page has not the shape it should have.
        """
        after = after or {"taken": 0}
        if not after.get("ended"):
            yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        taken = after["taken"]
        pages = self._generated(after) if self.opts.function is not None else self._read(after)
        for number, (items, at, source, ended) in enumerate(pages, 1):
            self._check(number, items, at)
            taken += len(items)
            checkpoint: Checkpoint = {"taken": taken, "at": at}
            yield Page(list(items), {**checkpoint, "ended": True} if ended else checkpoint, source)

    def _generated(self, after: Checkpoint) -> Iterator[tuple[Any, Any, str | None, bool]]:
        pages = _load(self.opts.function)(after.get("at"))
        if not hasattr(pages, "__iter__"):
            raise ReaderError(
                f"{_name(self.opts.function)} returned {_a(pages)}; expected a generator of pages, "
                "which yields tuples (list of items, checkpoint)"
            )
        running = iter(pages)
        self._running.append(running)
        try:
            for page in running:
                if isinstance(page, Page):
                    yield page.items, page.checkpoint, page.source, False
                else:
                    items, at = self._pair(page, self.opts.function)
                    yield items, at, None, False
        finally:
            self._running.remove(running)

    def _read(self, after: Checkpoint) -> Iterator[tuple[Any, Any, str | None, bool]]:
        read = _load(self.opts.read)
        at = after["at"] if "at" in after else _load(self.opts.init)()
        while True:
            items, at = self._pair(read(at), self.opts.read)
            yield items, at, None, at is None
            if at is None:
                return

    def _pair(self, page: Any, function: Any) -> tuple[Any, Any]:
        if not isinstance(page, tuple) or len(page) != 2:
            raise ReaderError(
                f"{_name(function)} gave {_a(page)} as a page; expected a tuple (list of items, checkpoint)"
                + (" or a Page" if function is self.opts.function else "")
            )
        return page

    def _check(self, number: int, items: Any, at: Any) -> None:
        name = _name(self.opts.function if self.opts.function is not None else self.opts.read)
        if not isinstance(items, list):
            raise ReaderError(f"page {number} of {name} has {_a(items)} for items; expected a list")
        if at is None and self.opts.function is not None:
            raise ReaderError(f"page {number} of {name} has no checkpoint; expected a JSON value to go on from")
        try:
            json.dumps(at)
        except (TypeError, ValueError) as error:
            raise ReaderError(f"page {number} of {name} has a checkpoint that is no JSON: {error}") from error

    def close(self) -> None:
        """End the generators that still run."""
        for running in list(self._running):
            if hasattr(running, "close"):
                running.close()


def _load(function: Any) -> Callable[..., Any]:
    if not isinstance(function, str):
        return function  # type: ignore[no-any-return]
    module, _, name = function.partition(":")
    try:
        loaded = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionsError(f"the function {function!r} cannot be imported: {error}", function=function) from error
    if not callable(loaded):
        raise OptionsError(f"{function!r} is {_a(loaded)}, which is no function", function=function)
    return loaded  # type: ignore[no-any-return]


def _name(function: Any) -> str:
    return function if isinstance(function, str) else getattr(function, "__qualname__", repr(function))


def _a(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.80}"
