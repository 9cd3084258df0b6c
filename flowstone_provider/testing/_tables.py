"""The part of an IO manager's suite that is about tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from flowstone_provider.contracts.io_manager import AssetKey, Kind
from flowstone_provider.errors import AssetNotFoundError, AssetReplacedError, ValueKindError


def plain(value: Any) -> Any:
    """A value for comparison."""
    return value.to_pylist() if hasattr(value, "to_pylist") else value


class TableTests:
    """Inherited by `IOManagerContract`."""

    kinds: ClassVar[tuple[Kind, ...]] = ("json", "bytes", "table")
    """What it keeps."""

    def value(self, number: int = 0) -> Any:
        """A value that the manager keeps; another for each number."""
        return self.table(number) if "table" in self.kinds else {"number": number}

    def table(self, number: int = 0, rows: int = 10) -> Any:
        """A table of three columns."""
        import pyarrow as pa

        numbers = list(range(number, number + rows))
        return pa.table({"n": numbers, "text": [f"row {n}" for n in numbers], "half": [n / 2 for n in numbers]})

    def test_a_table_is_given_as_what_is_asked_for(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        import pyarrow as pa

        key = AssetKey("numbers")
        one.store(key, self.table())
        expected = self.table().to_pylist()
        assert one.load(key, list) == expected
        assert one.load(key, pa.Table).to_pylist() == expected
        reader = one.load(key, pa.RecordBatchReader)
        assert isinstance(reader, pa.RecordBatchReader)
        assert reader.read_all().to_pylist() == expected
        batches = one.load(key, Iterator[pa.RecordBatch])
        assert [row for batch in batches for row in batch.to_pylist()] == expected
        with pytest.raises(ValueKindError, match="cannot be given as"):
            one.load(key, int)

    def test_a_table_is_stored_from_whatever_has_batches(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        key = AssetKey("numbers")
        table = self.table(rows=1_000)
        batches = table.to_batches(max_chunksize=64)
        for value in (table.to_reader(64), iter(batches), (batch for batch in batches)):
            assert one.store(key, value).rows == 1_000
            assert one.load(key).to_pylist() == table.to_pylist()
        assert one.store(key, batches[0]).rows == 64

    def test_columns_and_rows_are_selected(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        key = AssetKey("numbers")
        one.store(key, self.table(rows=100))
        loaded = one.load(key, columns=["text", "n"], where=[("n", ">=", 10), ("half", "<", 8.0)])
        assert loaded.column_names == ["text", "n"]
        assert loaded.column("n").to_pylist() == list(range(10, 16))
        assert one.load(key, list, columns=["n"], where=[("text", "in", ["row 3", "row 5"])]) == [{"n": 3}, {"n": 5}]
        assert one.load(key, where=[("n", "=", -1)]).num_rows == 0
        for selection in ({"columns": ["nothing"]}, {"where": [("nothing", "=", 1)]}, {"where": [("n", "like", 1)]}):
            with pytest.raises(ValueKindError):
                one.load(key, **selection)
        unclear: list[Any] = [
            ("n", "in", [1, None]),
            ("n", "=", None),
            ("text", "in", "AA"),
            ("half", "=", float("nan")),
        ]
        for condition in unclear:
            with pytest.raises(ValueKindError, match=f"the condition on '{condition[0]}'"):
                one.load(key, where=[condition])

    def test_what_is_no_number_meets_no_comparison(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        import pyarrow as pa

        key = AssetKey("numbers")
        try:
            one.store(key, pa.table({"x": [0.5, float("nan"), None, 1.5]}))
        except ValueKindError:  # it keeps no NaN
            return
        expected = {">": [1.5], ">=": [1.5], "<": [0.5], "<=": [0.5], "=": []}
        for operator, found in expected.items():
            assert one.load(key, where=[("x", operator, 1.0)]).column("x").to_pylist() == found, operator
        assert one.load(key, where=[("x", "in", [0.5])]).column("x").to_pylist() == [0.5]
        assert one.load(key, where=[("x", "!=", 0.5)]).num_rows == 2

    def test_partitions_are_loaded_as_one(self, one: Any) -> None:
        keys = [AssetKey("numbers", f"2026-0{month}") for month in (1, 2, 3)]
        for number, key in enumerate(keys):
            one.store(key, self.value(number * 10))
        loaded = one.load_many(keys)
        if "table" in self.kinds:
            assert loaded.column("n").to_pylist() == list(range(30))
        else:
            assert loaded == [self.value(0), self.value(10), self.value(20)]
        checksums = [one.receipt(key).checksum for key in keys]
        assert plain(one.load_many(keys, checksums=checksums)) == plain(loaded)
        with pytest.raises(AssetReplacedError, match="2026-03"):
            one.load_many(keys, checksums=[*checksums[:2], "sha256:another"])
        with pytest.raises(AssetNotFoundError, match="2026-04"):
            one.load_many([*keys, AssetKey("numbers", "2026-04")])

    def test_a_table_without_columns_is_refused(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        import pyarrow as pa

        with pytest.raises(ValueKindError, match="without columns"):
            one.store(AssetKey("empty"), pa.table({}))

    def test_a_changed_schema_is_noticed(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        import pyarrow as pa

        one.store(AssetKey("a", "1"), pa.table({"n": [1], "m": ["x"]}))
        one.store(AssetKey("a", "2"), pa.table({"n": ["text"], "m": ["y"]}))
        with pytest.raises(ValueKindError, match=r"partition 2.*n string.* instead of n int64"):
            one.load_many([AssetKey("a", "1"), AssetKey("a", "2")])
        assert one.load_many([AssetKey("a", "1"), AssetKey("a", "2")], list, columns=["m"]) == [{"m": "x"}, {"m": "y"}]
