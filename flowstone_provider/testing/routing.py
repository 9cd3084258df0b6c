"""The contract tests of a routing coordinator, for plugin authors.

::

    class TestMine(RoutingCoordinatorContract):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: MyCoordinator(UPath(str(tmp_path)))

``make`` gives a new object over the same storage each time, as another process would have.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from flowstone_provider.contracts.routing import Decision, RoutingCoordinator

DECISION = Decision(
    id="one",
    dag_id="a dag",
    run_id="manual__2026-01-01T00:00:00+00:00",
    router="group.route",
    map_index=-1,
    partition="eu|2026-01-01",
    selected="small",
    available=("large", "small"),
    input_hash="9f86d081",
    decided_at="2026-01-01T00:00:00+00:00",
)

Make = Callable[[], RoutingCoordinator]


def where(decision: Decision) -> tuple[str, str, str, int]:
    """What finds a decision again."""
    return decision.dag_id, decision.run_id, decision.router, decision.map_index


class RoutingCoordinatorContract:
    """What every routing coordinator must do; a subclass gives the fixture ``make``."""

    def test_a_router_that_decided_nothing_has_no_decision(self, make: Make) -> None:
        """Nor has a DAG that nobody knows."""
        assert make().find(*where(DECISION)) is None
        assert list(make().decisions("a dag")) == []
        assert list(make().decisions("a dag", "a run")) == []

    @pytest.mark.parametrize(
        "decision",
        [DECISION, replace(DECISION, partition=None, selected=None, input_hash=None, error="ValueError: no")],
        ids=["full", "empty"],
    )
    def test_a_decision_is_found_by_another_process_as_it_was(self, make: Make, decision: Decision) -> None:
        """Every field of it."""
        assert make().decide(decision) == decision
        assert make().find(*where(decision)) == decision

    def test_the_first_decision_stands(self, make: Make) -> None:
        """Whoever comes later gets the first one."""
        make().decide(DECISION)
        assert make().decide(replace(DECISION, id="two", selected="large")) == DECISION
        assert make().find(*where(DECISION)) == DECISION

    def test_of_writers_at_the_same_time_one_wins(self, make: Make) -> None:
        """And all of them are told which."""
        rivals = [replace(DECISION, id=str(n), selected=f"branch {n}") for n in range(16)]
        with ThreadPoolExecutor(len(rivals)) as pool:
            stands = set(pool.map(lambda rival: make().decide(rival), rivals))
        assert stands == {make().find(*where(DECISION))}

    def test_a_forgotten_decision_makes_room_for_another(self, make: Make) -> None:
        """And forgetting says whether there was one."""
        make().decide(DECISION)
        assert make().forget(*where(DECISION))
        assert make().find(*where(DECISION)) is None
        assert not make().forget(*where(DECISION))
        other = replace(DECISION, id="two", selected="large")
        assert make().decide(other) == other

    def test_decisions_are_listed_by_run_router_and_index(self, make: Make) -> None:
        """Of a DAG, or of one run."""
        mapped = [replace(DECISION, id=str(n), router="mapped", map_index=n) for n in (0, 2, 10)]
        later = replace(DECISION, id="later", run_id="manual__2026-01-02T00:00:00+00:00")
        elsewhere = replace(DECISION, id="elsewhere", dag_id="another dag")
        for decision in (elsewhere, later, *reversed(mapped), DECISION):
            make().decide(decision)
        assert list(make().decisions("a dag", DECISION.run_id)) == [DECISION, *mapped]
        assert list(make().decisions("a dag")) == [DECISION, *mapped, later]
        assert make().forget(*where(mapped[1]))
        assert list(make().decisions("a dag", DECISION.run_id)) == [DECISION, mapped[0], mapped[2]]

    @pytest.mark.parametrize("name", ["a.b", "a/b", "../x", "дата 1", "a~2Fb", "x" * 250])
    def test_strange_ids_are_told_apart(self, make: Make, name: str) -> None:
        """Dots, slashes, Unicode; as DAG, run and router."""
        alike = [
            replace(DECISION, dag_id=name),
            replace(DECISION, run_id=name),
            replace(DECISION, router=name),
            replace(DECISION, router=f"{name}.1"),
            replace(DECISION, router=name, map_index=1),
        ]
        for decision in alike:
            assert make().decide(decision) == decision
        assert [make().find(*where(decision)) for decision in alike] == alike
        assert list(make().decisions(name)) == [alike[0]]
        assert list(make().decisions("a dag", name)) == [alike[1]]
