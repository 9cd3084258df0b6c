"""``@task.route``: a function that chooses the branch after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import task_decorator_factory
from airflow.sdk import BaseOperator

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import OptionsError
from flowstone_provider.operators._routing import check_on_error
from flowstone_provider.operators.routing import DecoratedRouteOperator, refuse_mapping

_TASK = tuple(name for name in inspect.signature(BaseOperator).parameters if name not in ("self", "kwargs"))


class RouteTask:
    """A decorated function. Calling it in a DAG makes the router; ``router >> [small, large]`` gives it branches.

    Args:
        function: Returns the name of one branch, or ``None`` for none. Where its return annotation is a ``Literal``,
            the names are compared with the branches when the DAG is parsed.
        settings: ``on_error`` of `RoutingOperator`, and arguments of any Airflow task.

    Raises:
        OptionsError: A misspelt or unfit option.
    """

    _airflow_is_task_decorator = True

    def __init__(self, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name != "on_error" and name not in _TASK:
                raise OptionsError(f"@task.route has no option {name!r}{nearest(name, ['on_error', *_TASK])}")
        check_on_error(settings.get("on_error", "fail"))
        self.function = function
        self.settings = dict(settings)
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the router. Arguments are values, templates, or other tasks' outputs.

        Returns:
            The router's output, an ``XComArg``: the decision.
        """
        return task_decorator_factory(
            self.function,
            # A decision is one value, whatever the function's return annotation says.
            multiple_outputs=False,
            decorated_operator_class=DecoratedRouteOperator,
            **self.settings,
        )(*args, **kwargs)

    def override(self, **settings: Any) -> RouteTask:
        """The same function with other options."""
        return RouteTask(self.function, {**self.settings, **settings})

    def _refuse_mapping(self, *_: Any, **__: Any) -> NoReturn:
        refuse_mapping(self.function.__name__)

    expand = expand_kwargs = partial = _refuse_mapping


def route_task(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Choose a branch by a function; registered with Airflow as ``@task.route``.

    Args:
        function: ``@task.route`` may be written with or without options.
        **settings: See `RouteTask`.
    """
    if function is not None:
        return RouteTask(function, settings)
    return lambda decorated: RouteTask(decorated, settings)
