"""What the provider adds to Airflow's API server, registered under the entry point ``airflow.plugins``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


async def signals(scope: Any, receive: Any, send: Any) -> None:
    """The endpoint of signal gates. Airflow loads plugins in every process; only this one's requests need FastAPI."""
    from flowstone_provider.signals import app

    await app(scope, receive, send)


class FlowstonePlugin(AirflowPlugin):
    """Mounts the endpoint of signal gates at ``/flowstone/signals/<token>``: all of ours that needs no login."""

    name = "flowstone"
    fastapi_apps = [{"name": "FlowStone signals", "app": signals, "url_prefix": "/flowstone"}]  # noqa: RUF012
