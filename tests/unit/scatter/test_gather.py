from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.errors import ResultsError
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.scatter.batch import own_failure
from flowstone_provider.scatter.manifest import exceeded
from flowstone_provider.scatter.options import Batching, Tolerance
from flowstone_provider.scatter.view import ScatterResults
from tests.support.scatters import Scatter

TENS = Batching(max_items=10)


class Crash(BaseException):
    """What a dying process looks like from inside."""


def test_zero_items_succeed(tmp_path):
    scatter = Scatter(tmp_path, [])
    reference = scatter.gather()
    assert reference["verdict"] == "succeeded"
    assert reference["counts"] == {"total": 0, "succeeded": 0, "failed": 0, "pending": 0}


def test_batches_that_crashed_or_never_ran_count_against_the_tolerance(tmp_path):
    def function(item):
        if item == 15:
            raise Crash
        return item

    scatter = Scatter(tmp_path, list(range(30)), batching=TENS, tolerance=Tolerance(count=14))
    scatter.run(function, 0)
    with pytest.raises(Crash):
        scatter.run(function, 1)
    reference = scatter.gather()
    assert reference["counts"] == {"total": 30, "succeeded": 15, "failed": 0, "pending": 15}
    assert reference["verdict"] == "exceeded"
    assert [line["index"] for line in scatter.lines("pending")] == list(range(15, 30))
    assert [line["item"] for line in scatter.lines("pending")] == list(range(15, 30))


def test_the_message_of_an_exceeded_tolerance_has_counts_top_errors_and_the_manifest(tmp_path):
    def function(item):
        raise [ValueError(f"no {item}"), KeyError("temp"), TimeoutError("slow"), OSError("x")][min(3, item % 7)]

    scatter = Scatter(tmp_path, list(range(70)), batching=TENS, tolerance=Tolerance(percent=5), early_stop=False)
    scatter.run_all(function)
    r = scatter.gather()
    message = str(exceeded("scatter 'x'", r["counts"], r["errors"], Tolerance(percent=5), r["manifest"]))
    assert message.startswith(
        "scatter 'x': 70 of 70 items did not succeed (70 failed, 0 pending); the tolerance is 5 %"
    )
    assert "40 × OSError: x (item 3); 10 × ValueError: no # (item 0); 10 × KeyError: 'temp' (item 1)" in message
    assert message.endswith(f"manifest: file://{scatter.folder}/manifest.json")


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(0, 40),
    most=st.integers(1, 15),
    tries=st.lists(st.tuples(st.integers(0, 40), st.sets(st.integers(0, 39))), max_size=5),
)
def test_whatever_crashes_and_fails_every_item_has_one_outcome_and_no_success_runs_again(
    tmp_path_factory, total, most, tries
):
    scatter = Scatter(
        tmp_path_factory.mktemp("s"),
        list(range(total)),
        batching=Batching(max_items=most),
        tolerance=Tolerance.any(),
    )
    succeeded: Counter[int] = Counter()
    for crash_at, failing in [*tries, (total + 1, set())]:

        def function(item, crash_at=crash_at, failing=failing):
            if item == crash_at:
                raise Crash
            if item in failing:
                raise ValueError(item)
            succeeded[item] += 1
            return item

        for batch in scatter.plan().batches:
            try:
                scatter.run(function, batch.number)
            except Crash:
                pass
        reference = scatter.gather()
        every = Counter(line["index"] for kind in ("succeeded", "failed", "pending") for line in scatter.lines(kind))
        assert every == Counter(range(total))
        assert {line["index"] for line in scatter.lines("succeeded")} == set(succeeded)
        assert reference["counts"]["succeeded"] == len(succeeded)
    assert all(count == 1 for count in succeeded.values())
    assert reference["counts"]["succeeded"] == total


def test_early_stop_leaves_items_pending_and_a_redrive_runs_them(tmp_path):
    calls: list[int] = []

    def function(item):
        calls.append(item)
        if item < 5 and not mended:
            raise ValueError(item)

    mended = False
    scatter = Scatter(tmp_path, list(range(30)), batching=TENS, tolerance=Tolerance(count=2))
    summaries = scatter.run_all(function)
    assert own_failure(summaries[0], scatter.plan(), scatter.options) is not None
    assert [summary.pending for summary in summaries] == [0, 10, 10]
    assert scatter.ledger.cancelled() == "5 items failed, the tolerance is 2 items"
    assert scatter.gather()["verdict"] == "exceeded"

    mended = True
    calls.clear()
    assert [summary.pending for summary in scatter.run_all(function)] == [0, 0, 0]
    assert calls == [*range(5), *range(10, 30)]
    assert scatter.gather()["verdict"] == "succeeded"


def test_a_running_batch_stops_between_items_when_another_exceeds_the_tolerance(tmp_path):
    scatter = Scatter(tmp_path, list(range(20)), batching=TENS, tolerance=Tolerance(count=0))
    started, cancelled = threading.Event(), threading.Event()
    calls = []

    def slow(item):
        calls.append(item)
        started.set()
        assert cancelled.wait(20)
        time.sleep(0.05)

    running = threading.Thread(target=lambda: scatter.run(slow, 1, flush_seconds=0.02))
    running.start()
    assert started.wait(20)
    scatter.run(lambda item: 1 / 0, 0)
    cancelled.set()
    running.join(20)
    assert 1 <= len(calls) < 10
    counts = scatter.gather()["counts"]
    assert counts == {"total": 20, "succeeded": len(calls), "failed": 10, "pending": 10 - len(calls)}


def test_early_stop_can_be_turned_off(tmp_path):
    scatter = Scatter(tmp_path, list(range(30)), batching=TENS, early_stop=False)
    scatter.run_all(lambda item: 1 / 0)
    assert scatter.gather()["counts"]["failed"] == 30


def test_failures_within_the_tolerance_of_several_batches_add_up(tmp_path):
    scatter = Scatter(tmp_path, list(range(100)), batching=TENS, tolerance=Tolerance(count=5))
    summaries = scatter.run_all(lambda item: 1 / (item % 10))
    assert sum(summary.failed for summary in summaries) == 6
    assert sum(summary.pending for summary in summaries) == 40
    assert all(own_failure(summary, scatter.plan(), scatter.options) is None for summary in summaries)


def test_a_batch_that_another_operator_ran_takes_its_instances_state(tmp_path):
    scatter = Scatter(tmp_path, list(range(30)), batching=TENS, results=None)
    scatter.plan(read_now=True)
    reference = scatter.gather(succeeded_batches=frozenset({0, 2}))
    assert reference["counts"] == {"total": 30, "succeeded": 20, "failed": 0, "pending": 10}
    reference = scatter.gather(succeeded_batches=frozenset({0, 1, 2}))
    assert reference["counts"]["succeeded"] == 30
    reference = scatter.gather(succeeded_batches=frozenset({1}))  # the others were cleared, and failed this time
    assert reference["counts"]["succeeded"] == 10


def test_bad_records_are_failed_outcomes_with_file_and_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n1,2,3\n4,5\n")
    spec = ReaderSpec(reader="csv", options={"path": str(path), "bad_records": "fail"})
    scatter = Scatter(tmp_path / "ledger", spec, tolerance=Tolerance(count=1))
    calls = []
    scatter.run_all(calls.append)
    assert calls == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert scatter.gather()["counts"] == {"total": 3, "succeeded": 2, "failed": 1, "pending": 0}
    (failed,) = scatter.lines("failed")
    assert "a.csv" in failed["error"]["message"]
    assert "line 3" in failed["error"]["message"]
    assert failed["bad"]["raw"] == "1,2,3"


def test_redrive_across_runs_reads_what_did_not_succeed(tmp_path):
    def function(item):
        if item % 10 == 0:
            raise TimeoutError(f"item {item}")
        if item % 10 == 1:
            raise ValueError(f"item {item}")

    scatter = Scatter(tmp_path / "1", list(range(30)), batching=TENS, tolerance=Tolerance.any())
    for number in (0, 1):
        scatter.run(function, number)
    uri = scatter.gather()["manifest"]

    def items(**options):
        again = Scatter(tmp_path / str(next(names)), ReaderSpec(reader="manifest", options={"uri": uri, **options}))
        return [item for batch in again.batches() for item in batch]

    names = itertools.count(2)
    assert items() == [0, 1, 10, 11, *range(20, 30)]
    assert items(status=["failed"]) == [0, 1, 10, 11]
    assert items(status=["failed"], error="Timeout*") == [0, 10]


def view(scatter):
    return ScatterResults(scatter.gather(), LocalResources())


@pytest.mark.parquet
def test_the_view_is_lazy_and_complete(tmp_path):
    def function(item):
        if item == 3:
            raise ValueError("three")
        return {"n": item, "half": item / 2 if item % 2 else None}

    for results in ("jsonl", "parquet"):
        scatter = Scatter(
            tmp_path / results, list(range(25)), batching=TENS, results=results, tolerance=Tolerance(count=11)
        )
        for number in (0, 1):
            scatter.run(function, number)
        found = view(scatter)
        assert len(found) == 19
        assert [row["n"] for row in found] == [n for n in range(20) if n != 3]
        assert found.to_arrow().column("n").to_pylist() == [n for n in range(20) if n != 3]
        assert sum(batch.num_rows for batch in found.to_batches()) == 19
        assert [failure["item"] for failure in found.failures()] == [3]
        assert [pending["item"] for pending in found.pending()] == list(range(20, 25))
        assert found.errors() == [{"signature": "ValueError: three", "count": 1, "index": 3, "message": "three"}]


@pytest.mark.parquet
def test_parquet_files_of_differing_batches_are_one_table(tmp_path):
    rows = [{"a": 1}, {"a": 2.5}, {"a": None, "b": ["x"]}, {"b": []}, {"c": {"d": 1}}, {"c": {"d": None, "e": "y"}}]
    scatter = Scatter(tmp_path, rows, batching=Batching(max_items=1), results="parquet")
    scatter.run_all(lambda item: item)
    table = view(scatter).to_arrow()
    assert table.num_rows == 6
    assert table.column("a").to_pylist() == [1.0, 2.5, None, None, None, None]
    assert table.column("c").to_pylist()[-1] == {"d": None, "e": "y"}


@pytest.mark.parquet
def test_results_that_do_not_fit_parquet_are_an_error_that_loses_nothing(tmp_path):
    scatter = Scatter(tmp_path, [1, "two"], batching=TENS, results="parquet")
    with pytest.raises(ResultsError, match=r'do not fit one Parquet schema.*use results="jsonl"'):
        scatter.run(lambda item: {"v": item})
    calls = []
    mended = Scatter(tmp_path, [1, "two"], batching=TENS, results="jsonl")
    assert mended.run(calls.append).succeeded == 2
    assert calls == []


@pytest.mark.parquet
def test_a_gather_converts_what_batches_wrote_in_another_format(tmp_path):
    Scatter(tmp_path, range(20), batching=TENS, results="jsonl").run_all(lambda item: [{"n": item}])
    for options in ({"results": "parquet", "flatten": True}, {"results": "jsonl"}):
        changed = Scatter(tmp_path, range(20), batching=TENS, **options)
        found = list(view(changed))
        assert found == [{"n": n} if options.get("flatten") else [{"n": n}] for n in range(20)]


@pytest.mark.parquet
def test_plain_values_become_a_column_of_their_own(tmp_path):
    scatter = Scatter(tmp_path, [1, 2], results="parquet", batching=TENS)
    scatter.run(lambda item: item * 2)
    assert view(scatter).to_arrow().to_pylist() == [{"result": 2}, {"result": 4}]


@pytest.mark.parquet
def test_flattened_results_are_counted_apart_from_items(tmp_path):
    for results in ("jsonl", "parquet"):
        scatter = Scatter(tmp_path / results, [0, 1, 3], batching=TENS, flatten=True, results=results)
        scatter.run(lambda item: [{"n": n} for n in range(item)])
        found = view(scatter)
        assert found.counts["succeeded"] == 3
        assert len(found) == len(list(found)) == found.to_arrow().num_rows == 4
        spec = ReaderSpec(reader="manifest", options={"uri": found.uri, "status": ["succeeded"]})
        assert Scatter(tmp_path / f"{results}2", spec).plan().items == 4


@pytest.mark.parquet
def test_lists_that_are_all_empty_flatten_to_no_result(tmp_path):
    for results in ("jsonl", "parquet"):
        scatter = Scatter(tmp_path / results, [0, 1, 2], batching=Batching(max_items=2), flatten=True, results=results)
        scatter.run_all(lambda item: [{"n": item}] if item == 2 else [])
        found = view(scatter)
        assert found.counts["succeeded"] == 3
        assert list(found) == found.to_arrow().to_pylist() == [{"n": 2}]


@pytest.mark.parquet
def test_results_without_any_field_do_not_fit_parquet(tmp_path):
    scatter = Scatter(tmp_path, [0], results="parquet")
    with pytest.raises(ResultsError, match="objects without any field"):
        scatter.run(lambda item: {})


@pytest.mark.parquet
def test_a_result_named_result_stays_as_it_is(tmp_path):
    for results in ("jsonl", "parquet"):
        scatter = Scatter(tmp_path / results, [0], results=results)
        scatter.run(lambda item: {"result": {"x": 1}})
        assert list(view(scatter)) == [{"result": {"x": 1}}]
