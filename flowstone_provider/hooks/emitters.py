"""Emitters that Airflow has a backend for: metrics and spans."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from flowstone_provider.contracts.telemetry import Emitter

# Metadata that makes a good tag: few values. Run ids and reasons would make a time series each.
_TAGS = ("dag_id", "scatter_id", "router", "selected", "group_id", "verdict", "kind", "io_manager", "error")


class MetricsEmitter(Emitter):
    """Airflow metrics: a counter per event, and a gauge (or a timing for ``seconds``) per measurement."""

    def emit(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """See `Emitter.emit`."""
        from airflow.providers.common.compat.sdk import Stats

        tags = {tag: str(metadata[tag]) for tag in _TAGS if tag in metadata}
        Stats.incr(event, tags=tags)
        for name, value in measurements.items():
            if name == "seconds":
                Stats.timing(f"{event}.duration", value * 1000, tags=tags)
            else:
                Stats.gauge(f"{event}.{name}", value, tags=tags)


class SpanEmitter(Emitter):
    """OpenTelemetry: a span for what lasts, an event on the current span for what happens."""

    def emit(self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        """See `Emitter.emit`."""
        from opentelemetry import trace

        trace.get_current_span().add_event(event, {**metadata, **measurements})

    def span(self, event: str, metadata: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """See `Emitter.span`."""
        from opentelemetry import trace

        return trace.get_tracer("flowstone").start_as_current_span(event, attributes=dict(metadata))
