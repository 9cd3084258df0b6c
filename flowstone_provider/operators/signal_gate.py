"""A task that waits for a callback from outside."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, NoReturn, get_args
from uuid import UUID

import orjson
from airflow.providers.common.compat.sdk import AirflowSkipException, DecoratedOperator, KeywordParameters
from pydantic import BaseModel, ValidationError

from flowstone_provider import config, telemetry, tokens
from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import GateTimeoutError, OptionsError, SignalPayloadError
from flowstone_provider.gates import ANY_JSON, OPTION, PARKING, SETTLE, SIGNAL, early_key, fingerprint, form, value_of
from flowstone_provider.operators._base import airflow_errors

log = logging.getLogger(__name__)

OnTimeout = Literal["fail", "skip", "default"]

WEEK = timedelta(days=7)

_URL = "signal_url"


class SignalGateOperator(DecoratedOperator):
    """Calls a function with a URL, then waits, without a worker slot, for JSON that is posted to it. Returns the JSON.

    Args:
        python_callable: The function, called once a try with the keyword argument ``signal_url``: it starts the outside
            job and hands it the URL. What it returns is not kept.
        timeout: How long the gate is open, counted from before the function is called.
        on_timeout: What becomes of the task then: ``"fail"`` (without Airflow's retries, as of a sensor), ``"skip"``,
            or ``"default"``, which returns ``default``.
        default: The output after a timeout, with ``on_timeout="default"``; JSON.
        schema: A pydantic model that bodies must fit. The endpoint refuses others by the model's JSON schema, and the
            gate stays open; what only the model can check, the task checks. The output is the model's JSON.
        on_signal: Called in the task with the body (with ``schema``, an instance of it); what it returns is the output.
        **kwargs: Arguments of any Airflow task; ``op_args`` and ``op_kwargs`` of the function.

    Raises:
        OptionsError: An option that does not fit, or a function without a parameter ``signal_url``.
    """

    custom_operator_name = "@task.signal_gate"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        timeout: timedelta = WEEK,
        on_timeout: OnTimeout = "fail",
        default: Any = None,
        schema: type[BaseModel] | None = None,
        on_signal: Callable[[Any], Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_gate(python_callable, timeout, on_timeout, default, schema, on_signal)
        given = dict(op_kwargs or {})
        if _URL in given:
            raise OptionsError(f"{python_callable.__qualname__}(): {_URL} is given by the gate")
        # Airflow checks here that the function can be called.
        super().__init__(python_callable=python_callable, op_kwargs={**given, _URL: None}, **kwargs)
        self.op_kwargs = given
        self.timeout = timeout
        self.on_timeout = on_timeout
        self.default = default
        self.schema = schema
        self.on_signal = on_signal

    def execute(self, context: Any) -> Any:
        """See `SignalGateOperator`."""
        ti = context["ti"]
        deadline = datetime.now(timezone.utc) + self.timeout
        with airflow_errors():
            url = self._open(ti, deadline)
        kwargs = {**context, **self.op_kwargs, _URL: url}
        started = KeywordParameters.determine(self.python_callable, self.op_args, kwargs).unpacking()
        value = self.python_callable(*self.op_args, **started)
        if inspect.iscoroutine(value):
            asyncio.run(value)
        # From here on the endpoint waits with a signal until the task has parked.
        ti.xcom_push(key=PARKING, value=True)
        early = ti.xcom_pull(task_ids=ti.task_id, key=early_key(ti.map_index))
        if early is None:
            log.info("waiting for a signal until %s", deadline.isoformat(timespec="seconds"))
            self._park(ti.id, deadline)
        return self.resume(context, {"params_input": {SIGNAL: early}, "responded_by_user": {"name": "signal"}})

    def _open(self, ti: Any, deadline: datetime) -> str:
        """Write the row that takes the signal, and return the URL."""
        from airflow.sdk.execution_time.hitl import upsert_hitl_detail
        from airflow.sdk.log import mask_secret

        schema = ANY_JSON if self.schema is None else self.schema.model_json_schema()
        gate = tokens.Gate(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            ti_id=str(ti.id),
            deadline=int(deadline.timestamp()),
            schema=fingerprint(schema),
        )
        token = tokens.sign(gate)
        mask_secret(token)
        url = f"{config.base_url()}/flowstone/signals/{token}"
        # Before the function has the URL: a signal that comes before the task has parked is not lost.
        upsert_hitl_detail(
            ti_id=ti.id,
            options=[OPTION],
            subject=f"{ti.task_id} waits for a signal",
            body=f"Until {deadline:%Y-%m-%d %H:%M:%S} UTC. Resume it by hand only if the signal will not come.",
            params=form(schema),
        )
        telemetry.emit("flowstone.gate.open", {"timeout": self.timeout.total_seconds()}, _about(ti))
        return url

    def _park(self, ti_id: UUID, deadline: datetime) -> NoReturn:
        try:
            from airflow.sdk.exceptions import TaskAwaitingInput
        except ImportError:  # before Airflow 3.3 a trigger looks for the answer
            from flowstone_provider.triggers.signal_gate import GateTrigger

            trigger = GateTrigger(ti_id=ti_id, options=[OPTION], params={}, timeout_datetime=deadline)
            self.defer(trigger=trigger, method_name="resume")
        left = max(deadline - datetime.now(timezone.utc), SETTLE)
        raise TaskAwaitingInput(method_name="resume", timeout=left)

    def resume(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on with the answer, or without one.

        Args:
            context: Airflow's.
            event: The answer (``params_input``), or an ``error_type``: ``"timeout"``.
        """
        with airflow_errors():
            if event.get("error_type") == "timeout":
                return self._time_is_up(context["ti"])
            if "error" in event:
                raise SignalPayloadError(f"the answer to gate {self.task_id!r} cannot be used: {event['error']}")
            value = self._checked(value_of(event["params_input"] or {}))
        log.info("resumed by %s", (event.get("responded_by_user") or {}).get("name"))
        if self.on_signal is not None:
            value = self.on_signal(value)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def _time_is_up(self, ti: Any) -> Any:
        telemetry.emit("flowstone.gate.timeout", {}, {**_about(ti), "verdict": self.on_timeout})
        what = f"no signal came to gate {self.task_id!r} within {self.timeout}"
        if self.on_timeout == "fail":
            raise GateTimeoutError(
                f'{what}. on_timeout="skip" or "default" would let the run go on', timeout=self.timeout
            )
        log.warning("%s", what)
        if self.on_timeout == "skip":
            raise AirflowSkipException(what)
        return self.default

    def _checked(self, value: Any) -> Any:
        if self.schema is None:
            return value
        try:
            return self.schema.model_validate(value)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'the body'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_context=False, include_input=False)
            )
            raise SignalPayloadError(
                f"what came to gate {self.task_id!r} does not fit {self.schema.__name__}: {problems}. Clear the task "
                "to open the gate again"
            ) from None


def check_gate(
    function: Callable[..., Any],
    timeout: Any,
    on_timeout: Any,
    default: Any,
    schema: Any,
    on_signal: Any,
) -> None:
    """Check the options of a gate when the DAG is parsed.

    Raises:
        OptionsError: One does not fit.
    """
    parameters = inspect.signature(function).parameters
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not takes_all and (_URL not in parameters or parameters[_URL].kind not in keyword):
        raise OptionsError(f"{function.__qualname__}() needs a parameter {_URL}: the URL that ends the wait")
    if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
        raise OptionsError(f"timeout must be a timedelta longer than zero, not {timeout!r}")
    if on_timeout not in get_args(OnTimeout):
        words = [*get_args(OnTimeout)]
        hint = nearest(on_timeout, words) if isinstance(on_timeout, str) else f"; there are: {', '.join(words)}"
        raise OptionsError(f'on_timeout cannot be {on_timeout!r}{hint}. To return a value: "default", with default=…')
    if default is not None and on_timeout != "default":
        raise OptionsError(f'default=… is returned with on_timeout="default" only, not with {on_timeout!r}')
    try:
        orjson.dumps(default)
    except TypeError as error:
        raise OptionsError(f"default must be JSON: {error}") from None
    if schema is not None and not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise OptionsError(f"schema must be a pydantic model, a class, not {schema!r}")
    if on_signal is not None and not callable(on_signal):
        raise OptionsError(f"on_signal must be a function, not {on_signal!r}")


def _about(ti: Any) -> dict[str, Any]:
    return {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
