"""Parallel branches: task groups side by side, and the task that joins them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any

from airflow.sdk import TaskGroup

from flowstone_provider.contracts.options import nearest
from flowstone_provider.contracts.parallel import Branch
from flowstone_provider.errors import NestingError, OptionsError
from flowstone_provider.operators._join import Join, ParallelJoinOperator, check_join

FAILURE_MODES = ["all_or_nothing", "partial"]

_START = "start"


@dataclass
class _Declared:
    """A branch as it was written down."""

    group: TaskGroup
    required: bool
    timeout: float | None


class ParallelTaskGroup(TaskGroup):
    """A task group of branches that run at the same time, and of a join after them.

    ::

        with ParallelTaskGroup("enrich", failure_mode="partial") as enrich:
            with enrich.branch("prices", timeout=timedelta(minutes=10)):
                publish(fetch())
            with enrich.branch("weather", required=False):
                observe()

            @enrich.join
            def combine(outcomes: dict[str, BranchOutcome]) -> dict: ...

        report(enrich.output)

    Args:
        group_id: The group's id.
        failure_mode: ``"all_or_nothing"``: a branch that does not succeed fails the join. ``"partial"``: one that is
            required does; of the others the join is told.
        **kwargs: Arguments of Airflow's ``TaskGroup``.

    Raises:
        OptionsError: An unknown failure mode; and when the ``with`` block ends: no branch, a branch without a task, a
            task in no branch, or a short-circuit that would skip the join.
    """

    def __init__(self, group_id: str, *, failure_mode: str = "all_or_nothing", **kwargs: Any) -> None:
        if failure_mode not in FAILURE_MODES:
            raise OptionsError(
                f"parallel group {group_id!r}: there is no failure_mode {failure_mode!r}"
                f"{nearest(str(failure_mode), FAILURE_MODES)}"
            )
        super().__init__(group_id=group_id, **kwargs)
        self.failure_mode = failure_mode
        self._declared: dict[str, _Declared] = {}
        self._function: tuple[Join, dict[str, Any]] | None = None
        self._joined: ParallelJoinOperator | None = None

    def branch(
        self, name: str, *, required: bool = True, timeout: float | timedelta | None = None, **kwargs: Any
    ) -> TaskGroup:
        """A branch: a task group, to be filled in its ``with`` block.

        Args:
            name: Its name among the outcomes, and the id of its task group.
            required: Whether the join fails when it does not succeed; only with ``failure_mode="partial"`` may it be
                false.
            timeout: Seconds, or a ``timedelta``, from the start of the group after which the join does not wait for
                the branch any more; it goes on running. Without one the join waits until the branch has ended.
            **kwargs: Arguments of Airflow's ``TaskGroup``.

        Raises:
            OptionsError: Another branch has the name, the timeout is not more than zero, or ``required`` does not fit
                the failure mode.
            NestingError: There is a timeout, and the group stands in a mapped task group.
        """
        what = f"branch {name!r} of parallel group {self.group_id!r}"
        if self._joined is not None:
            raise OptionsError(f"{what} comes too late: declare it within the `with` block of the group")
        if name in self._declared:
            raise OptionsError(f"parallel group {self.group_id!r} has two branches {name!r}: give one another name")
        if name == _START:
            raise OptionsError(f"{what} needs another name: the group has a task of this name")
        if not required and self.failure_mode != "partial":
            raise OptionsError(
                f"{what} is required=False, but with failure_mode={self.failure_mode!r} every branch must succeed: "
                'write failure_mode="partial"'
            )
        seconds = _seconds(timeout, what)
        if seconds is not None:
            self._refuse_mapping(what)
        group = TaskGroup(group_id=name, parent_group=self, **kwargs)
        self._declared[name] = _Declared(group, required, seconds)
        return group

    def _refuse_mapping(self, what: str) -> None:
        # Before the group is expanded, Airflow 3.1 skips a join that need not wait for all of its branches.
        for mapped in self.iter_mapped_task_groups():
            raise NestingError(
                f"{what} has a timeout, within the mapped task group {mapped.group_id!r}: not every Airflow runs a "
                "join there before all branches have ended. Leave the timeout out, and give tasks that may take too "
                "long an execution_timeout=…"
            )

    def join(self, function: Join | None = None, /, **settings: Any) -> Any:
        """Make a function the join; to be used as a decorator.

        Args:
            function: Called with ``{name: BranchOutcome}``, in the order of declaration, and with those of Airflow's
                context variables that it has parameters for.
            **settings: Arguments of any Airflow task, e.g. ``retries``; ``@group.join(retries=3)``.

        Raises:
            OptionsError: There is a join already, or the function has a parameter that nobody gives.
        """
        if function is None:
            return lambda decorated: self.join(decorated, **settings)
        if self._joined is not None:
            raise OptionsError(
                f"the join {function.__name__}() of parallel group {self.group_id!r} comes too late: declare it within "
                "the `with` block of the group"
            )
        if self._function is not None:
            raise OptionsError(
                f"parallel group {self.group_id!r} has two joins, {self._function[0].__name__}() and "
                f"{function.__name__}(): let one call the other"
            )
        check_join(function)
        self._function = (function, settings)
        return function

    @property
    def output(self) -> Any:
        """The join's output, an ``XComArg``.

        Raises:
            OptionsError: The ``with`` block of the group has not ended.
        """
        if self._joined is None:
            raise OptionsError(f"parallel group {self.group_id!r} has an output only after its `with` block")
        return self._joined.output

    def __exit__(self, _type: Any, _value: Any, _tb: Any) -> None:
        try:
            if _type is None:
                self._joined = self._make_join()
        finally:
            super().__exit__(_type, _value, _tb)  # type: ignore[no-untyped-call]

    def _make_join(self) -> ParallelJoinOperator:
        branches = tuple(self._branches())
        function, settings = self._function or (None, {})
        waits = any(branch.timeout is not None for branch in branches)
        join = ParallelJoinOperator(
            **{
                "task_id": function.__name__ if function else "join",
                "doc_md": function.__doc__ if function else None,
                **settings,
                "group_id": self.group_id,
                "branches": branches,
                "failure_mode": self.failure_mode,
                "python_callable": function,
                # With timeouts it begins to wait as soon as the group starts, and without a worker.
                "trigger_rule": "one_done" if waits else "all_done",
            }
        )
        for branch in branches:
            for leaf in branch.leaves:
                join.set_upstream(self.dag.get_task(leaf))
        if waits:
            from airflow.providers.standard.operators.empty import EmptyOperator

            join.set_upstream(EmptyOperator(task_id=_START, trigger_rule="all_done"))
        return join

    def _branches(self) -> Iterator[Branch]:
        """The branches as their tasks are now."""
        if not self._declared:
            raise OptionsError(
                f'parallel group {self.group_id!r} has no branch: write `with {self.label}.branch("…"):` around the '
                "tasks of each"
            )
        groups = [declared.group.group_id for declared in self._declared.values()]
        strays = sorted(set(self.children) - set(groups))
        if strays:
            raise OptionsError(
                f"{', '.join(strays)} in parallel group {self.group_id!r} belongs to no branch: put it into one, or "
                "before or after the group"
            )
        for name, declared in self._declared.items():
            tasks = list(declared.group)
            if not tasks:
                raise OptionsError(f"branch {name!r} of parallel group {self.group_id!r} has no task")
            _refuse_short_circuits(tasks, name, str(self.group_id))
            yield Branch(
                name=name,
                tasks=tuple(task.task_id for task in tasks),
                leaves=tuple(dict.fromkeys(leaf.task_id for leaf in declared.group.get_leaves())),
                mapped=tuple(task.task_id for task in tasks if self._is_mapped(task)),
                required=declared.required,
                timeout=declared.timeout,
            )

    def _is_mapped(self, task: Any) -> bool:
        """Whether a task has many instances for one of the join."""
        around = len(list(self.iter_mapped_task_groups()))
        return bool(task.is_mapped) or len(list(task.iter_mapped_task_groups())) > around


def _seconds(timeout: float | timedelta | None, what: str) -> float | None:
    if timeout is None:
        return None
    seconds: Any = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not isfinite(seconds) or seconds <= 0:
        raise OptionsError(
            f"{what}: timeout={timeout!r} must be more than zero seconds, as a number or a timedelta; without a "
            "timeout the join waits until the branch has ended"
        )
    return float(seconds)


def _refuse_short_circuits(tasks: list[Any], branch: str, group_id: str) -> None:
    """A short-circuit skips everything after it, the join and what comes after that included, unless told otherwise."""
    from airflow.providers.standard.operators.python import ShortCircuitOperator

    for task in tasks:
        operator = getattr(task, "operator_class", type(task))
        if not (isinstance(operator, type) and issubclass(operator, ShortCircuitOperator)):
            continue
        options = getattr(task, "partial_kwargs", None) or vars(task)
        if options.get("ignore_downstream_trigger_rules", True):
            raise OptionsError(
                f"{task.task_id} in branch {branch!r} of parallel group {group_id!r} would skip the join, too, and all "
                "that comes after it: give it ignore_downstream_trigger_rules=False, and it skips its branch alone"
            )
