"""``@task.approval``: a function says whether an approval is needed, and waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from airflow.providers.common.compat.sdk import task_decorator_factory

from flowstone_provider.errors import OptionsError
from flowstone_provider.operators._approval import check_approval, check_given
from flowstone_provider.operators._asset import check_asset, with_outlet
from flowstone_provider.operators.approval import ApprovalTaskOperator


class ApprovalTask:
    """A decorated function. Calling it in a DAG makes the task; its value is the task's output.

    Args:
        function: Calls `wait_for_approval` when it takes an approval. What it returns otherwise is the output.
        settings: Options of `ApproveOperator` but for ``subject`` and ``body``, and arguments of any Airflow task.

    Raises:
        OptionsError: A misspelt or unfit option.
        UnknownNameError: ``io_manager`` is no IO manager's name.
        AssetError: No name of an asset, or no partition.
    """

    _airflow_is_task_decorator = True

    def __init__(self, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        if told := {"subject", "body"} & settings.keys():
            raise OptionsError(f"{min(told)} is no option of @task.approval: give it to wait_for_approval(…)")
        check_given("@task.approval", settings, "op_kwargs")
        # Also here, because of a mapped task the operator is made when it runs.
        check_approval(settings)
        self.function = function
        self.settings = dict(settings)
        self.outlets: dict[str, Any] = {}
        if settings.get("asset") is not None:
            io_manager = settings.get("io_manager", "file")
            check_asset(settings["asset"], io_manager, settings.get("partition"))
            self.outlets = {"outlets": with_outlet(settings.get("outlets"), settings["asset"], io_manager)}
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the task. Arguments are values, templates, or other tasks' outputs.

        Returns:
            The task's output, an ``XComArg``: the decision, or what the function returned.
        """
        return self._decorated()(*args, **kwargs)

    def expand(self, **mapped: Any) -> Any:
        """Make one instance for each element of the arguments; each asks for itself."""
        return self._decorated().expand(**mapped)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> Any:
        """As `expand`, with a dict of arguments for each instance."""
        return self._decorated().expand_kwargs(kwargs, strict=strict)

    def partial(self, **kwargs: Any) -> ApprovalTask:
        """Give arguments that are the same for all instances of a mapped task."""
        return self.override(op_kwargs=self._decorated().partial(**kwargs).kwargs["op_kwargs"])

    def override(self, **settings: Any) -> ApprovalTask:
        """The same function with other options."""
        return ApprovalTask(self.function, {**self.settings, **settings})

    def _decorated(self) -> Any:
        return task_decorator_factory(
            self.function,
            multiple_outputs=False,
            decorated_operator_class=ApprovalTaskOperator,
            **{**self.settings, **self.outlets},
        )


def approval_task(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Ask for an approval when a function says so; registered with Airflow as ``@task.approval``.

    Args:
        function: The function, when the decorator is written without options.
        **settings: See `ApprovalTask`.
    """
    if function is not None:
        return ApprovalTask(function, settings)
    return lambda decorated: ApprovalTask(decorated, settings)
