"""What the items of a scatter are: a source, in any of the ways a user may write it."""

from __future__ import annotations

from typing import Any

from flowstone_provider import registry
from flowstone_provider.contracts.io_manager import is_asset_reference
from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.contracts.options import is_deferred
from flowstone_provider.errors import OptionsError
from flowstone_provider.scatter.view import is_reference


def source(reader: str, **options: Any) -> ReaderSpec:
    """Where items come from: a reader by name, and its options.

    The name and the options are checked at once, that is when the DAG is parsed; Jinja templates and outputs of other
    tasks are checked when they are known.

    Args:
        reader: A registered name, such as ``"csv"``, or an alias of the ``[flowstone]`` section.
        **options: The reader's options.

    Raises:
        UnknownNameError: No reader has this name; the message gives the nearest.
        OptionsError: An option is misspelt or does not fit.
    """
    resolved = registry.readers.lookup(reader)
    checked = resolved.cls.options(**{**resolved.options, **options})
    return ReaderSpec(reader=reader, options={k: v for k, v in checked.dump().items() if k in options})


def items_at_parse(items: Any) -> Any:
    """The ``items`` option as something that Airflow renders and serialises.

    Raises:
        UnknownNameError: A literal name is no source's.
        OptionsError: Nothing that items can come from.
    """
    if isinstance(items, ReaderSpec):
        return items.model_dump()
    if isinstance(items, str) and not is_deferred(items):
        return source(items).model_dump()
    if isinstance(items, (list, tuple)):
        return {"reader": "sequence", "options": {"items": list(items)}}
    if is_deferred(items):
        return items
    raise OptionsError(
        f"items must be a source(...), the name of a configured source, a list, or another task's output, not "
        f"{type(items).__name__}"
    )


def items_at_run(items: Any) -> ReaderSpec:
    """The rendered ``items`` as a reader spec: also what only another task's output can be.

    Raises:
        OptionsError: The other task returned nothing that items can come from.
    """
    items = unfolded(items)
    if is_reference(items):  # another scatter's results
        return ReaderSpec(reader="manifest", options={"uri": items["manifest"], "status": ["succeeded"]})
    if is_asset_reference(items):
        return ReaderSpec(reader="asset", options={"reference": items})
    if isinstance(items, dict) and items.keys() == {"reader", "options"}:
        return ReaderSpec(**items)
    if isinstance(items, str):
        return source(items)
    if isinstance(items, (list, tuple)):
        return ReaderSpec(reader="sequence", options={"items": list(items)})
    raise OptionsError(
        "items must become a list, the name of a configured source, a source, the output of a scatter or the reference "
        f"to an asset; the other task returned {type(items).__name__}: {items!r}"[:400]
    )


def unfolded(value: Any) -> Any:
    """The outputs of a mapped task as a list; anything else as it is."""
    # Iterating makes a request for each; a slice is one for all.
    return list(value[:]) if type(value).__name__ == "LazyXComSequence" else value
