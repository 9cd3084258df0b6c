"""The event catalogue and the way events reach the emitters.

`EVENTS` is the one table of events: name -> what it means, its measurements, its metadata. Emitting anything that is
not in it is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NamedTuple

from flowstone_provider import config
from flowstone_provider.contracts.telemetry import Emitter

log = logging.getLogger(__name__)

_SCATTER = ("dag_id", "run_id", "scatter_id")
_ASSET = ("io_manager", "asset", "partition")
_TASK = ("dag_id", "run_id", "task_id")


class Event(NamedTuple):
    """One row of the catalogue."""

    meaning: str
    measurements: tuple[str, ...]
    metadata: tuple[str, ...]


EVENTS: dict[str, Event] = {
    "flowstone.approval.ask": Event("Somebody is asked to approve.", (), _TASK),
    "flowstone.approval.decide": Event(
        "An approval was given or refused, or nobody answered.", ("seconds",), (*_TASK, "verdict")
    ),
    "flowstone.asset.load": Event("A value was loaded.", ("bytes", "rows"), _ASSET),
    "flowstone.asset.store": Event("A value was stored.", ("bytes", "rows", "seconds"), _ASSET),
    "flowstone.gate.open": Event("A task waits for a signal.", ("timeout",), (*_TASK, "map_index")),
    "flowstone.gate.signal": Event("The signal for a gate came, and was accepted.", (), (*_TASK, "map_index")),
    "flowstone.gate.timeout": Event("No signal came in time.", (), (*_TASK, "map_index", "verdict")),
    "flowstone.parallel.join": Event(
        "The outcomes of branches came to their join.",
        ("branches", "succeeded", "failed", "skipped", "timed_out", "seconds"),
        ("dag_id", "run_id", "group_id"),
    ),
    "flowstone.registry.resolve": Event("A name became a class.", (), ("kind", "name", "class")),
    "flowstone.route.decide": Event(
        "A router chose a branch, or none.", ("branches",), ("dag_id", "run_id", "router", "map_index", "selected")
    ),
    "flowstone.scatter.plan.start": Event("Planning begins, or goes on from a checkpoint.", ("items",), _SCATTER),
    "flowstone.scatter.plan.stop": Event("Planning ended.", ("items", "batches", "seconds"), _SCATTER),
    "flowstone.scatter.batch.start": Event("A try of a batch begins.", ("items",), (*_SCATTER, "batch")),
    "flowstone.scatter.batch.progress": Event(
        "Outcomes were recorded.", ("done", "failed", "seconds"), (*_SCATTER, "batch")
    ),
    "flowstone.scatter.batch.stop": Event(
        "A try of a batch ended.", ("succeeded", "failed", "pending", "seconds"), (*_SCATTER, "batch")
    ),
    "flowstone.scatter.item.retry": Event(
        "An item failed and is tried again.", ("attempt", "wait"), (*_SCATTER, "batch", "error")
    ),
    "flowstone.scatter.cancel": Event("Batches were asked to stop.", ("failed",), (*_SCATTER, "reason")),
    "flowstone.scatter.gather.stop": Event(
        "The scatter was judged.",
        ("items", "succeeded", "failed", "pending", "batches", "seconds"),
        (*_SCATTER, "verdict"),
    ),
}


class LogEmitter(Emitter):
    """Writes each event as a log line; for debugging."""

    def emit(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """See `Emitter.emit`."""
        log.info("%s %s", event, " ".join(f"{k}={v}" for k, v in {**metadata, **measurements}.items()))


@cache
def _emitters() -> tuple[Emitter, ...]:
    from flowstone_provider import registry  # the registry emits events itself

    names = [name.strip() for name in config.get("emitters").split(",") if name.strip()]
    return tuple(registry.emitters.lookup(name).cls() for name in names)


def clear_cache() -> None:
    """Read which emitters there are anew; for tests."""
    _emitters.cache_clear()


def emit(event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
    """Send an event of the catalogue to all configured emitters.

    Raises:
        KeyError: The event, or one of its names, is not in `EVENTS`.
    """
    row = EVENTS[event]
    unknown = {*measurements} - {*row.measurements} | {*metadata} - {*row.metadata}
    if unknown:
        raise KeyError(f"{event} has no {sorted(unknown)} in the catalogue")
    for emitter in _emitters():
        emitter.emit(event, measurements, metadata)


@contextmanager
def span(event: str, metadata: Mapping[str, Any]) -> Iterator[None]:
    """Emit nothing, but let emitters that trace know how long the thing lasts."""
    with ExitStack() as stack:
        for emitter in _emitters():
            stack.enter_context(emitter.span(event, metadata))
        yield
