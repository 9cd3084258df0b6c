"""``@task.signal_gate``: a function starts something outside, and the task waits for its callback."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from airflow.providers.common.compat.sdk import task_decorator_factory
from airflow.sdk import BaseOperator

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import OptionsError
from flowstone_provider.operators.signal_gate import WEEK, SignalGateOperator, check_gate

_DEFAULTS = {"timeout": WEEK, "on_timeout": "fail", "default": None, "schema": None, "on_signal": None}
_TASK = tuple(name for name in inspect.signature(BaseOperator).parameters if name not in ("self", "kwargs"))


def signal_gate_task(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Wait for a callback from outside; registered with Airflow as ``@task.signal_gate``.

    Args:
        function: Called with ``signal_url`` and the task's arguments.
        **settings: ``timeout``, ``on_timeout``, ``default``, ``schema``, ``on_signal`` of `SignalGateOperator`, and
            arguments of any Airflow task (``retries``, ``pool`` …).

    Raises:
        OptionsError: A misspelt or unfit option, or a function without a parameter ``signal_url``.
    """
    if function is None:
        return lambda decorated: signal_gate_task(decorated, **settings)
    for name in settings:
        if name not in _DEFAULTS and name not in _TASK:
            raise OptionsError(f"@task.signal_gate has no option {name!r}{nearest(name, [*_DEFAULTS, *_TASK])}")
    # Also here, because of a mapped task the operator is made when it runs.
    check_gate(function, **{name: settings.get(name, default) for name, default in _DEFAULTS.items()})
    return task_decorator_factory(
        function,
        # What comes is one value, whatever the function's return annotation says.
        multiple_outputs=False,
        decorated_operator_class=SignalGateOperator,
        **settings,
    )
