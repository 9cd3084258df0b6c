"""The lazy view over what a scatter left: results, failures, errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

import orjson

from flowstone_provider import registry
from flowstone_provider.contracts.item_reader import Json, ReaderSpec, Resources
from flowstone_provider.errors import FlowstoneError, MissingExtraError, ResultsError
from flowstone_provider.scatter.manifest import REFERENCE_KEY

# Rows of a record batch when results are turned into Arrow.
_ROWS = 65_536


def is_reference(value: object) -> bool:
    """Whether a value is the result reference of a scatter."""
    return isinstance(value, dict) and value.get(REFERENCE_KEY) == "scatter"


class ScatterResults:
    """What a scatter left, read when asked for and never kept whole.

    Iterating yields the results batch after batch, within a batch in the order of its items: that of the source, unless
    `group_by` brought items together.

    Args:
        reference: The result reference: what the scatter returned.
        resources: Opens paths.

    Raises:
        FlowstoneError: The reference is none of a scatter.
    """

    def __init__(self, reference: dict[str, Any], resources: Resources) -> None:
        if not is_reference(reference):
            raise FlowstoneError(f"not the result of a scatter: {reference!r}"[:300])
        self.reference = reference
        self._resources = resources

    def __repr__(self) -> str:
        return f"<results of {self.uri}: {self.counts}>"

    @property
    def uri(self) -> str:
        """Where the manifest lies."""
        return str(self.reference["manifest"])

    @property
    def counts(self) -> dict[str, int]:
        """Items in ``total``, ``succeeded``, ``failed`` and ``pending``."""
        return dict(self.reference["counts"])

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        loaded: dict[str, Any] = orjson.loads(self._path.read_bytes())
        return loaded

    def __len__(self) -> int:
        return sum(file["rows"] for file in self._files("succeeded"))

    def __iter__(self) -> Iterator[Json]:
        if not self.reference["results"]:
            raise FlowstoneError(f"{self.uri} has no results to read: the scatter was run with results=None")
        spec = ReaderSpec(reader="manifest", options={"uri": self.uri, "status": ["succeeded"]})
        reader = registry.create_reader(spec, self._resources)
        try:
            for page in reader.pages():
                yield from page.items
        finally:
            reader.close()

    def failures(self) -> Iterator[dict[str, Any]]:
        """The outcomes of failed items: ``index``, ``item``, ``source``, ``error``, ``attempts``, ``duration``."""
        yield from self._lines("failed")

    def pending(self) -> Iterator[dict[str, Any]]:
        """The items that were never finished: ``index``, ``item``, ``source``."""
        yield from self._lines("pending")

    def errors(self) -> list[dict[str, Any]]:
        """Errors by signature, the most frequent first: ``signature``, ``count``, ``index``, ``message``.

        ``index`` and ``message`` are those of the first item that failed so.
        """
        return list(self.manifest["errors"])

    def to_arrow(self) -> Any:
        """All results as one Arrow table, in memory.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        pa = _arrow()
        if self.reference["results"] == "parquet" and self._files("succeeded"):
            return self._dataset().to_table()
        tables = [pa.Table.from_batches([batch]) for batch in self.to_batches()]
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})

    def to_batches(self) -> Iterator[Any]:
        """The results as Arrow record batches, one after the other.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        pa = _arrow()
        if self.reference["results"] == "parquet":
            if self._files("succeeded"):
                yield from self._dataset().to_batches()
            return
        rows = iter(self)
        while chunk := list(islice(rows, _ROWS)):
            objects = [row if isinstance(row, dict) else {"result": row} for row in chunk]
            keys = dict.fromkeys(key for row in objects for key in row)
            yield from pa.Table.from_pylist([{**dict.fromkeys(keys), **objects[0]}, *objects[1:]]).to_batches()

    def _dataset(self) -> Any:
        pa = _arrow()
        import pyarrow.dataset
        import pyarrow.parquet

        paths = [self._path.parent / file["name"] for file in self._files("succeeded")]
        filesystem = paths[0].fs
        names = [path.path for path in paths]
        # Batches infer their schemas apart: one may have whole numbers where another has fractions.
        schemas = [pyarrow.parquet.read_schema(name, filesystem=filesystem) for name in names]
        with as_one_table():
            schema = pa.unify_schemas(schemas, promote_options="permissive")
        return pyarrow.dataset.dataset(names, schema=schema, format="parquet", filesystem=filesystem)

    def _files(self, kind: str) -> list[dict[str, Any]]:
        files: list[dict[str, Any]] = self.manifest["files"][kind]
        return files

    def _lines(self, kind: str) -> Iterator[dict[str, Any]]:
        for file in self._files(kind):
            with (self._path.parent / file["name"]).open("rb") as lines:
                yield from map(orjson.loads, lines)

    @cached_property
    def _path(self) -> Any:
        return self._resources.path(self.uri)


@contextmanager
def as_one_table() -> Iterator[None]:
    """Say what it means when pyarrow finds no columns for all rows.

    Raises:
        ResultsError: It finds none.
    """
    pa = _arrow()
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise ResultsError(
            f"the results do not fit the columns of one table: {error}; let the function return the same types for "
            "every item"
        ) from error


def _arrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError(
            'results as Arrow need pyarrow: pip install "airflow-provider-flowstone[parquet]"'
        ) from None
    return pa
