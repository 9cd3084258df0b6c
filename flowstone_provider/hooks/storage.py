"""Paths with Airflow's connections, and the folder of all scatters."""

from __future__ import annotations

import os
from typing import Any

from flowstone_provider import config


class AirflowResources:
    """Opens paths with Airflow's connections."""

    def path(self, url: str, conn_id: str | None = None) -> Any:
        """An ``ObjectStoragePath``; the connection may also stand in the URL: ``s3://conn_id@bucket/key``."""
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(url, conn_id=conn_id)


def storage() -> Any:
    """The folder of all scatters: ``[flowstone] storage``, by default ``flowstone`` in ``AIRFLOW_HOME``."""
    configured = config.get("storage")
    if not configured:
        home = os.environ.get("AIRFLOW_HOME") or os.path.expanduser("~/airflow")  # noqa: PTH111
        configured = f"file://{home}/flowstone"
    return AirflowResources().path(configured)
