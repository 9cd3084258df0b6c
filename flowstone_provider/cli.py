"""``airflow flowstone …``."""

from __future__ import annotations

from typing import Any


def get_commands() -> list[Any]:
    """The commands that the provider adds to ``airflow``."""
    return []
