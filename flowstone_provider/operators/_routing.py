"""What routers share: a decision is made once, and the branches follow it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import uuid
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, Literal

import orjson
from airflow.providers.common.compat.sdk import AirflowSkipException, DownstreamTasksSkipped, SkipMixin
from airflow.sdk import BaseOperator

from flowstone_provider import config, lineage, registry, telemetry
from flowstone_provider.contracts.options import nearest
from flowstone_provider.contracts.routing import Decision
from flowstone_provider.errors import DecisionError, OptionsError, RouteError
from flowstone_provider.hooks.storage import storage
from flowstone_provider.operators._base import airflow_errors
from flowstone_provider.operators._branches import Branches, branches_of, check_branches, no_branch

log = logging.getLogger(__name__)

# Characters of an error that are kept in a decision: it travels in XCom.
_LONGEST_ERROR = 1_000


@dataclass(frozen=True)
class Fallback:
    """What `fallback` returns."""

    name: str


def fallback(name: str) -> Fallback:
    """For ``on_error=``: choose this branch when the function or a predicate raises.

    Args:
        name: The branch.
    """
    return Fallback(name)


class RoutingOperator(BaseOperator, SkipMixin):
    """Base of routers.

    A router's first decision in a run stands: later tries, and those after *Clear*, follow it without asking again,
    until ``airflow flowstone routes forget`` removes it. Returns the decision as a dict, the fields of `Decision`.

    Args:
        op_args: Arguments of the function or the predicates; may be templates and other tasks' outputs. They are the
            input that is hashed.
        op_kwargs: Keyword arguments of them.
        on_error: When the function or a predicate raises: ``"fail"`` the task, which is retried as any other, or
            choose a branch, ``fallback("name")``. That is a decision, too, and stands.
        **kwargs: See ``BaseOperator``.
    """

    inherits_from_skipmixin = True
    template_fields: Collection[str] = ("op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"op_args": "py", "op_kwargs": "py"}

    op_args: Sequence[Any]
    op_kwargs: Mapping[str, Any]

    def __init__(self, *, on_error: Literal["fail"] | Fallback = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_on_error(on_error)
        self.on_error = on_error
        self._kept: set[str] = set()
        self._stands: Decision | None = None

    @abstractmethod
    def choose(self, context: Mapping[str, Any]) -> Any:
        """The name of a branch, or ``None`` for none."""

    @abstractmethod
    def names(self) -> set[str] | None:
        """What `choose` may return; ``None`` when nobody knows before it does."""

    # --- when the DAG is parsed

    def prepare_template(self) -> None:
        """Compare names with edges. Airflow calls this once the DAG is whole: before, a router has no branches.

        Raises:
            RouteError: A name without an edge, or an edge that no name leads to.
            NestingError: A branch out of the router's mapped task group.
        """
        super().prepare_template()
        branches, names = branches_of(self), self.names()
        spare = {self.on_error.name} if isinstance(self.on_error, Fallback) else set()
        check_branches(self, branches, {*(names or ()), *spare}, complete=names is not None)
        for name, ids in branches.tasks.items():
            for task_id in ids - self._kept:
                self._keep(self.dag.get_task(task_id), name)
        self._kept.update(*branches.tasks.values())

    def _keep(self, task: Any, name: str) -> None:
        """Let a task of a branch look whether the branch was chosen, before it does anything.

        Airflow skips it again when it alone is cleared, but not in a mapped task group, and in Airflow 3.1 not when it
        is mapped itself.
        """
        before = task.partial_kwargs.get("pre_execute") if task.is_mapped else task.pre_execute

        def pre_execute(context: Any) -> None:
            index = context["ti"].map_index if self.get_closest_mapped_task_group() is not None else -1
            decision = context["ti"].xcom_pull(task_ids=self.task_id, map_indexes=index)
            if decision is not None and decision["selected"] != name:
                raise AirflowSkipException(f"{self.task_id} chose {decision['selected'] or 'no branch'}, not {name}")
            if before is not None:
                before(context)

        if task.is_mapped:
            task.partial_kwargs["pre_execute"] = pre_execute
        else:
            task.pre_execute = pre_execute

    # --- when it runs

    def execute(self, context: Any) -> dict[str, Any]:
        """See `RoutingOperator`."""
        ti = context["ti"]
        with airflow_errors():
            branches = branches_of(self)
            check_branches(self, branches, (), complete=False)
            self._stands = decision = self._decide(context, branches)
        returned = {**dataclasses.asdict(decision), "available": list(decision.available)}
        # Here, because the end of this method may be an exception by which Airflow skips tasks.
        ti.xcom_push(key="return_value", value=returned)
        chosen = branches.tasks[decision.selected] if decision.selected is not None else frozenset()
        self.skip_all_except(ti, sorted(chosen | branches.others))
        # Airflow's own branching ends above, but does nothing in a mapped task group.
        skipped = sorted(frozenset().union(*branches.tasks.values()) - chosen)
        if ti.map_index >= 0 and skipped:
            raise DownstreamTasksSkipped(tasks=[(task_id, ti.map_index) for task_id in skipped])
        return returned

    def _decide(self, context: Mapping[str, Any], branches: Branches) -> Decision:
        """The decision that stands, made now unless there is one."""
        ti = context["ti"]
        coordinator = registry.routing_coordinators.resolve(config.get("routing")).cls(storage())
        input_hash = hash_of({"args": self.op_args, "kwargs": self.op_kwargs})
        stands = coordinator.find(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        if stands is None:
            selected, error = self._choose(context, branches)
            made = Decision(
                id=uuid.uuid4().hex,
                dag_id=ti.dag_id,
                run_id=ti.run_id,
                router=ti.task_id,
                map_index=ti.map_index,
                partition=getattr(context.get("dag_run"), "partition_key", None),  # Airflow 3.1 has none
                selected=selected,
                available=tuple(branches.tasks),
                input_hash=input_hash,
                decided_at=datetime.now(timezone.utc).isoformat(),
                error=error,
            )
            stands = coordinator.decide(made)
            if stands == made:
                log.info("chose %s of %s", selected or "no branch", ", ".join(branches.tasks))
                telemetry.emit("flowstone.route.decide", {"branches": len(branches.tasks)}, _about(made))
                return made
        self._follow(stands, input_hash, branches)
        return stands

    def _choose(self, context: Mapping[str, Any], branches: Branches) -> tuple[str | None, str | None]:
        """The name of a branch or none, and the error for which it is the fallback."""
        error = None
        try:
            chosen = self.choose(context)
        except AirflowSkipException:
            raise
        except Exception as raised:
            if not isinstance(self.on_error, Fallback):
                raise
            chosen, error = self.on_error.name, f"{type(raised).__name__}: {raised}"[:_LONGEST_ERROR]
            log.warning("%s; on_error chooses %s", error, chosen, exc_info=True)
        if chosen is not None and not isinstance(chosen, str):
            raise RouteError(
                f"the router {self.task_id!r} returned {chosen!r:.200}, of type {type(chosen).__name__}: give the name "
                f"of one branch, or None for none; the branches are {', '.join(branches.tasks)}",
                router=self.task_id,
            )
        if chosen is not None and chosen not in branches.tasks:
            raise no_branch(self, branches, chosen)
        return chosen, error

    def _follow(self, stands: Decision, input_hash: str | None, branches: Branches) -> None:
        """Say that a decision stands.

        Raises:
            DecisionError: It cannot be followed.
        """
        chosen = stands.selected or "no branch"
        index = f" --map-index {stands.map_index}" if stands.map_index >= 0 else ""
        forget = f"airflow flowstone routes forget {stands.dag_id} {stands.run_id} {stands.router}{index}"
        if stands.selected is not None and stands.selected not in branches.tasks:
            raise DecisionError(
                f"the router {self.task_id!r} chose {chosen!r} at {stands.decided_at}, and has no such branch now, but "
                f"{', '.join(branches.tasks)}. Give the branch its name back, or let the router decide anew: "
                f"{forget}, then clear it",
                selected=stands.selected,
                branches=tuple(branches.tasks),
            )
        log.info("chose %s at %s, which stands", chosen, stands.decided_at)
        if stands.input_hash != input_hash:
            log.warning(
                "the input is another one than when %s was chosen; the decision stands. To decide anew: %s, then clear "
                "the router",
                chosen,
                forget,
            )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The decision, in the run facet ``flowstone_route``; called by Airflow's OpenLineage provider."""
        return lineage.decided(self._stands) if self._stands else None


def check_on_error(on_error: Any) -> None:
    """Check the option.

    Raises:
        OptionsError: No such value.
    """
    if on_error != "fail" and not isinstance(on_error, Fallback):
        hint = nearest(str(on_error), ["fail", "fallback"])
        raise OptionsError(f'on_error must be "fail" or fallback("branch"), not {on_error!r}{hint}')


def hash_of(value: Any) -> str | None:
    """SHA-256 of a value as JSON with sorted keys, in hexadecimal digits; ``None`` when it is no JSON."""
    try:
        return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError:
        return None


def _about(decision: Decision) -> dict[str, Any]:
    names = ("dag_id", "run_id", "router", "map_index")
    return {**{name: getattr(decision, name) for name in names}, "selected": decision.selected or ""}
