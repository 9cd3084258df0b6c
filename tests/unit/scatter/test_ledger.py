from __future__ import annotations

from collections import deque

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone_provider.contracts.scatter import Barrier
from flowstone_provider.errors import LedgerError, StorageError
from flowstone_provider.folders import segment
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.ledger import LedgerCoordinator
from flowstone_provider.scatter.options import Batching, Tolerance
from flowstone_provider.scatter.recorder import Recorder
from flowstone_provider.scatter.view import ScatterResults
from tests.support.scatters import BARRIER, Scatter

TENS = Batching(max_items=10)


class Crash(BaseException):
    """What a dying process looks like from inside."""


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_ids_become_folders_that_are_safe_and_never_equal(one, two):
    name = segment(one)
    assert len(name.encode()) <= 180
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=-~")
    assert not name.startswith(".")
    assert (name == segment(two)) == (one == two)


@pytest.mark.parametrize("run_id", ["manual__2026-01-01T00:00:00+00:00", "a/b c", "../..", "дата", "r" * 250, "~7E"])
def test_strange_ids_make_a_working_scatter(tmp_path, run_id):
    from upath import UPath

    barrier = Barrier("d/ü :", run_id, "group one.two")
    ledger = LedgerCoordinator(UPath(str(tmp_path)))
    ledger.open(barrier)
    ledger.add_batch(0, [b"x\n"])
    assert list(ledger.lines(0)) == [b"x\n"]
    assert len(list(tmp_path.rglob("00000.jsonl"))) == 1


def test_a_lost_plan_file_is_an_error_that_names_it(tmp_path):
    scatter = Scatter(tmp_path, list(range(20)), batching=TENS)
    scatter.plan()
    (scatter.folder / "plan" / "00001.jsonl").unlink()
    with pytest.raises(LedgerError, match=r"items of batch 1 are gone.*00001\.jsonl"):
        scatter.run(lambda item: item, 1)


def test_a_plan_file_cut_short_is_an_error(tmp_path):
    scatter = Scatter(tmp_path, list(range(20)), batching=TENS)
    scatter.plan()
    path = scatter.folder / "plan" / "00001.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(LedgerError, match=r"batch 1 of .* has 4 items, but 10 were planned"):
        scatter.run(lambda item: item, 1)


def test_storage_that_cannot_be_written_is_an_error_with_the_place(tmp_path):
    (tmp_path / "ledger").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"cannot (write|read) .*\[flowstone\] storage"):
        Scatter(tmp_path / "ledger", [1]).plan()


def test_a_part_is_visible_whole_or_not_at_all(tmp_path, mocker):
    scatter = Scatter(tmp_path, list(range(10)), batching=TENS)
    scatter.plan()
    mocker.patch("os.fsync", side_effect=Crash)
    with pytest.raises(Crash):
        scatter.run(lambda item: item)
    assert not list((scatter.folder / "outcomes").rglob("*.jsonl"))
    assert not list((scatter.folder / "plan").glob(".*"))


def test_outcomes_of_two_processes_that_run_the_same_try_do_not_collide(tmp_path):
    scatter = Scatter(tmp_path, [0, 1], batching=TENS)
    scatter.plan()
    one, two = scatter.ledger, scatter.ledger
    first, second = one.begin(0), two.begin(0)
    one.record(0, first, [b'{"index":0,"status":"succeeded","result":1}\n'], 0)
    two.record(0, second, [b'{"index":1,"status":"succeeded","result":2}\n'], 0)
    assert {orjson.loads(line)["index"] for line in scatter.ledger.outcomes(0)} == {0, 1}


def test_status_counts_running_and_closed_batches(tmp_path):
    scatter = Scatter(tmp_path, list(range(30)), batching=TENS, tolerance=Tolerance.any())
    scatter.run(lambda item: 1 / item, 0)
    ledger = scatter.ledger
    ledger.record(1, ledger.begin(1), [b'{"index":10,"status":"succeeded"}\n'], 0)
    status = scatter.ledger.status()
    assert (status.sealed, status.batches, status.items, status.succeeded, status.failed) == (True, 3, 30, 10, 1)


def test_memory_as_storage(tmp_path):
    from upath import UPath

    scatter = Scatter(tmp_path, list(range(30)), batching=TENS)
    scatter.storage = UPath(f"memory://{tmp_path.name}")
    scatter.run_all(lambda item: item)
    reference = scatter.gather()
    assert reference["counts"]["succeeded"] == 30
    assert list(ScatterResults(reference, LocalResources())) == list(range(30))
    assert reference["manifest"].startswith("memory://")
    assert BARRIER.dag_id in reference["manifest"]


def test_a_process_taken_for_dead_that_goes_on_leaves_one_result_for_each_item(tmp_path):
    scatter = Scatter(tmp_path, [0, 1], batching=TENS)
    scatter.plan()

    def function(item):
        if item == 1:  # meanwhile, in the other process
            other = scatter.ledger
            other.record(0, other.begin(0), [b'{"index":0,"status":"succeeded","result":"other"}\n'], 0)
        return "ours"

    scatter.run(function)
    assert [line["index"] for line in scatter.outcomes("succeeded")] == [0, 1]


def test_a_failure_that_comes_while_a_part_is_written_is_counted_with_it(tmp_path):
    class Late(deque):
        """A failure arrives just when the writer looks how much there is."""

        came = False

        def __len__(self):
            if not self.came:
                self.came = True
                recorder.add_failed(b'{"index":0,"status":"failed"}\n')
            return super().__len__()

    scatter = Scatter(tmp_path, [0], batching=TENS)
    scatter.plan()
    recorder = Recorder(scatter.ledger, 0)
    recorder._lines = Late()
    recorder.add = recorder._lines.append
    recorder.flush()
    assert (recorder.done, recorder.failed) == (1, 1)
