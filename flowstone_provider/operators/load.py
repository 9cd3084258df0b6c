"""References in XCom become values again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowstone_provider.contracts.io_manager import Condition, is_asset_reference
from flowstone_provider.errors import ReferenceError
from flowstone_provider.hooks.annotations import type_name
from flowstone_provider.hooks.io_manager import load_reference, load_references
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.values import given_as
from flowstone_provider.operators.source import unfolded
from flowstone_provider.scatter.view import ScatterResults, is_reference


def load(
    reference: Any, as_type: Any = None, *, columns: Sequence[str] | None = None, where: Sequence[Condition] = ()
) -> Any:
    """The value that a reference stands for.

    Args:
        reference: The small dict that a task returned which stored an asset, or that a scatter returned; or a list of
            those of assets, e.g. the outputs of a mapped task.
        as_type: The type asked for. By default that of an asset is a JSON value, bytes or a ``pyarrow.Table``, that of
            a scatter a lazy view over its results, `ScatterResults`. Of a list of references, a type of tables gives
            one table of all, anything else a list of their values (``list[pyarrow.Table]``: each as such).
        columns: Of an asset that is a table, only these.
        where: Of an asset that is a table, only the rows that meet all of these conditions, each
            ``(column, operator, value)`` with an operator of ``= != < <= > >= in``.

    Raises:
        ReferenceError: It is no such reference, or one of another version.
        AssetNotFoundError: The asset is deleted.
        AssetReplacedError: The asset was replaced since.
        ValueKindError: It is not given in this type.
    """
    if is_reference(reference):
        if columns is not None or where:
            raise ReferenceError(
                "columns and where select from an asset; of the results of a scatter take them from the view"
            )
        return _results(ScatterResults(reference, AirflowResources()), as_type)
    if isinstance(reference, dict):
        return load_reference(reference, as_type, columns=columns, where=where)
    references = references_in(reference)
    if not references:
        raise ReferenceError(
            "no reference to an asset or a scatter, nor a list of those, but a value of type "
            f"{type(reference).__qualname__}"
        )
    return load_references(references, as_type, columns=columns, where=where)


def references_in(value: Any) -> list[dict[str, Any]]:
    """The references that a task's argument is: one, or a list of those of assets; empty when it is anything else."""
    if is_reference(value) or is_asset_reference(value):
        return [value]
    value = unfolded(value)
    if isinstance(value, (list, tuple)) and all(map(is_asset_reference, value)):
        return list(value)
    return []


def _results(view: ScatterResults, as_type: Any) -> Any:
    name = type_name(as_type)
    if name in ("", "ScatterResults"):
        return view
    if name == "list":
        return list(view)
    if name == "Iterator":
        return view.to_batches()
    return given_as(view.to_arrow().to_reader(), as_type)
