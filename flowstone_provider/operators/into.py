"""``@task.scatter(into=…)``: the results of a scatter as an asset."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from pydantic import Field

from flowstone_provider.contracts.io_manager import make_reference
from flowstone_provider.contracts.options import Options
from flowstone_provider.errors import OptionsError, ResultsError
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.hooks.values import arrow
from flowstone_provider.operators._asset import announce, announce_deleted, asset_key, check_asset, outlets_of
from flowstone_provider.registry import create_io_manager
from flowstone_provider.scatter.view import ScatterResults, as_one_table

log = logging.getLogger(__name__)

# Rows of a record batch.
_ROWS = 16_384


class Into(Options):
    """Where the results of a scatter are stored once it is within its tolerance: as an asset, a table.

    The function returns rows: dicts, or with ``flatten=True`` lists of dicts.
    """

    title: ClassVar[str] = "into"

    asset: str = Field(description="The asset's name.")
    io_manager: str = Field(default="file", description="The name of the IO manager that keeps it.")
    partition: Any = Field(
        default=None,
        description="Which partition the results are: a text, a date, an aware datetime, or a tuple of those; by "
        "default the run's partition key, if the run has one.",
    )


def into_at_parse(into: Into | Mapping[str, Any], results: str | None) -> dict[str, Any]:
    """The option as something that Airflow renders and serialises.

    Raises:
        OptionsError: A misspelt option, or the scatter keeps no results.
        UnknownNameError: No IO manager has this name.
        AssetError: No name of an asset, or no partition.
    """
    target = into if isinstance(into, Into) else Into(**into)
    check_asset(target.asset, target.io_manager, target.partition)
    if results is None:
        raise OptionsError("into=… stores the results as an asset, and results=None keeps none: leave one of them out")
    # Without those that are not given: a partition that is rendered to nothing is an error.
    return {name: value for name, value in target.dump().items() if value is not None}


def store_results(
    into: Mapping[str, Any], reference: dict[str, Any], context: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Store the results of a scatter; the reference to the asset.

    ``None`` when there are no results: nothing tells which columns a table of them would have. What the asset had
    before is deleted then, and the event says so.

    Args:
        into: Rendered; see `Into`.
        reference: The scatter's.
        context: The task's.

    Raises:
        ResultsError: The results are no rows, or their columns have several types.
    """
    target = Into(**into)
    key = asset_key(target.asset, target.partition, context, given="partition" in into)
    manager = create_io_manager(target.io_manager)
    batches = _batches(ScatterResults(reference, AirflowResources()))
    if batches is None:
        manager.delete(key)
        announce_deleted(context, outlets_of(target.asset, target.io_manager), key)
        log.warning("the scatter has no results: %s has no value now", key)
        return None
    stored = make_reference(key, target.io_manager, manager.store(key, batches))
    announce(context, outlets_of(target.asset, target.io_manager), stored, [reference])
    return stored


def _batches(view: ScatterResults) -> Any:
    """The results as a stream of record batches of one schema; ``None`` when there are none."""
    if not len(view):
        return None
    if view.reference["results"] == "parquet":
        return view.to_batches()
    pa = arrow()
    schema = pa.schema([])
    with as_one_table():
        # The first results may have only nulls where later ones have numbers: the columns are those of all.
        for table in _tables(view):
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
    if not schema.names:
        raise ResultsError("into=… stores results that have fields, and these have none")
    return pa.RecordBatchReader.from_batches(schema, (b for table in _tables(view, schema) for b in table.to_batches()))


def _tables(view: ScatterResults, schema: Any = None) -> Iterator[Any]:
    pa = arrow()
    results = iter(view)
    while rows := list(islice(results, _ROWS)):
        for row in rows:
            if not isinstance(row, dict):
                raise ResultsError(
                    f"into=… stores rows, which are dicts; the function returned a value of type {type(row).__name__}"
                )
        if schema is None:
            # pyarrow takes the columns from the first row only.
            rows[0] = {**dict.fromkeys(name for row in rows for name in row), **rows[0]}
        yield pa.Table.from_pylist(rows, schema=schema)
