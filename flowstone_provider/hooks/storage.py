"""Where FlowStone keeps its files."""

from __future__ import annotations

import os
from typing import Any

from flowstone_provider import config
from flowstone_provider.hooks.resources import AirflowResources


def storage() -> Any:
    """The folder of all of them: ``[flowstone] storage``, by default ``flowstone`` in ``AIRFLOW_HOME``."""
    configured = config.get("storage")
    if not configured:
        home = os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")  # noqa: PTH111
        configured = f"file://{home}/flowstone"
    return AirflowResources().path(configured)
