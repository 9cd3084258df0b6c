"""``@task.scatter``: a function over items becomes a task group of plan, batch and gather."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import update_wrapper
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.contextmanager import DagContext, TaskGroupContext
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from flowstone_provider.contracts.options import is_deferred, nearest
from flowstone_provider.errors import NestingError, OptionsError
from flowstone_provider.operators._base import refuse_nesting
from flowstone_provider.operators.into import into_at_parse
from flowstone_provider.operators.scatter import (
    BATCH_LABEL,
    ScatterBatchOperator,
    ScatterGatherOperator,
    ScatterPlanOperator,
    check_batch_input,
    item_parameters,
)
from flowstone_provider.operators.source import items_at_parse
from flowstone_provider.scatter.options import ScatterOptions

# A worker that dies must not cost its items: batches and plan are tried again, unless the DAG says otherwise.
_RETRIES = 2
_RETRY_DELAY = timedelta(seconds=15)

_OWN = ("items", "into", "group_id", *ScatterOptions.model_fields)
_TASK = tuple(
    name for name in inspect.signature(BaseOperator).parameters if name not in ("self", "task_id", "kwargs", "dag")
)


class ScatterTask:
    """A decorated function. Calling it in a DAG makes the task group; its value is the gather's output.

    Args:
        function: Called with each item.
        settings: ``items``, the options of `ScatterOptions`, ``into``, ``group_id``, and arguments of any Airflow task
            (``retries``, ``pool``, ``queue`` …), which go to plan, batch and gather.

    Raises:
        OptionsError: A misspelt or unfit option.
        UnknownNameError: ``items`` names no source.
    """

    _airflow_is_task_decorator = True

    def __init__(self, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        for name in settings:
            if name not in _OWN and name not in _TASK:
                raise OptionsError(f"@task.scatter has no option {name!r}{nearest(name, [*_OWN, *_TASK])}")
        if "max_active_tis_per_dagrun" in settings:
            raise OptionsError("write max_active_batches=… instead of max_active_tis_per_dagrun: it is for the batches")
        if "items" not in settings:
            raise OptionsError(
                "@task.scatter needs items=…: a source(...), the name of a configured source, a list, or another "
                "task's output"
            )
        item_parameters(function)
        self.function = function
        self.settings = dict(settings)
        self.options = ScatterOptions(**{k: v for k, v in settings.items() if k in ScatterOptions.model_fields})
        if is_deferred(self.options.max_active_batches):
            raise OptionsError("max_active_batches must be a number: Airflow needs it before any task runs")
        items_at_parse(settings["items"])
        if settings.get("into") is not None:
            into_at_parse(settings["into"], self.options.results)
        update_wrapper(self, function)

    def override(self, **settings: Any) -> ScatterTask:
        """The same function with other options."""
        return ScatterTask(self.function, {**self.settings, **settings})

    def __call__(self, **batch_input: Any) -> Any:
        """Make the tasks. Keyword arguments are the batch input: values or other tasks' outputs.

        Returns:
            The gather's output, an ``XComArg``: the result reference.
        """
        check_batch_input(self.function, batch_input, KNOWN_CONTEXT_KEYS)
        group_id = self.settings.get("group_id") or self.function.__name__
        dag = DagContext.get_current()
        refuse_nesting(f"scatter {group_id!r}", TaskGroupContext.get_current(dag))
        task = {name: value for name, value in self.settings.items() if name in _TASK}
        if "retries" not in task and "retries" not in (getattr(dag, "default_args", None) or {}):
            task["retries"] = _RETRIES
            task.setdefault("retry_delay", _RETRY_DELAY)
        options = self.options.dump()
        doc = inspect.getdoc(self.function) or ""
        with TaskGroup(group_id=group_id, tooltip=doc, add_suffix_on_collision=True) as group:
            plan = ScatterPlanOperator(
                task_id="plan", items=self.settings["items"], scatter_id=group.group_id, options=options, **task
            )
            # How many run at once concerns the batches alone, the trigger rule the entry, and the exit has its own.
            inner = {name: value for name, value in task.items() if name != "trigger_rule"}
            batches = ScatterBatchOperator.partial(
                task_id="batch",
                scatter_id=group.group_id,
                python_callable=self.function,
                op_kwargs=batch_input,
                options=options,
                max_active_tis_per_dagrun=self.options.max_active_batches,
                doc_md=doc or None,
                **{
                    "map_index_template": BATCH_LABEL,
                    **{k: v for k, v in inner.items() if k != "doc_md"},
                },
            ).expand(batch=plan.output)
            gather = ScatterGatherOperator(
                task_id="gather",
                scatter_id=group.group_id,
                options=options,
                into=self.settings.get("into"),
                **inner,
            )
            [plan, batches] >> gather
        return gather.output

    def _refuse_mapping(self, *_: Any, **__: Any) -> NoReturn:
        raise NestingError(
            f"{self.function.__name__} is a scatter and cannot be mapped: it maps by itself. Give all items as "
            "items=…, and what every call needs as batch input"
        )

    expand = expand_kwargs = partial = _refuse_mapping


def scatter_task(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Scatter items over a function; registered with Airflow as ``@task.scatter``.

    Args:
        function: Called with each item; ``@task.scatter`` is always written with options.
        **settings: See `ScatterTask`.
    """
    if function is not None:
        return ScatterTask(function, settings)
    return lambda decorated: ScatterTask(decorated, settings)
