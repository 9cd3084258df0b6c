"""The trigger of a join that waits for branches."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from flowstone_provider import registry
from flowstone_provider.contracts.parallel import ParallelCoordinator
from flowstone_provider.errors import UnknownNameError
from flowstone_provider.testing.parallel import a_branch, a_group
from flowstone_provider.triggers import parallel
from flowstone_provider.triggers.parallel import ParallelTrigger


class Third(ParallelCoordinator):
    """Is ready when it is asked for the third time."""

    asked = 0

    def ready(self):
        Third.asked += 1
        return Third.asked == 3

    def outcomes(self):
        raise NotImplementedError


@pytest.fixture
def third():
    registry.parallel_coordinators.register("third", Third)
    Third.asked = 0
    yield "third"
    registry.parallel_coordinators.unregister("third")


async def first_event(trigger):
    return (await anext(trigger.run())).payload


def test_it_fires_when_the_coordinator_is_ready_and_tells_when_the_group_started(third, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(parallel.asyncio, "sleep", pause)
    group = a_group(a_branch("a"))
    assert asyncio.run(first_event(ParallelTrigger(third, group.dump()))) == {"started": group.started}
    assert pauses == [1.0, 1.5]


def test_it_looks_at_the_time_of_each_timeout():
    group = a_group(a_branch("a", timeout=1), a_branch("b", timeout=100), a_branch("c", timeout=50), a_branch("d"))
    assert parallel._until_next_timeout(replace(group, started=time.time() - 10)) == pytest.approx(40, abs=1)
    assert parallel._until_next_timeout(replace(group, started=time.time() - 200)) == float("inf")


def test_it_is_the_same_after_its_way_through_the_database():
    path, options = ParallelTrigger("airflow", a_group(a_branch("a", timeout=1.5)).dump()).serialize()
    assert path == f"{ParallelTrigger.__module__}.{ParallelTrigger.__qualname__}"
    assert ParallelTrigger(**options).serialize() == (path, options)


def test_a_coordinator_that_is_not_installed_is_named():
    with pytest.raises(UnknownNameError, match="no parallel coordinator 'airflo'; did you mean 'airflow'"):
        asyncio.run(first_event(ParallelTrigger("airflo", a_group(a_branch("a")).dump())))
