"""The ``[flowstone]`` section of Airflow's configuration, read when first needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from flowstone_provider.errors import OptionsError
from flowstone_provider.provider_info import get_provider_info

SECTION = "flowstone"


def _conf() -> Any:
    # The layers below the operators run without Airflow: its configuration is looked up only when asked for.
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # Airflow 3.1 has it in core only
        from airflow.configuration import conf
    return conf


@cache
def get(option: str) -> str:
    """An option's text, or its default; without a default the empty string."""
    # Airflow 3.1 does not know a provider's defaults in every process that reads its configuration.
    default = get_provider_info()["config"][SECTION]["options"][option]["default"]
    return str(_conf().get(SECTION, option, fallback=default) or "")


@cache
def get_json(option: str) -> dict[str, Any]:
    """An option that holds a JSON object.

    Raises:
        OptionsError: The text is not a JSON object.
    """
    text = get(option)
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise OptionsError(f"[{SECTION}] {option} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise OptionsError(f"[{SECTION}] {option} must be a JSON object, not {type(value).__name__}")
    return value


@cache
def max_map_length() -> int:
    """``[core] max_map_length``: the most instances that Airflow makes of a mapped task."""
    return int(_conf().getint("core", "max_map_length", fallback=1024))


def base_url() -> str:
    """``[api] base_url``, without a slash at its end.

    Raises:
        OptionsError: It is not set.
    """
    url = str(_conf().get("api", "base_url", fallback="") or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise OptionsError(
            "[api] base_url is not set: it is the address under which the API server is reached from outside, such as "
            "https://airflow.example.com (AIRFLOW__API__BASE_URL)"
        )
    return url


def clear_cache() -> None:
    """Read the configuration anew; for tests."""
    get.cache_clear()
    get_json.cache_clear()
    max_map_length.cache_clear()
