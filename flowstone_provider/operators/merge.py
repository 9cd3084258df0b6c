"""After the branches of a router: the value of the one that ran."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import BaseOperator, XComArg

from flowstone_provider.errors import OptionsError, RouteError
from flowstone_provider.operators._base import airflow_errors


class MergeOperator(BaseOperator):
    """Returns the value of the branch that ran. It is skipped when none ran, and fails when two did.

    Args:
        branches: Name -> the output of the branch's last task.
        **kwargs: See ``BaseOperator``.
    """

    def __init__(self, *, branches: dict[str, Any], **kwargs: Any) -> None:
        # Not none_failed_min_one_success, with which Airflow 3.3 expands a task in a mapped task group only when all
        # indexes are done, and may then take the run for finished (`DagRun.task_instance_scheduling_decisions` forgets
        # the instances that it has just made when the first of them is skipped).
        kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.branches = branches
        # No template field: what was skipped has no value to render, and what ran may have a large one.
        self.task_ids = {name: _operator(output).task_id for name, output in branches.items()}
        self.set_upstream(list(branches.values()))

    def execute(self, context: Any) -> Any:
        """See `MergeOperator`."""
        ran = self.ran(context)
        if len(ran) > 1:
            with airflow_errors():
                raise RouteError(
                    f"{self.task_id!r} merges one branch, and {' and '.join(map(repr, ran))} ran: are they branches of "
                    "one router? For the values of several branches there is collect(…)"
                )
        return _value(self.branches[ran[0]], context)

    def ran(self, context: Any) -> list[str]:
        """The names of the branches whose last task succeeded.

        Raises:
            AirflowSkipException: None did.
        """
        ti = context["ti"]
        index = ti.map_index if ti.map_index >= 0 else None

        def states(task_id: str) -> Collection[str]:
            found = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=[task_id], map_index=index)
            return found.get(ti.run_id, {}).values()  # several, when it is mapped

        ran = [name for name, task_id in self.task_ids.items() if "success" in states(task_id)]
        if not ran:
            raise AirflowSkipException(f"none of {', '.join(self.task_ids)} ran")
        return ran


class CollectOperator(MergeOperator):
    """Returns ``{name: value}`` of all branches, ``None`` for those that did not run. It is skipped when none ran.

    Args:
        **kwargs: See `MergeOperator`.
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """See `CollectOperator`."""
        ran = self.ran(context)
        return {name: _value(output, context) if name in ran else None for name, output in self.branches.items()}


def _value(output: Any, context: Any) -> Any:
    value = output.resolve(context)
    # What a mapped task returned comes as a lazy sequence, which XCom does not take.
    lazy = isinstance(value, Sequence) and not isinstance(value, (str, bytes, list, tuple))
    return list(value) if lazy else value


def merge(*branches: Any, task_id: str = "merge") -> Any:
    """Make a task whose value is that of the branch that ran.

    Args:
        *branches: The last task of each branch, or its output.
        task_id: The id of the new task.

    Returns:
        Its output, an ``XComArg``. The task is skipped when no branch ran.

    Raises:
        OptionsError: What is given is no task, or given twice.
    """
    return MergeOperator(task_id=task_id, branches=_named(branches, lambda operator: operator.task_id)).output


def collect(*branches: Any, task_id: str = "collect", **named: Any) -> Any:
    """Make a task whose value is ``{name: value}`` of all branches, with ``None`` for those that did not run.

    Args:
        *branches: The last task of each branch, or its output; its name is the task's id without that of its task
            group.
        task_id: The id of the new task.
        **named: The same, by the names that they shall have.

    Returns:
        Its output, an ``XComArg``. The task is skipped when no branch ran.

    Raises:
        OptionsError: What is given is no task, or two branches have one name.
    """
    given = _named(branches, lambda operator: operator.label)
    if twice := given.keys() & named.keys():
        raise OptionsError(f"two branches are named {min(twice)!r}: give other names, collect(name=…)")
    return CollectOperator(task_id=task_id, branches={**given, **_outputs(named.items())}).output


def _named(branches: Iterable[Any], name_of: Any) -> dict[str, Any]:
    outputs = [_output(branch) for branch in branches]
    names = [name_of(_operator(output)) for output in outputs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise OptionsError(
            f"two branches are named {min(twice)!r}: give each once, or other names with collect(name=…)"
        )
    return dict(zip(names, outputs, strict=True))


def _outputs(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _output(branch) for name, branch in named}


def _output(branch: Any) -> XComArg:
    output = branch if isinstance(branch, XComArg) else getattr(branch, "output", None)
    if not isinstance(output, XComArg):
        raise OptionsError(
            f"{branch!r:.100} is no task: give the last task of each branch, or its output; of a task group that of a "
            "task in it"
        )
    return output


def _operator(output: XComArg) -> Any:
    operators = [operator for operator, _ in output.iter_references()]
    if len(operators) != 1:
        raise OptionsError(f"{output!r:.100} is the output of {len(operators)} tasks: give that of one")
    return operators[0]
