"""The task that combines the outcomes of parallel branches."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

from flowstone_provider import config, registry, telemetry
from flowstone_provider.contracts.parallel import Branch, BranchOutcome, ParallelGroup
from flowstone_provider.errors import BranchesFailedError, OptionsError
from flowstone_provider.hooks.parallel import kept_in, start_of
from flowstone_provider.hooks.storage import storage
from flowstone_provider.operators._base import airflow_errors
from flowstone_provider.operators.scatter import context_arguments

log = logging.getLogger(__name__)

Join = Callable[..., Any]


class ParallelJoinOperator(BaseOperator):
    """Waits for the branches of a parallel group without a worker, and combines their outcomes.

    `ParallelTaskGroup` makes it.

    Args:
        group_id: The group's id.
        branches: The group's branches.
        failure_mode: ``"all_or_nothing"`` or ``"partial"``.
        python_callable: Given ``{name: BranchOutcome}``; what it returns is the task's output. By default that is the
            outcomes themselves, as plain dicts.
    """

    def __init__(
        self,
        *,
        group_id: str,
        branches: Sequence[Branch],
        failure_mode: str,
        python_callable: Join | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group_id = group_id
        self.branches = tuple(branches)
        self.failure_mode = failure_mode
        self.python_callable = python_callable

    def execute(self, context: Any) -> Any:
        """See `ParallelJoinOperator`."""
        return self._join(context, None)

    def resume(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on after the trigger."""
        return self._join(context, event["started"])

    def _join(self, context: Any, started: float | None) -> Any:
        with airflow_errors():
            group = self._group(context["ti"], started)
            name = config.get("parallel")
            outcomes = registry.parallel_coordinators.resolve(name).cls(group, storage()).outcomes()
            if outcomes is None:
                self._wait(name, group)
            self._tell(context["ti"], outcomes)
            judge(self.group_id, self.failure_mode, self.branches, outcomes)
        if self.python_callable is None:
            return _plain(outcomes)
        return _plain(self.python_callable(outcomes, **context_arguments(self.python_callable, context, {})))

    def _group(self, ti: Any, started: float | None) -> ParallelGroup:
        # Airflow sets max_tries at each Clear to the tries there were and those to come: this is the former.
        epoch = ti.max_tries - self.retries
        if started is None:
            started = datetime.now(timezone.utc).timestamp()
            if any(branch.timeout is not None for branch in self.branches):
                started = start_of(kept_in(storage(), ti.dag_id, ti.run_id, self.group_id, epoch))
        return ParallelGroup(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            group_id=self.group_id,
            map_index=ti.map_index,
            epoch=epoch,
            started=started,
            branches=self.branches,
        )

    def _wait(self, coordinator: str, group: ParallelGroup) -> NoReturn:
        from flowstone_provider.triggers.parallel import ParallelTrigger

        if _runs_in_process():
            try:
                from airflow.sdk.exceptions import AirflowRescheduleException
            except ImportError:  # Airflow 3.1
                from airflow.exceptions import AirflowRescheduleException
            raise AirflowRescheduleException(datetime.now(timezone.utc))  # type: ignore[no-untyped-call]
        log.info("waiting for branches of %s, without a worker", self.group_id)
        self.defer(trigger=ParallelTrigger(coordinator, group.dump()), method_name="resume")

    def _tell(self, ti: Any, outcomes: Mapping[str, BranchOutcome]) -> None:
        statuses = [outcome.status for outcome in outcomes.values()]
        for name, outcome in outcomes.items():
            log.info("branch %s %s", name, _became(outcome))
        telemetry.emit(
            "flowstone.parallel.join",
            {
                "branches": len(statuses),
                **{status: statuses.count(status) for status in ("succeeded", "failed", "skipped", "timed_out")},
                "seconds": (datetime.now(timezone.utc) - ti.start_date).total_seconds(),
            },
            {"dag_id": ti.dag_id, "run_id": ti.run_id, "group_id": self.group_id},
        )


def _runs_in_process() -> bool:
    """Whether this is ``dag.test()``.

    It runs one task after the other: a trigger would run to its end before the branches that it waits for.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

    return isinstance(task_runner.SUPERVISOR_COMMS, InProcessSupervisorComms)


def judge(group_id: str, failure_mode: str, branches: Sequence[Branch], outcomes: Mapping[str, BranchOutcome]) -> None:
    """Return when the join may go on.

    Raises:
        AirflowSkipException: All branches were skipped.
        BranchesFailedError: A branch that the join needs did not succeed, or none could run.
    """
    found = list(outcomes.values())
    if all(outcome.status == "skipped" for outcome in found):
        raise AirflowSkipException(f"all branches of {group_id} were skipped")
    if all(outcome.status in ("skipped", "failed") and not outcome.failed_tasks for outcome in found):
        raise BranchesFailedError(f"no branch of parallel group {group_id!r} could run: what is before them failed")
    partial = failure_mode == "partial"
    needed = [branch.name for branch in branches if branch.required or not partial]
    lacking = [name for name in needed if outcomes[name].status != "succeeded"]
    if not lacking:
        return
    told = "; ".join(
        f"{branch.name} ({'required' if branch.name in needed else 'optional'}) {_became(outcomes[branch.name])}"
        for branch in branches
    )
    remedy = (
        "Give a branch that may fail, be skipped or be late required=False"
        if partial
        else 'If only some must succeed: failure_mode="partial", and required=False for the others'
    )
    raise BranchesFailedError(
        f"parallel group {group_id!r}: {len(lacking)} of {len(branches)} branches did not do what the join needs: "
        f"{told}. {remedy}",
        group_id=group_id,
        lacking=lacking,
    )


def _became(outcome: BranchOutcome) -> str:
    """``"succeeded"``, ``"failed: a.b failed"``, ``"timed out: it had not …"``."""
    status = outcome.status.replace("_", " ")
    return status if outcome.error is None else f"{status}: {outcome.error}"


def _plain(value: Any) -> Any:
    """A value without outcomes, which XCom does not know."""
    if isinstance(value, BranchOutcome):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def check_join(function: Join) -> None:
    """Check the parameters of a join function, when the DAG is parsed.

    Raises:
        OptionsError: It takes no outcomes, or needs what nobody gives.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind in (
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    ):
        raise OptionsError(f"the join {function.__name__}() needs a first parameter, for {{name: BranchOutcome}}")
    for parameter in parameters[1:]:
        given = parameter.name in KNOWN_CONTEXT_KEYS or parameter.default is not parameter.empty
        if not given and parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            raise OptionsError(
                f"the join {function.__name__}() needs {parameter.name!r}, which nobody gives: it may take the "
                "outcomes and Airflow's context variables. What another task returns can be a branch of its own"
            )
