"""What a state does to its input before its work, and to its result behind it; and its settings as those of a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flowstone_provider.asl.model import Map, Parallel, Pass, State, Task, Worker
from flowstone_provider.asl.module import Module
from flowstone_provider.asl.payload import expression, path, placed, template
from flowstone_provider.asl.scope import Scope

# Errors that any failure of a task is, in Retry and Catch.
ANY_ERROR = ("States.ALL", "States.TaskFailed")


@dataclass
class Lines:
    """Statements, and the expression that they lead to."""

    statements: list[str] = field(default_factory=list)
    value: str = "data"


def entering(module: Module, scope: Scope, state: State) -> tuple[list[str], Scope]:
    """The InputPath: statements, and the scope of what comes behind them."""
    if state.input_path == "$":
        return [], scope
    return [f"given = {path(module, scope, state.input_path, 'InputPath')}"], scope.but(data="given")


def payload(module: Module, scope: Scope, state: State) -> str:
    """What the state's work is given: Parameters, Arguments, or the input."""
    given = getattr(state, "arguments" if state.query_language == "JSONata" else "parameters", None)
    if given is None:
        return scope.data
    return template(module, scope, state.query_language, given, "parameters")


def leaving(module: Module, scope: Scope, state: State, result: str, raw: str) -> Lines:
    """What becomes of a result: ResultSelector, ResultPath and OutputPath, or Output; and Assign.

    Args:
        module: The file.
        scope: What the state's expressions see, behind the InputPath.
        state: The state.
        result: Its result, as Python.
        raw: Its input, before the InputPath.
    """
    out = Lines(value=result)
    works = isinstance(state, Worker | Pass)
    selector = getattr(state, "result_selector", None)
    if selector is not None or state.output is not None or (state.assign and works):
        if result != "result":
            out.statements.append(f"result = {result}")
        out.value = "result"
    if selector is not None:
        out.value = template(module, scope.but(data="result"), "JSONPath", selector, "ResultSelector")
    if state.query_language == "JSONata":
        if state.output is not None:
            out.value = template(module, scope.but(result="result"), "JSONata", state.output, "Output")
    else:
        if works:
            out.value = placed(module, scope, getattr(state, "result_path", "$"), out.value, raw)
        if state.output_path != "$":
            if not out.value.isidentifier():
                out.statements.append(f"output = {out.value}")
                out.value = "output"
            out.value = path(module, scope.but(data=out.value), state.output_path, "OutputPath")
    if state.assign:
        # Output and Assign both see the variables as they were.
        out.statements += [f"output = {out.value}"] if out.value != "output" else []
        out.value = "output"
        # In an Assign of JSONPath, $ is the result, or of a state without one the input.
        seen = scope.but(result="result", **{} if state.query_language == "JSONata" else {"data": "result"})
        out.statements.append(assignment(module, seen if works else scope, state, state.assign))
    return out


def assignment(module: Module, scope: Scope, state: State, assign: dict[str, Any]) -> str:
    """The statement that assigns variables."""
    values = template(module, scope, state.query_language, assign, "Assign")
    return "variables = {**variables, " + values[1:]


def keeps_input(state: State) -> bool:
    """Whether the state hands on its input, and drops its result."""
    dropped = isinstance(state, Worker) and state.has("result_path") and state.result_path is None
    return dropped and state.output_path == "$" and not state.assign and state.query_language == "JSONPath"


def shapes_result(state: State) -> bool:
    """Whether the state's output is something else than its result."""
    own = isinstance(state, Worker) and (state.result_selector is not None or state.result_path != "$")
    return bool(own or state.output_path != "$" or state.output is not None or state.assign)


def changes_input(state: State) -> bool:
    """Of a state without work: whether its output is something else than its input."""
    return bool(state.input_path != "$" or state.output_path != "$" or state.output is not None or state.assign)


def doc_of(name: str, state: State) -> str:
    """What the docstring of a state's function says."""
    text = f"{state.type} state {name!r}."
    return f"{text}\n\n{state.comment}" if state.comment else text


def task_settings(module: Module, name: str, state: State) -> list[str]:
    """Retry, Catch and TimeoutSeconds as arguments of a task."""
    settings = retry_settings(module, name, state) if isinstance(state, Worker) else []
    if isinstance(state, Task):
        seconds = state.timeout_seconds
        if isinstance(seconds, (int, float)):
            settings.append(f"execution_timeout={module.use('timedelta')}(seconds={seconds})")
        elif seconds is not None or state.timeout_seconds_path is not None:
            module.remark(name, "its timeout is an expression: give the task an execution_timeout, which is a constant")
        if state.heartbeat_seconds is not None or state.heartbeat_seconds_path is not None:
            module.remark(name, "HeartbeatSeconds has no counterpart: the timeout of the whole task stands in for it")
        if state.credentials is not None:
            module.remark(name, "Credentials: put the role to assume into an Airflow connection, its extra role_arn")
    if isinstance(state, Worker) and state.catch:
        module.use("lambda_error_output" if _invokes_lambda(state) else "error_output")
        settings.append(f"on_failure_callback={module.use('keep_error')}")
    return settings


def _invokes_lambda(state: State) -> bool:
    return isinstance(state, Task) and ":lambda:" in state.resource


def retry_settings(module: Module, name: str, state: Worker) -> list[str]:
    """Retry as arguments of a task."""
    if not state.retry:
        return []
    if isinstance(state, Map | Parallel):
        module.remark(name, "its Retry would run everything again: here each task within has retries of its own")
        return []
    chosen = max(state.retry, key=lambda each: ("States.ALL" in each.error_equals, each.max_attempts))
    named = [error for each in state.retry for error in each.error_equals if error not in ANY_ERROR]
    if named:
        module.remark(name, f"Retry for {', '.join(named)} only: Airflow tries again after any error")
    if len(state.retry) > 1:
        module.remark(name, f"{len(state.retry)} elements of Retry: the one for {', '.join(chosen.error_equals)} holds")
    if chosen.max_attempts == 0:
        return ["retries=0"]
    timedelta = module.use("timedelta")
    settings = [f"retries={chosen.max_attempts}", f"retry_delay={timedelta}(seconds={chosen.interval_seconds})"]
    if chosen.backoff_rate > 1 and chosen.max_attempts > 1:
        settings.append("retry_exponential_backoff=True")
        if chosen.backoff_rate != 2:
            rate = f"{chosen.backoff_rate:g}"
            module.remark(name, f"BackoffRate {rate}: True doubles; where Airflow takes a number (3.2 on), write it")
    if chosen.max_delay_seconds is not None:
        settings.append(f"max_retry_delay={timedelta}(seconds={chosen.max_delay_seconds})")
    return settings


def fail_arguments(module: Module, scope: Scope, state: Any) -> tuple[str, str]:
    """Error and Cause of a Fail state, as Python."""
    found = []
    for name in ("error", "cause"):
        fixed, by_path = getattr(state, name), getattr(state, f"{name}_path")
        if by_path is not None:
            found.append(expression(module, scope, "JSONPath", by_path, name))
        elif fixed is None:
            found.append("'States.TaskFailed'" if name == "error" else "''")
        else:
            found.append(template(module, scope, state.query_language, fixed, name))
    return found[0], found[1]
