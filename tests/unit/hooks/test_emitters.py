"""Where the events go."""

from __future__ import annotations

import logging

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flowstone_provider import telemetry
from flowstone_provider.contracts.telemetry import Emitter
from flowstone_provider.errors import UnknownNameError
from flowstone_provider.hooks.emitters import SpanEmitter
from flowstone_provider.registry import emitters
from tests.support.scatters import Scatter

pytestmark = pytest.mark.observability

ABOUT = {"dag_id": "d", "run_id": "r", "scatter_id": "s"}


def test_metrics_are_airflows_by_default(mocker):
    from airflow.providers.common.compat.sdk import Stats

    incr, gauge, timing = (mocker.spy(Stats, name) for name in ("incr", "gauge", "timing"))
    telemetry.emit("flowstone.scatter.plan.stop", {"items": 7, "batches": 2, "seconds": 1.5}, ABOUT)
    tags = {"dag_id": "d", "scatter_id": "s"}
    incr.assert_called_once_with("flowstone.scatter.plan.stop", tags=tags)
    gauge.assert_any_call("flowstone.scatter.plan.stop.items", 7, tags=tags)
    timing.assert_called_once_with("flowstone.scatter.plan.stop.duration", 1500.0, tags=tags)


def test_metrics_of_assets_are_told_apart_by_their_io_manager(mocker):
    from airflow.providers.common.compat.sdk import Stats

    incr = mocker.spy(Stats, "incr")
    about = {"io_manager": "lake", "asset": "flights", "partition": "2026-01-15"}
    telemetry.emit("flowstone.asset.load", {"bytes": 7, "rows": 2}, about)
    incr.assert_called_once_with("flowstone.asset.load", tags={"io_manager": "lake"})


def test_spans_last_and_hold_what_happens(configure, mocker):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    mocker.patch.object(trace, "get_tracer", provider.get_tracer)
    configure("emitters", "spans")
    with telemetry.span("flowstone.scatter.plan.stop", ABOUT):
        telemetry.emit("flowstone.scatter.plan.start", {"items": 0}, ABOUT)
    (span,) = exporter.get_finished_spans()
    assert (span.name, dict(span.attributes)) == ("flowstone.scatter.plan.stop", ABOUT)
    assert [event.name for event in span.events] == ["flowstone.scatter.plan.start"]
    assert emitters.lookup("spans").cls is SpanEmitter


def test_the_log_and_several_at_once(configure, caplog):
    configure("emitters", "log, metrics")
    with caplog.at_level(logging.INFO):
        telemetry.emit("flowstone.scatter.plan.start", {"items": 3}, ABOUT)
    assert "flowstone.scatter.plan.start dag_id=d run_id=r scatter_id=s items=3" in caplog.text


def test_an_unknown_emitter_is_named(configure):
    configure("emitters", "metrix")
    with pytest.raises(UnknownNameError, match="no emitter 'metrix'; did you mean 'metrics'"):
        telemetry.emit("flowstone.scatter.plan.start", {"items": 3}, ABOUT)


def test_a_scatter_tells_its_whole_story(configure, tmp_path):
    seen = []

    class Recording(Emitter):
        def emit(self, event, measurements, metadata):
            seen.append((event.removeprefix("flowstone.scatter."), dict(measurements)))

    emitters.register("recording", Recording)
    configure("emitters", "recording")
    try:
        scatter = Scatter(tmp_path, [1, 0, 2], retry={"attempts": 2, "wait": 0}, batching={"max_items": 3})
        scatter.run(lambda item: 1 / item)
        scatter.gather()
    finally:
        emitters.unregister("recording")
    story = [event for event, _ in seen if not event.startswith("flowstone.registry")]
    assert story == ["batch.start", "item.retry", "batch.progress", "cancel", "batch.stop", "gather.stop"]
    numbers = dict(seen)
    assert numbers["batch.start"]["items"] == 3
    assert {k: v for k, v in numbers["batch.stop"].items() if k != "seconds"} == {
        "succeeded": 2,
        "failed": 1,
        "pending": 0,
    }
