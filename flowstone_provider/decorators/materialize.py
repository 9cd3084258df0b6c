"""``@task.materialize``: what a function returns is stored, and a small reference goes to XCom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from airflow.providers.common.compat.sdk import task_decorator_factory
from airflow.sdk import BaseOperator
from airflow.sdk.definitions._internal.contextmanager import DagContext

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import OptionsError
from flowstone_provider.operators._asset import check_asset, with_outlet
from flowstone_provider.operators.asset import PARTITION_LABEL, MaterializeOperator, check_if_exists

_OWN = ("asset", "io_manager", "partition", "if_exists", "op_kwargs")
_TASK = tuple(name for name in inspect.signature(BaseOperator).parameters if name not in ("self", "kwargs"))


class MaterializeTask:
    """A decorated function. Calling it in a DAG makes the task; its value is the task's output, the reference.

    Args:
        function: What it returns is stored.
        settings: ``asset``, ``io_manager``, ``partition``, ``if_exists`` of `MaterializeOperator`, and arguments of any
            Airflow task (``retries``, ``pool``, ``outlets`` …).

    Raises:
        OptionsError: A misspelt or unfit option.
        UnknownNameError: ``io_manager`` is no IO manager's name.
        AssetError: No name of an asset, or no partition.
    """

    _airflow_is_task_decorator = True

    def __init__(self, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in _OWN and name not in _TASK:
                raise OptionsError(f"@task.materialize has no option {name!r}{nearest(name, [*_OWN, *_TASK])}")
        if "asset" not in settings:
            raise OptionsError('@task.materialize needs asset=…: the name under which to store, e.g. "flights/daily"')
        # Also here, because of a mapped task the operator is made when it runs.
        check_asset(settings["asset"], settings.get("io_manager", "file"), settings.get("partition"))
        check_if_exists(settings.get("if_exists", "replace"))
        self.function = function
        self.settings = dict(settings)
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the task. Arguments are values, templates, or other tasks' outputs; references among them are loaded.

        Returns:
            The task's output, an ``XComArg``: the reference.
        """
        return self._decorated()(*args, **kwargs)

    def expand(self, **mapped: Any) -> Any:
        """Make one instance for each element of the arguments; see ``partition`` for which value each one stores."""
        return self._decorated(map_index_template=PARTITION_LABEL).expand(**mapped)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """As `expand`, with a dict of arguments for each instance."""
        return self._decorated(map_index_template=PARTITION_LABEL).expand_kwargs(kwargs, strict=strict)

    def partial(self, **kwargs: Any) -> MaterializeTask:
        """Give arguments that are the same for all instances of a mapped task."""
        return self.override(op_kwargs=self._decorated().partial(**kwargs).kwargs["op_kwargs"])

    def override(self, **settings: Any) -> MaterializeTask:
        """The same function with other options."""
        return MaterializeTask(self.function, {**self.settings, **settings})

    def _decorated(self, **more: Any) -> Any:
        # Of a mapped task, Airflow applies only defaults for arguments of any task.
        defaults = {
            **(getattr(DagContext.get_current(), "default_args", None) or {}),
            **(self.settings.get("default_args") or {}),
        }
        settings = {**more, **{name: defaults[name] for name in _OWN if name in defaults}, **self.settings}
        io_manager = settings.get("io_manager", "file")
        check_asset(settings["asset"], io_manager, settings.get("partition"))
        return task_decorator_factory(
            self.function,
            # A reference is one value, whatever the function's return annotation says of what is stored.
            multiple_outputs=False,
            decorated_operator_class=MaterializeOperator,
            **{**settings, "outlets": with_outlet(settings.get("outlets"), settings["asset"], io_manager)},
        )


def materialize_task(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Store what a function returns as an asset; registered with Airflow as ``@task.materialize``.

    Args:
        function: ``@task.materialize`` is always written with options.
        **settings: See `MaterializeTask`.
    """
    if function is not None:
        return MaterializeTask(function, settings)
    return lambda decorated: MaterializeTask(decorated, settings)
