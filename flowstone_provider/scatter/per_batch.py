"""``per="batch"``: one call of the function gets all items of the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from flowstone_provider.contracts.item_reader import Json
from flowstone_provider.errors import ItemError, MissingExtraError
from flowstone_provider.scatter.outcomes import bad_line
from flowstone_provider.scatter.runner import Runner


class BatchRunner(Runner):
    """A runner whose function gets what is left of the batch in one call, and whose outcome is each item's.

    The function returns a list (or an Arrow table) with one result for each item, or nothing. When it raises, all
    items failed, and all are tried again. Records that could not be read fail by themselves and are not given to it.
    """

    def run(self, lines: Iterable[bytes]) -> None:
        """See `Runner.run`."""
        members = []
        for line in lines:
            record = orjson.loads(line)
            if "bad" in record:
                self._recorder.add_failed(bad_line(record))
            else:
                members.append(line)
        if not members:
            return
        if self._pace is not None:
            self._pace = self._pace.slower(len(members))
        super().run([b"".join(members)])

    def _parse(self, line: bytes) -> dict[str, Any]:
        members = [orjson.loads(each) for each in line.splitlines()]
        items = [record["item"] for record in members]
        argument = _arrow().Table.from_pylist(items) if wants_table(self._function) else items
        return {**members[0], "item": argument, "members": members}

    def _outcome_of(self) -> Callable[[dict[str, Any], int], bytes]:
        return lambda record, attempt: self._line(record, self._call(record, attempt))

    def _line(self, record: dict[str, Any], result: Any) -> bytes:
        members = record["members"]
        lines = [
            super(BatchRunner, self)._line(*pair) for pair in zip(members, _results(result, len(members)), strict=True)
        ]
        for line in lines[:-1]:
            self._recorder.add(line)
        return lines[-1]

    def _fail(self, record: dict[str, Any], error: BaseException, attempts: int, started: float) -> None:
        for member in record["members"]:
            super()._fail(member, error, attempts, started)


def _results(result: Any, items: int) -> list[Json]:
    if result is None:
        return [None] * items
    if type(result).__module__.startswith("pyarrow") and hasattr(result, "to_pylist"):
        result = result.to_pylist()
    if not isinstance(result, (list, tuple)):
        raise ItemError(
            f'with per="batch" the function returns a list with one result for each item, or None, not '
            f"{type(result).__name__}"
        )
    if len(result) != items:
        raise ItemError(f'with per="batch" the function returned {len(result)} results for {items} items')
    return list(result)


def wants_table(function: Callable[..., Any]) -> bool:
    """Whether the first parameter of a function is annotated as an Arrow table."""
    parameters = list(inspect.signature(function).parameters.values())
    annotation = parameters[0].annotation if parameters else None
    if isinstance(annotation, str):
        return annotation.strip("'\"") in ("pyarrow.Table", "pa.Table")
    return getattr(annotation, "__name__", "") == "Table" and annotation.__module__.startswith("pyarrow")


def _arrow() -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError(
            'a batch as an Arrow table needs pyarrow: pip install "airflow-provider-flowstone[parquet]"'
        ) from None
    return pa
