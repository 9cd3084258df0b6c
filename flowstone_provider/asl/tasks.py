"""States as tasks: each writer gives the lines that stand in the DAG, and what the next state needs of them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flowstone_provider.asl.model import Fail, Parallel, Pass, State, Wait
from flowstone_provider.asl.module import Module, indented
from flowstone_provider.asl.payload import expression, is_static, template
from flowstone_provider.asl.scope import Scope
from flowstone_provider.asl.shaping import (
    changes_input,
    doc_of,
    entering,
    fail_arguments,
    leaving,
    payload,
)

# An operator of the Amazon provider reads a file for a template that ends so.
FILES = (".sql", ".json", ".py")


@dataclass
class Written:
    """A state in the DAG.

    Attributes:
        lines: Of the function that makes the DAG.
        value: The variable of its output.
        head: The variable of the task or group that it begins with.
        last: The variable of what comes before the next state, when ``value`` is older than it.
        tasks: The ids of its tasks one after the other, without those of the groups around the state.
    """

    lines: list[str]
    value: str
    head: str
    last: str | None = None
    tasks: list[str] = field(default_factory=list)


class Tasks:
    """Writes states as tasks.

    Args:
        module: The file.
        variables: Whether the machine has variables: then what tasks hand on is ``{"data", "variables"}``.
    """

    def __init__(self, module: Module, *, variables: bool) -> None:
        self.module = module
        self.variables = variables

    def scope(self, name: str) -> Scope:
        """What the expressions of a state see in its function."""
        return Scope(use=self.module.use, state=name, variables="variables" if self.variables else None)

    def function(
        self,
        name: str,
        doc: str,
        body: Sequence[str],
        more: Sequence[str] = (),
        decorator: str = "task",
        returns: str | None = None,
    ) -> str:
        """Write a task's function, whose first parameter is what tasks hand on."""
        if decorator.startswith("task"):
            self.module.use("task")
        if not self.variables:
            return self.module.function(name, ["data", *more], doc, body, decorator=decorator, returns=returns)
        unpack = "data, variables = flow['data'], flow['variables']"
        return self.module.function(name, ["flow", *more], doc, [unpack, *body], decorator=decorator, returns=returns)

    def handed_on(self, value: str) -> str:
        """The statement that hands a value on."""
        return f"return {{'data': {value}, 'variables': variables}}" if self.variables else f"return {value}"

    def write(self, name: str, id_: str, state: State, given: str) -> Written:
        """Write a state that is one task, or a few.

        Args:
            name: The state's.
            id_: Its identifier.
            state: The state.
            given: The variable of its input.
        """
        if isinstance(state, Wait):
            return self._wait(name, id_, state, given)
        scope = self.scope(name)
        if isinstance(state, Fail):
            error, cause = fail_arguments(self.module, scope, state)
            message = message_of(error, cause)
            text = f"{self.module.use('AirflowFailException')}({message})"
            self.function(id_, doc_of(name, state), [f"raise {text}"])
        else:
            lines, inner = entering(self.module, scope, state)
            result = inner.data
            if isinstance(state, Pass):
                result = repr(state.result) if state.has("result") else payload(self.module, inner, state)
            ended = leaving(self.module, inner, state, result, scope.data)
            self.function(id_, doc_of(name, state), [*lines, *ended.statements, self.handed_on(ended.value)])
        what = "raises AirflowFailException" if isinstance(state, Fail) else "a Python task"
        self.module.report.translated.append(f"{name} ({state.type}): {what}")
        return self.single(id_, given)

    def single(self, id_: str, given: str) -> Written:
        """A state that is one task, whose function has the state's identifier."""
        value = self.module.name(id_, "output")
        return Written([f"{value} = {id_}({given})"], value, value, tasks=[id_])

    def shaped(self, name: str, id_: str, state: State, result: str) -> str:
        """Write the function that makes a state's output of its input and its result."""
        scope = self.scope(name)
        lines, inner = entering(self.module, scope, state)
        ended = leaving(self.module, inner, state, result, scope.data)
        function = self.module.name(id_, "result")
        doc = f"The output of state {name!r}."
        return self.function(function, doc, [*lines, *ended.statements, self.handed_on(ended.value)], ["result"])

    def branch_input(self, name: str, id_: str, state: Parallel) -> str | None:
        """Write the function that makes the input of branches, where it is not the state's own."""
        if state.input_path == "$" and state.parameters is None and state.arguments is None:
            return None
        lines, inner = entering(self.module, self.scope(name), state)
        function = self.module.name(id_, "parameters")
        body = [*lines, self.handed_on(payload(self.module, inner, state))]
        return self.function(function, f"What the branches of state {name!r} are given.", body)

    def _wait(self, name: str, id_: str, state: Wait, given: str) -> Written:
        module = self.module
        (said,) = state.until
        raw = getattr(state, said)
        module.report.translated.append(f"{name} (Wait): a sensor that holds no worker")
        if said == "seconds" and is_static(raw, state.query_language) and not changes_input(state):
            # Rendered when the task starts. WaitSensor does the same, but not in `dag.test()`.
            target = f"{{{{ (ti.start_date + macros.timedelta(seconds={raw})).isoformat() }}}}"
            line = f"{id_} = {module.use('DateTimeSensorAsync')}(task_id={id_!r}, target_time={target!r})"
            return Written([line], given, id_, last=id_, tasks=[id_])
        until = module.name(id_, "until")
        scope = self.scope(name)
        lines, inner = entering(module, scope, state)
        when = (
            expression(module, inner, "JSONPath", raw, said)
            if said.endswith("_path")
            else template(module, inner, state.query_language, raw, said)
        )
        if said.startswith("seconds"):
            now = f"{module.use('datetime')}.now({module.use('timezone')}.utc)"
            when = f"({now} + {module.use('timedelta')}(seconds={when})).isoformat()"
        self.function(until, f"Until when state {name!r} waits.", [*lines, f"return {when}"])
        # As a template: the sensor of Airflow 3.1 takes no other task's output.
        target = "{{ ti.xcom_pull(task_ids=task.upstream_task_ids | first) }}"
        sensor = f"{module.use('DateTimeSensorAsync')}(task_id='wait', target_time={target!r})"
        group, waits = module.use("TaskGroup"), module.name(id_, "sensor")
        inside = [f"{waits} = {sensor}", f"{until}({given}) >> {waits}"]
        if not changes_input(state):
            return Written(grouped(group, id_, inside), given, id_, last=id_, tasks=[f"{id_}.{until}", f"{id_}.wait"])
        ended = leaving(module, inner, state, inner.data, scope.data)
        output = self.function(
            module.name(id_, "result"),
            f"The output of state {name!r}.",
            [*lines, *ended.statements, self.handed_on(ended.value)],
        )
        value = module.name(id_, "output")
        inside += [f"{value} = {output}({given})", f"{waits} >> {value}"]
        return Written(grouped(group, id_, inside), value, id_, tasks=[f"{id_}.{output}"])


def is_jinja(value: Any, files: tuple[str, ...] = ()) -> bool:
    """Whether Airflow would see a template in a literal, or the name of a file with one."""
    if isinstance(value, dict):
        return any(is_jinja(each, files) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(is_jinja(each, files) for each in value)
    return isinstance(value, str) and (any(sign in value for sign in ("{{", "{%", "{#")) or value.endswith(files))


def decorated(decorator: str, settings: Sequence[str]) -> str:
    """A decorator with its arguments."""
    return f"{decorator}({', '.join(settings)})" if settings else decorator


def grouped(group: str, id_: str, lines: Sequence[str]) -> list[str]:
    """Lines within a task group."""
    return [f"with {group}({id_!r}) as {id_}:", *indented(lines)]


def message_of(error: str, cause: str) -> str:
    """The message of a failure, as Python; a literal when both its parts are."""
    known = [_literal(part) for part in (error, cause)]
    if None not in known:
        return repr(": ".join(str(part) for part in known if part))
    template = ": ".join("{}" if part is None else part.replace("{", "{{").replace("}", "}}") for part in known)
    values = [python for python, part in zip((error, cause), known, strict=True) if part is None]
    return f"{template!r}.format({', '.join(values)})"


def _literal(python: str) -> str | None:
    try:
        return str(ast.literal_eval(python))
    except (ValueError, SyntaxError):
        return None
