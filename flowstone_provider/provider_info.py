"""What Airflow asks of a provider."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's entry in Airflow: decorators, configuration."""
    return {
        "package-name": "airflow-provider-flowstone",
        "name": "FlowStone",
        "description": "Scatter a million items through a hundred tasks, and know the outcome of every one.",
    }
