"""Approvals: Airflow's human-in-the-loop operators, with the decision kept in XCom and in the asset's lineage."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    DecoratedOperator,
    KeywordParameters,
    TaskDeferred,
    get_current_context,
)
from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator

from flowstone_provider import lineage, telemetry
from flowstone_provider.contracts.io_manager import make_reference
from flowstone_provider.errors import ApprovalError, OptionsError, RejectedError, StorageError, UnansweredError
from flowstone_provider.operators._approval import check_approval, check_given, decided, form, rejection
from flowstone_provider.operators._asset import announce, asset_key, check_asset, outlets_of, with_outlet
from flowstone_provider.operators._base import airflow_errors
from flowstone_provider.registry import create_io_manager

try:
    from airflow.sdk.exceptions import TaskAwaitingInput

    _PARKED: tuple[type[BaseException], ...] = (TaskDeferred, TaskAwaitingInput)
except ImportError:  # Airflow older than 3.3 waits in the triggerer
    _PARKED = (TaskDeferred,)


class ApproveOperator(ApprovalOperator):
    """Asks somebody to approve, and waits without a worker slot. Returns the decision, a dict.

    The decision is ``{"approved": bool, "by": {"id", "name"} or None, "at": ISO 8601, "reason": str or None,
    "subject": str, "asset": reference or None, "params": dict}``. ``by`` is ``None`` when nobody answered in time and
    ``defaults`` decided. ``params`` has what was entered in further form fields, those of ``params=…``.

    A rejection succeeds and skips what is downstream, as in ``ApprovalOperator``; an instance of a mapped task is
    skipped itself, which does the same for its index.

    Args:
        subject: What is to be approved, in a line; may be a template.
        body: What is needed to decide, in Markdown; may be a template.
        asset: The name of the asset that is to be approved; may be a template. It must be stored: the decision names
            the very value, by its checksum. When approved, an event of the Airflow asset has the decision.
        io_manager: The IO manager of the asset, as in the task that stores it.
        partition: The partition of the asset; by default the run's.
        assigned_users: Who may answer: ``{"id": …, "name": …}``, or a list of those. By default all who may edit the
            run.
        response_timeout: How long to wait; by default for ever.
        defaults: ``"Approve"`` or ``"Reject"``: what is decided when nobody answers in time. By default the task fails.
        fail_on_reject: A rejection fails the task, and is not tried again.
        execution_timeout: As of any task: how long it may run, the wait not counted.
        params: Further fields of the form. There is one already, ``reason``.
        **kwargs: See Airflow's ``ApprovalOperator``: ``notifiers``, ``ignore_downstream_trigger_rules``; and
            ``BaseOperator``.

    Raises:
        OptionsError: An option does not fit.
        UnknownNameError: No IO manager has this name; the message gives the nearest.
        AssetError: What is given is no name of an asset, or no partition.
    """

    template_fields: Collection[str] = (*ApprovalOperator.template_fields, "asset", "partition")

    def __init__(
        self,
        *,
        asset: str | None = None,
        io_manager: str = "file",
        partition: Any = None,
        response_timeout: timedelta | None = None,
        execution_timeout: timedelta | None = None,
        params: Any = None,
        **kwargs: Any,
    ) -> None:
        check_approval({**kwargs, "response_timeout": response_timeout, "asset": asset, "partition": partition})
        # Upstream takes an execution_timeout, also one of the DAG's default_args, for how long to wait.
        super().__init__(response_timeout=response_timeout, execution_timeout=None, params=form(params), **kwargs)
        self.execution_timeout = execution_timeout
        self.asset = asset
        self.io_manager = io_manager
        self.partition = partition
        self._given_partition = partition is not None
        self.decision: dict[str, Any] = {}
        if asset is not None:
            check_asset(asset, io_manager, partition)
            self.outlets = with_outlet(self.outlets, asset, io_manager)

    @property
    def serialized_params(self) -> dict[str, Any]:
        """The fields of the form. OpenLineage's ``enable_lineage`` adds a param to each task, which is none."""
        return {name: field for name, field in super().serialized_params.items() if not name.startswith("_")}

    def execute(self, context: Any) -> Any:
        """See `ApproveOperator`. Never returns: the task is resumed in `execute_complete`."""
        with airflow_errors():
            if self.ignore_downstream_trigger_rules and context["ti"].map_index >= 0:
                raise ApprovalError(
                    f"{self.task_id} is mapped: Airflow skips nothing on behalf of one index, so leave out "
                    "ignore_downstream_trigger_rules; a rejection skips the index itself"
                )
            request = {
                "subject": self.subject,
                "asset": self._reference(context),
                "asked_at": datetime.now(timezone.utc).isoformat(),
            }
            try:
                super().execute(context)
            except _PARKED as parked:
                telemetry.emit("flowstone.approval.ask", {}, _about(context))
                parked.kwargs = {**(parked.kwargs or {}), "request": request}  # type: ignore[attr-defined]
                raise

    def execute_complete(self, context: Any, event: dict[str, Any], request: dict[str, Any] | None = None) -> Any:
        """Take the answer, or that there was none.

        Args:
            context: The task's.
            event: Airflow's: who answered what, or the error.
            request: What `execute` knew. ``dag.test()`` of Airflow older than 3.3 loses it.
        """
        request = request or {"subject": self.subject, "asset": self._reference(context), "asked_at": None}
        if event.get("params_input"):
            # Airflow wants all fields or none; who answers by program need not know those of others.
            fields = {name: value for name, value in self.params.dump().items() if name in self.serialized_params}
            event = {**event, "params_input": {**fields, **event["params_input"]}}
        with airflow_errors():
            if event.get("error_type", "timeout") == "timeout":
                self._record(context, event, request)
            try:
                super().execute_complete(context, event)
            except HITLTimeoutError:
                raise UnansweredError(
                    f"{request['subject']!r}: nobody answered within {self.response_timeout}; Clear asks again, and "
                    'defaults="Approve" or "Reject" decides without an answer'
                ) from None
            except HITLRejectException:
                raise RejectedError(rejection(self.decision)) from None
            # Airflow has skipped what is downstream, but does not on behalf of one index.
            if context["ti"].map_index >= 0 and not self.decision["approved"]:
                raise AirflowSkipException(rejection(self.decision))
        return self.decision

    def _record(self, context: Any, event: Mapping[str, Any], request: dict[str, Any]) -> None:
        """Tell the decision everywhere: a rejection ends in an exception, which returns nothing."""
        self.decision = decision = decided(event, request)
        answered = "approved" if decision["approved"] else "rejected"
        verdict = "unanswered" if "error" in event else answered
        asked_at = datetime.fromisoformat(request["asked_at"] or decision["at"])
        seconds = (datetime.fromisoformat(decision["at"]) - asked_at).total_seconds()
        telemetry.emit("flowstone.approval.decide", {"seconds": seconds}, {**_about(context), "verdict": verdict})
        by = decision["by"]["name"] if decision["by"] else "nobody"
        self.log.info("%r is %s by %s: %s", decision["subject"], verdict, by, decision["reason"] or "no reason given")
        if verdict == "approved":
            self._announce(context, decision)
        else:
            self._leave_out_event()
        if verdict == "rejected" and self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=decision)

    def _reference(self, context: Mapping[str, Any]) -> dict[str, Any] | None:
        """To what is to be approved, as it is stored now."""
        if self.asset is None:
            return None
        key = asset_key(self.asset, self.partition, context, given=self._given_partition)
        manager = create_io_manager(self.io_manager)
        receipt = manager.receipt(key)
        if receipt is None:
            manager.load(key)  # which raises, and names the partitions there are
            raise StorageError(f"{key} was stored only now: ask again")
        return make_reference(key, self.io_manager, receipt)

    def _announce(self, context: Mapping[str, Any], decision: dict[str, Any]) -> None:
        if decision["asset"] is not None:
            reference = decision["asset"]
            told = {name: value for name, value in decision.items() if name != "asset"}
            announce(context, outlets_of(reference["asset"], self.io_manager), {**reference, "approval": told})

    def _leave_out_event(self) -> None:
        """An event would start the DAGs that wait for the asset."""
        ours = [] if self.asset is None else outlets_of(self.asset, self.io_manager)
        self.outlets = [outlet for outlet in self.outlets if outlet not in ours]

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What OpenLineage is told of the decision, also of one that failed the task."""
        return lineage.approval(self.decision) if self.decision else None


class ApprovalTaskOperator(DecoratedOperator, ApproveOperator):
    """Asks when its function calls `wait_for_approval`. Returns the decision, or else what the function returns.

    The function is called once. It is not called again after the answer.

    Args:
        python_callable: The function.
        **kwargs: See `ApproveOperator`.
    """

    custom_operator_name = "@task.approval"
    # What is asked, the function says: it is no template.
    template_fields: Collection[str] = (*DecoratedOperator.template_fields, "asset", "partition")

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, subject="", **kwargs)

    def execute(self, context: Any) -> Any:
        """See `ApprovalTaskOperator`."""
        function, args = self.python_callable, self.op_args
        kwargs = KeywordParameters.determine(function, args, {**context, **self.op_kwargs}).unpacking()
        try:
            with airflow_errors():
                value = function(*args, **kwargs)
                value = asyncio.run(value) if inspect.iscoroutine(value) else value
        except _Asked as asked:
            self.subject, self.body = asked.subject, asked.body
            return ApproveOperator.execute(self, context)
        self._leave_out_event()
        return value


class _Asked(BaseException):
    """Leaves the function that asks. No ``except Exception`` of a user's catches it."""

    def __init__(self, subject: str, body: str | None) -> None:
        super().__init__(subject)
        self.subject = subject
        self.body = body


def wait_for_approval(subject: str, *, body: str | None = None) -> NoReturn:
    """Ask for an approval, from within a function with ``@task.approval``.

    The call does not return: the task waits without a worker slot, and its output is the decision; see
    `ApproveOperator`. Everything else about the approval is given to ``@task.approval(…)``.

    Args:
        subject: What is to be approved, in a line.
        body: What is needed to decide, in Markdown.

    Raises:
        ApprovalError: The function is of another kind of task, or of none.
        OptionsError: The subject is empty, or no text.
    """
    try:
        operator = get_current_context()["task"]
    except RuntimeError:
        operator = None
    if not isinstance(operator, ApprovalTaskOperator):
        where = "outside a task" if operator is None else f"in {operator.task_id!r}, a {operator.task_type}"
        raise ApprovalError(
            f"wait_for_approval was called {where}: only a function with @task.approval can wait and not be run again. "
            "Decorate it so, or add a task that always asks with approve(…)"
        )
    if not isinstance(subject, str) or not subject.strip():
        raise OptionsError(f"wait_for_approval needs a subject: what is to be approved, in a line; not {subject!r}")
    raise _Asked(subject, body)


def approve(subject: str, *, task_id: str = "approve", **options: Any) -> Any:
    """Add a task that asks for an approval each time; what is downstream waits for it.

    Args:
        subject: What is to be approved, in a line; may be a template.
        task_id: The task's.
        **options: ``body`` and the others of `ApproveOperator`.

    Returns:
        The task's output, an ``XComArg``: the decision.

    Raises:
        OptionsError: An option is misspelt, or does not fit.
        UnknownNameError: ``io_manager`` is no IO manager's name.
        AssetError: ``asset`` is no name of an asset, or ``partition`` none.
    """
    check_given("approve", options, "body")
    return ApproveOperator(task_id=task_id, subject=subject, **options).output


def _about(context: Mapping[str, Any]) -> dict[str, str]:
    ti = context["ti"]
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
