"""What the three scatter operators share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator

from flowstone_provider import config, registry
from flowstone_provider.contracts.options import is_deferred
from flowstone_provider.contracts.scatter import Barrier, Progress, ScatterCoordinator
from flowstone_provider.errors import FlowstoneError, NestingError, OptionsError
from flowstone_provider.hooks.storage import storage
from flowstone_provider.scatter.options import ScatterOptions


class ScatterOperator(BaseOperator):
    """Base of the operators of a scatter.

    Args:
        scatter_id: Names the scatter within its DAG, the same in all its operators. By default the task group's id.
        options: The same in all its operators.
    """

    def __init__(
        self,
        *,
        scatter_id: str | None = None,
        options: ScatterOptions | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given = options.dump() if isinstance(options, ScatterOptions) else dict(options or {})
        self._functions: dict[str, Callable[..., Any]] = {}
        self.options = self.take_functions(ScatterOptions(**given).dump())
        self.scatter_id = scatter_id or self._group_id()

    def _group_id(self) -> str:
        group = getattr(self, "task_group", None)
        if group is None or group.group_id is None:
            raise OptionsError(
                f"{type(self).__name__} {self.task_id!r} stands in no task group: give scatter_id=…, the same to all "
                "operators of the scatter"
            )
        return str(group.group_id)

    def scatter_options(self) -> ScatterOptions:
        """The rendered options, checked.

        Raises:
            OptionsError: A rendered value does not fit.
        """
        for name, value in self.options.items():
            if is_deferred(value):
                raise OptionsError(f"scatter option {name!r} was not rendered: {value!r}")
        return ScatterOptions(**self.put_functions(self.options))

    def take_functions(self, value: Any) -> Any:
        """A copy of a template field in which a name stands for each function.

        Template fields are serialised, in Airflow 3.1 by ``repr``: a function's address would make a new version of
        the DAG at every parse.
        """
        if isinstance(value, dict):
            return {key: self.take_functions(each) for key, each in value.items()}
        if not callable(value) or is_deferred(value):
            return value
        qualname = getattr(value, "__qualname__", type(value).__qualname__)
        name = f"<function {len(self._functions)}: {qualname}>"
        self._functions[name] = value
        return name

    def put_functions(self, value: Any) -> Any:
        """The functions back in the place of their names."""
        if isinstance(value, dict):
            return {key: self.put_functions(each) for key, each in value.items()}
        return self._functions.get(value, value) if isinstance(value, str) else value

    def open_scatter(self, context: Mapping[str, Any]) -> tuple[ScatterCoordinator, Barrier, Progress]:
        """The coordinator of this run's scatter."""
        ti = context["ti"]
        barrier = Barrier(dag_id=ti.dag_id, run_id=ti.run_id, scatter_id=self.scatter_id)
        coordinator = registry.coordinators.resolve(config.get("coordinator")).cls(storage())
        return coordinator, barrier, coordinator.open(barrier)


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn errors that a retry cannot mend into Airflow's error that is not retried."""
    try:
        yield
    except FlowstoneError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


def refuse_nesting(what: str, group: Any) -> None:
    """Raise when a task group, or one around it, is mapped.

    Raises:
        NestingError: With what to do instead.
    """
    from airflow.sdk.definitions.taskgroup import MappedTaskGroup

    while group is not None:
        if isinstance(group, MappedTaskGroup):
            raise NestingError(
                f"{what} stands inside the mapped task group {group.group_id!r}: Airflow cannot map a task within one. "
                "Scatter over all items of all groups at once, e.g. from source('function', …) that yields them with "
                "their group in each item, and keep groups together with Batching(group_by=…)"
            )
        group = group.parent_group
