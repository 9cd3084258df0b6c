"""The suite that every IO manager must pass."""

# ruff: noqa: D102  (tests assert, and their names say what they are about)

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import count
from typing import Any, ClassVar

import pytest

from flowstone_provider.contracts.io_manager import AssetKey, IOManager, StoredAsset
from flowstone_provider.contracts.partition import canonical
from flowstone_provider.errors import AssetError, AssetNotFoundError, AssetReplacedError, OptionsError, ValueKindError
from flowstone_provider.testing._tables import TableTests, plain

_PARTITIONS: list[Any] = [
    "eu",
    "EU",
    "a/b",
    "a~2Fb",
    "Grüße 🌍",
    "..",
    "x" * 250,
    date(2026, 1, 15),
    datetime(2026, 1, 15, 9, 30, tzinfo=timezone.utc),
    ("eu", date(2026, 1, 15)),
    ("a|b", "c"),
]


class IOManagerContract(TableTests):
    r"""Pytest runs it for each subclass in a test module that says how to make the manager.

    ::

        class TestMine(IOManagerContract):
            manager = MyIOManager

            @pytest.fixture
            def options(self, tmp_path):
                return {"path": str(tmp_path)}

    Each test has options of its own, with which it may make several managers: they share what is stored.
    """

    manager: ClassVar[type[Any]]
    """The class to test."""

    across_processes: ClassVar[bool] = True
    """Whether another process finds what this one stored."""

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """The options of a manager that has nothing stored."""
        raise NotImplementedError

    @pytest.fixture
    def one(self, options: dict[str, Any]) -> IOManager:
        """A manager."""
        return self.make(options)

    def make(self, options: dict[str, Any]) -> Any:
        """Another manager over the same values."""
        return self.manager(**options)

    # Values

    def test_what_is_stored_is_loaded(self, one: Any, options: dict[str, Any]) -> None:
        key = AssetKey("flights/enriched", "eu")
        for value in (self.value(), self.value(7)):
            receipt = one.store(key, value)
            assert isinstance(receipt, StoredAsset)
            assert plain(self.make(options).load(key)) == plain(value)
            assert self.make(options).receipt(key) == receipt
            assert receipt.kind in self.kinds

    def test_every_kind_comes_back_as_it_was(self, one: Any) -> None:
        import pyarrow as pa

        values: dict[str, list[Any]] = {
            "json": [{"a": [1, 2.5, None, True, "ü"]}, [1, 2], "text", 7, None, {}, []],
            "bytes": [b"", b"\x00\xff" * 100_000],
            "table": [self.table(), self.table(rows=0), pa.table({"only": pa.array([None, None], pa.string())})],
        }
        for kind in self.kinds:
            for value in values[kind]:
                receipt = one.store(AssetKey("kinds"), value)
                assert receipt.kind == kind
                loaded = one.load(AssetKey("kinds"))
                assert type(loaded) is type(value)
                assert plain(loaded) == plain(value)

    def test_a_receipt_tells_what_is_stored(self, one: Any) -> None:
        key = AssetKey("numbers")
        receipt = one.store(key, self.value())
        assert receipt.uri.startswith(one.uri(key).partition("?")[0].rstrip("/"))
        assert receipt.bytes > 0
        assert ":" in receipt.checksum
        stored_at = datetime.fromisoformat(receipt.stored_at)
        assert abs(datetime.now(timezone.utc) - stored_at) < timedelta(minutes=5)
        if receipt.kind == "table":
            assert receipt.rows == 10
            assert list(receipt.schema or {}) == ["n", "text", "half"]
        assert json.loads(json.dumps(receipt.dump())) == receipt.dump()

    def test_another_content_has_another_checksum(self, one: Any) -> None:
        key = AssetKey("numbers")
        first = one.store(key, self.value())
        second = one.store(key, self.value(1))
        assert first.checksum != second.checksum
        assert plain(one.load(key, checksum=second.checksum)) == plain(self.value(1))
        with pytest.raises(AssetReplacedError, match="numbers"):
            one.load(key, checksum=first.checksum)

    def test_what_cannot_be_stored_is_refused_and_says_what_can(self, one: Any) -> None:
        key = AssetKey("strange")
        one.store(key, self.value())
        no_json: list[Any] = [{"a": object()}, {"a": float("nan")}, {"a": date(2026, 1, 15)}, {"a": {1, 2}}]
        for value in (object(), {1, 2}, *no_json, iter([1, 2]), iter([])):
            with pytest.raises(ValueKindError):
                one.store(key, value)
        assert plain(one.load(key)) == plain(self.value()), "the old value is still there"

    # Keys

    def test_what_was_never_stored_is_an_error_that_names_what_there_is(self, one: Any) -> None:
        assert one.receipt(AssetKey("nothing")) is None
        assert not one.exists(AssetKey("nothing", "eu"))
        with pytest.raises(AssetNotFoundError, match="nothing"):
            one.load(AssetKey("nothing"))
        one.store(AssetKey("something", "eu"), self.value())
        with pytest.raises(AssetNotFoundError, match=r"something, partition us.*eu"):
            one.load(AssetKey("something", "us"))

    def test_every_partition_has_a_value_of_its_own(self, one: Any) -> None:
        for number, partition in enumerate(_PARTITIONS):
            one.store(AssetKey("many", partition), self.value(number))
        for number, partition in enumerate(_PARTITIONS):
            assert plain(one.load(AssetKey("many", partition))) == plain(self.value(number)), partition
        found = list(one.list_partitions("many"))
        assert len(found) == len(_PARTITIONS)
        assert set(found) == {canonical(partition) for partition in _PARTITIONS}

    def test_assets_do_not_get_in_each_others_way(self, one: Any) -> None:
        keys = [
            AssetKey("a"),
            AssetKey("a", "b"),
            AssetKey("a/b"),
            AssetKey("a/b", "c"),
            AssetKey("ab"),
            AssetKey("Grüße/名前", "é"),
            AssetKey("/".join(["x" * 49] * 5)),
            AssetKey("x" * 250),
            AssetKey("ü" * 127),
        ]
        for number, key in enumerate(keys):
            one.store(key, self.value(number))
        for number, key in enumerate(keys):
            assert plain(one.load(key)) == plain(self.value(number)), key
        assert list(one.list_assets()) == sorted({key.asset for key in keys})
        assert list(one.list_partitions("a")) == ["b"]
        assert list(one.list_partitions("ab")) == []

    def test_names_that_files_cannot_have_are_refused(self) -> None:
        for name in ("ü" * 128, "a/receipt.json", "a/_receipt.json/b", "a//b", "..", ".hidden", "a b", "x" * 251):
            with pytest.raises(AssetError, match="is no name of an asset"):
                AssetKey(name)

    def test_delete_really_deletes_and_only_that(self, one: Any, options: dict[str, Any]) -> None:
        kept, gone = AssetKey("a", "kept"), AssetKey("a", "gone")
        for key in (kept, gone, AssetKey("a")):
            one.store(key, self.value())
        one.delete(gone)
        one.delete(gone)
        one.delete(AssetKey("never", "there"))
        other = self.make(options)
        assert not other.exists(gone)
        with pytest.raises(AssetNotFoundError):
            other.load(gone)
        assert list(other.list_partitions("a")) == ["kept"]
        assert other.exists(kept)
        assert other.exists(AssetKey("a"))
        one.delete(AssetKey("a"))
        assert other.exists(kept), "the partitions are values of their own"

    # Whole or not at all

    def test_a_source_that_fails_leaves_the_old_value(self, one: Any) -> None:
        if "table" not in self.kinds:
            return
        key = AssetKey("numbers", "eu")
        one.store(key, self.table())

        def fails(error: Exception) -> Iterator[Any]:
            yield from self.table(50, rows=1_000).to_batches(max_chunksize=10)
            raise error

        # That of a network is an OSError, and no error of the storage.
        for error in (RuntimeError("the source broke"), ConnectionError("the source broke")):
            with pytest.raises(type(error), match=r"^the source broke$"):
                one.store(key, fails(error))
            assert one.load(key).to_pylist() == self.table().to_pylist()
        with pytest.raises(RuntimeError, match="the source broke"):
            one.store(AssetKey("fresh"), fails(RuntimeError("the source broke")))
        assert not one.exists(AssetKey("fresh"))

    def test_a_writer_that_is_killed_leaves_the_old_value(self, one: Any, options: dict[str, Any]) -> None:
        if "table" not in self.kinds or not self.across_processes:
            return
        key = AssetKey("numbers", "eu")
        one.store(key, self.table())
        spawn = multiprocessing.get_context("spawn")
        begun = spawn.Event()
        writer = spawn.Process(target=_write_for_ever, args=(self.manager, options, key, begun))
        writer.start()
        assert begun.wait(60)
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        other = self.make(options)
        assert other.load(key).to_pylist() == self.table().to_pylist()
        other.store(key, self.table(3))
        assert other.load(key).to_pylist() == self.table(3).to_pylist()
        other.clean(datetime.now(timezone.utc) + timedelta(hours=1))
        assert other.load(key).to_pylist() == self.table(3).to_pylist()

    def test_two_writers_leave_the_value_of_one(self, options: dict[str, Any]) -> None:
        key = AssetKey("numbers", "eu")
        start = threading.Barrier(2)
        problems: list[BaseException] = []

        def write(number: int) -> None:
            try:
                manager = self.make(options)
                start.wait()
                for _ in range(5):
                    manager.store(key, self.value(number))
            except BaseException as error:  # noqa: BLE001  (shown below)
                problems.append(error)

        writers = [threading.Thread(target=write, args=(number,)) for number in (0, 100)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert problems == []
        assert plain(self.make(options).load(key)) in (plain(self.value(0)), plain(self.value(100)))

    # The manager itself

    def test_a_misspelt_option_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(OptionsError, match="no option 'pathx'"):
            self.make({**options, "pathx": 1})

    def test_errors_pickle(self, one: Any) -> None:
        with pytest.raises(AssetNotFoundError) as caught:
            one.load(AssetKey("nothing"))
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def _write_for_ever(manager: Any, options: dict[str, Any], key: AssetKey, begun: Any) -> None:
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        # 16 MB each: after a dozen of them, the manager has written something.
        for number in count():
            yield pa.record_batch({"n": [number] * 2_000, "text": ["x" * 8_000] * 2_000, "half": [0.5] * 2_000})
            if number == 12:
                begun.set()

    manager(**options).store(key, batches())
