"""Plan, batch, gather."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException

from flowstone_provider import config, registry, telemetry
from flowstone_provider.contracts.options import nearest
from flowstone_provider.contracts.scatter import Barrier, Batch, Plan
from flowstone_provider.errors import NotPlannedError, OptionsError
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.operators._asset import with_outlet
from flowstone_provider.operators._base import ScatterOperator, airflow_errors, refuse_nesting
from flowstone_provider.operators.into import Into, into_at_parse, store_results
from flowstone_provider.operators.source import items_at_parse, items_at_run
from flowstone_provider.scatter.batch import item_lines, own_failure, run_batch
from flowstone_provider.scatter.manifest import exceeded, gather
from flowstone_provider.scatter.planner import make_plan
from flowstone_provider.scatter.recorder import Recorder

log = logging.getLogger(__name__)

# The label in the grid, before and after the batch has run.
BATCH_LABEL = (
    "{{ flowstone_label if flowstone_label is defined else "
    "'#%s · %s items' % (task.batch['batch'], task.batch['items'] or '?') }}"
)


class ScatterPlanOperator(ScatterOperator):
    """Reads items and makes batches. Returns one descriptor a batch, to be mapped over: ``{"batch", "items"}``.

    Args:
        items: A `source`, the name of a configured source, a list, or another task's output.
        batch_files: Keep the items of every batch in a file of JSON Lines, and give its ``uri`` in the descriptor:
            for operators that read them themselves.
        **kwargs: See `ScatterOperator`.
    """

    template_fields: Collection[str] = ("items", "options")

    def __init__(self, *, items: Any, batch_files: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_nesting(f"ScatterPlanOperator {self.task_id!r}", self.task_group)
        self.items = self.take_functions(items_at_parse(items))
        self.batch_files = batch_files

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """See `ScatterPlanOperator`."""
        with airflow_errors():
            resources = AirflowResources()
            options = self.scatter_options()
            coordinator, barrier, progress = self.open_scatter(context)
            about = _about(barrier)
            started = time.monotonic()
            if progress.plan is not None:
                log.info("the plan in %s is complete: it is used again", coordinator.uri)
            elif progress.checkpoint is not None:
                log.info("planning goes on after %s batches", len(progress.checkpoint["batches"]))
            planned = sum(progress.checkpoint["batches"]) if progress.checkpoint else 0
            telemetry.emit("flowstone.scatter.plan.start", {"items": planned}, about)
            with telemetry.span("flowstone.scatter.plan.stop", about):
                plan = make_plan(
                    registry.create_reader(items_at_run(self.put_functions(self.items)), resources),
                    options,
                    coordinator,
                    progress,
                    limit=config.max_map_length(),
                    resources=resources,
                    read_now=self.batch_files,
                )
            telemetry.emit(
                "flowstone.scatter.plan.stop",
                {"items": plan.items or 0, "batches": len(plan.batches), "seconds": time.monotonic() - started},
                about,
            )
            total = "an unknown number of" if plan.items is None else f"{plan.items:,}"
            log.info("planned %s items in %s batches in %s", total, len(plan.batches), coordinator.uri)
            uris = (
                {batch.number: coordinator.batch_uri(batch.number) for batch in plan.batches}
                if self.batch_files
                else {}
            )
            return [
                {"batch": batch.number, "items": batch.items}
                | ({"uri": uris[batch.number]} if self.batch_files else {})
                for batch in plan.batches
            ]


class ScatterBatchOperator(ScatterOperator):
    """Processes one batch with a Python function. Returns what became of it, in numbers.

    To be mapped: ``ScatterBatchOperator.partial(task_id="batch", …).expand(batch=plan.output)``.

    Args:
        batch: A descriptor from the plan.
        python_callable: Called with each item; may be a coroutine function.
        op_kwargs: The batch input: further keyword arguments of every call.
        **kwargs: See `ScatterOperator`.
    """

    template_fields: Collection[str] = ("batch", "op_kwargs", "options")
    template_fields_renderers: ClassVar[dict[str, str]] = {"op_kwargs": "py"}

    def __init__(
        self,
        *,
        batch: dict[str, Any],
        python_callable: Callable[..., Any],
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("map_index_template", BATCH_LABEL)
        super().__init__(**kwargs)
        self.batch = batch
        self.python_callable = python_callable
        self.op_kwargs = dict(op_kwargs or {})
        self._recorder: Recorder | None = None

    def execute(self, context: Any) -> dict[str, int]:
        """See `ScatterBatchOperator`."""
        number = self.batch["batch"]
        context["flowstone_label"] = f"#{number}"
        if context.get("map_index_template") is None:  # of a mapped task Airflow sees what partial() was given, no more
            context["map_index_template"] = self.map_index_template
        with airflow_errors():
            options = self.scatter_options()
            coordinator, barrier, progress = self.open_scatter(context)
            plan = _sealed(progress.plan, coordinator.uri)
            with telemetry.span("flowstone.scatter.batch.stop", {**_about(barrier), "batch": number}):
                summary = run_batch(
                    self.python_callable,
                    coordinator,
                    barrier,
                    plan,
                    number,
                    options,
                    AirflowResources(),
                    arguments={**context_arguments(self.python_callable, context, self.op_kwargs), **self.op_kwargs},
                    # Airflow's own bound holds for the batches of one run, too.
                    max_active=self.dag.max_active_tasks,
                    on_start=self._started,
                )
        label = f"#{number} · {summary.succeeded} ok · {summary.failed} failed"
        context["flowstone_label"] = f"{label} · {summary.pending} pending" if summary.pending else label
        if (error := own_failure(summary, plan, options)) is not None:
            raise AirflowFailException(str(error)) from error
        if summary.pending:
            if (reason := coordinator.cancelled()) is not None:
                raise AirflowSkipException(f"{label}; {summary.pending} items are pending: {reason}")
            raise AirflowException(f"{label}; stopped by a signal, {summary.pending} items are pending")
        log.info("%s", label)
        return {"batch": number, "succeeded": summary.succeeded, "failed": summary.failed}

    def _started(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_kill(self) -> None:
        """Stop between items; what is done is recorded."""
        if self._recorder is not None:
            self._recorder.stop.set()


class ScatterGatherOperator(ScatterOperator):
    """Closes a scatter: counts, judges, writes the manifest. Returns the result reference.

    It runs whatever happened before it, and it alone decides whether the scatter failed. When it did, the reference is
    still there, under the XCom key ``scatter``.

    Args:
        batch_task_id: The id of the mapped task, when another operator than ours ran the batches: items of a batch
            whose instance succeeded then succeeded.
        into: Where to store the results as an asset, an `Into` or its options. The reference to it is the ``"asset"``
            of the result reference.
        **kwargs: See `ScatterOperator`.
    """

    template_fields: Collection[str] = ("options", "into")

    def __init__(
        self,
        *,
        batch_task_id: str | None = None,
        into: Into | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)
        self.batch_task_id = batch_task_id
        self.into = None
        if into is not None:
            results = None if batch_task_id is not None else self.options.get("results", "jsonl")
            self.into = into_at_parse(into, results)
            self.outlets = with_outlet(self.outlets, self.into["asset"], self.into.get("io_manager", "file"))

    def execute(self, context: Any) -> dict[str, Any]:
        """See `ScatterGatherOperator`."""
        if self._left_out(context["ti"]):
            raise AirflowSkipException("the scatter was skipped: nothing was planned in this run")
        with airflow_errors():
            options = self.scatter_options()
            coordinator, barrier, progress = self.open_scatter(context)
            plan = _sealed(progress.plan, coordinator.uri)
            resources = AirflowResources()

            def lines(batch: Batch) -> Any:
                return item_lines(coordinator, batch, options, resources)

            if self.batch_task_id is not None:  # what another operator made, it keeps itself
                options = options.model_copy(update={"results": None})
            reference = gather(coordinator, barrier, plan, options, lines, self._succeeded_batches(context))
            counts, errors = reference["counts"], reference["errors"]
            context["ti"].xcom_push(key="scatter", value=reference)
            if reference["verdict"] == "exceeded":
                what = f"scatter {self.scatter_id!r}"
                raise exceeded(what, counts, errors, options.tolerance, reference["manifest"])
            if self.into is not None:
                reference["asset"] = store_results(self.into, reference, context)
        log.info("%s: %s; manifest: %s", self.scatter_id, counts, reference["manifest"])
        for error in errors:
            log.warning("%s × %s, first at item %s", f"{error['count']:,}", error["signature"], error["index"])
        return reference

    def _left_out(self, ti: Any) -> bool:
        """Whether all before it was skipped, the plan included: the scatter is in a branch that was not chosen."""
        found = ti.get_task_states(dag_id=ti.dag_id, task_ids=sorted(self.upstream_task_ids), run_ids=[ti.run_id])
        states = {str(state) for state in found.get(ti.run_id, {}).values()}
        return states == {"skipped"}

    def _succeeded_batches(self, context: Any) -> frozenset[int] | None:
        if self.batch_task_id is None:
            return None
        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[self.batch_task_id], run_ids=[ti.run_id])
        prefix = f"{self.batch_task_id}_"
        return frozenset(
            int(name.removeprefix(prefix))
            for name, state in states.get(ti.run_id, {}).items()
            if name.startswith(prefix) and str(state) == "success"
        )


def _sealed(plan: Plan | None, uri: str) -> Plan:
    if plan is None:
        raise NotPlannedError(
            f"planning failed, so there is nothing to run or to gather: {uri} holds no sealed plan. See the log of the "
            "plan task; if that succeeded, check that [flowstone] storage is the same for all workers"
        )
    return plan


def _about(barrier: Barrier) -> dict[str, Any]:
    return {"dag_id": barrier.dag_id, "run_id": barrier.run_id, "scatter_id": barrier.scatter_id}


def item_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function that processes items, without the first, which takes the item.

    Raises:
        OptionsError: It has no first parameter.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise OptionsError(f"{function.__qualname__}() needs a first parameter: it is given the item")
    return parameters[1:]


def check_batch_input(function: Callable[..., Any], given: Mapping[str, Any], context_keys: Collection[str]) -> None:
    """Check the batch input against a function's parameters, when the DAG is parsed.

    Raises:
        OptionsError: An argument that the function does not take, or one missing that nobody gives.
    """
    parameters = item_parameters(function)
    names = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    takes_all = len(names) < len(parameters)
    for name in given:
        if name == "item_context":
            raise OptionsError("item_context is given by the runner, not as batch input")
        if name not in names and not takes_all:
            raise OptionsError(f"{function.__qualname__}() takes no batch input {name!r}{nearest(name, names)}")
    for parameter in parameters:
        known = parameter.name in given or parameter.name == "item_context" or parameter.name in context_keys
        optional = parameter.default is not parameter.empty or parameter.kind in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
        if not known and not optional:
            raise OptionsError(
                f"{function.__qualname__}() needs {parameter.name!r}: give it as batch input, "
                f"{function.__name__}({parameter.name}=…)"
            )


def context_arguments(
    function: Callable[..., Any], context: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Airflow's context variables that a function asks for by the names of its parameters."""
    names: Sequence[str] = [parameter.name for parameter in item_parameters(function)]
    return {name: context[name] for name in names if name not in given and name in context}
