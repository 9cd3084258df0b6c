"""States as plain functions that call the next one: what a Map state does to an item runs within one task."""

from __future__ import annotations

from typing import Any

from flowstone_provider.asl.choice import condition
from flowstone_provider.asl.graph import Graph, catchers
from flowstone_provider.asl.model import Catcher, Choice, Fail, Map, Parallel, Pass, State, Succeed, Task, Wait, Worker
from flowstone_provider.asl.module import Module, indented
from flowstone_provider.asl.payload import expression, field, original, path, placed, template
from flowstone_provider.asl.scope import Scope
from flowstone_provider.asl.services import call_of, callable_by_boto3, parse_resource
from flowstone_provider.asl.shaping import (
    ANY_ERROR,
    Lines,
    assignment,
    changes_input,
    doc_of,
    entering,
    fail_arguments,
    leaving,
    payload,
)
from flowstone_provider.asl.work import original_of, parameters_of, renamed_payload


class Functions:
    """Writes the states of a machine within a Map.

    Args:
        module: The file.
        graph: The machine.
        variables: Whether there are variables of the machine.
    """

    def __init__(self, module: Module, graph: Graph, *, variables: bool) -> None:
        self.module = module
        self.graph = graph
        self.variables = variables

    def write(self) -> str:
        """Write all; gives the name of the first."""
        for name, state in self.graph.states.items():
            id_ = self.graph.ids[name]
            scope = Scope(use=self.module.use, state=name, variables="variables" if self.variables else None)
            body = self._body(name, state, scope)
            self.module.function(id_, self._parameters(), doc_of(name, state), body)
            self.module.report.translated.append(f"{name} ({state.type}): a function, called for each item")
        return self.graph.start

    def _parameters(self) -> list[str]:
        return ["data", "variables"] if self.variables else ["data"]

    def _go(self, target: str | None, value: str) -> str:
        """The statement that goes on to a state."""
        if target is None:
            return f"return {value}"
        return f"return {self.call(self.graph.ids[target], value)}"

    def call(self, function: str, value: str) -> str:
        """A call of a state's function."""
        return f"{function}({value}, variables)" if self.variables else f"{function}({value})"

    def _body(self, name: str, state: State, scope: Scope) -> list[str]:
        lines, inner = entering(self.module, scope, state)
        if isinstance(state, Choice):
            return [*lines, *self._choice(state, inner)]
        if isinstance(state, Fail):
            error, cause = fail_arguments(self.module, inner, state)
            return [*lines, f"raise {self.module.use('named_error')}({error}, {cause})"]
        if isinstance(state, Worker):
            work = f"result = {self._work(name, state, inner)}"
            lines += self._caught(state, scope, work) if catchers(state) else [work]
            return [*lines, *self._ended(state, inner, "result")]
        if isinstance(state, Wait):
            return [*lines, self._wait(name, state, inner), *self._ended(state, inner, inner.data)]
        result = inner.data
        if isinstance(state, Pass):
            result = repr(state.result) if state.has("result") else payload(self.module, inner, state)
        return [*lines, *self._ended(state, inner, result)]

    def _ended(self, state: State, scope: Scope, result: str) -> list[str]:
        ended = leaving(self.module, scope, state, result, "data")
        return [*ended.statements, self._go(None if isinstance(state, Succeed) else state.next, ended.value)]

    def _choice(self, state: Choice, scope: Scope) -> list[str]:
        lines = []
        for rule in state.choices:
            own = {"output": rule.get("Output"), "assign": rule.get("Assign") or {}}
            then = self._chosen(state.model_copy(update=own), scope, rule["Next"])
            lines += [f"if {condition(self.module, scope, state.query_language, rule)}:", *indented(then)]
        if state.default is None:
            return [*lines, f"raise {self.module.use('named_error')}('States.NoChoiceMatched', 'no rule holds')"]
        return [*lines, *self._chosen(state, scope, state.default)]

    def _chosen(self, state: Choice, scope: Scope, target: str) -> list[str]:
        ended = leaving(self.module, scope, state, scope.data, "data") if changes_input(state) else Lines()
        return [*ended.statements, self._go(target, ended.value)]

    def _caught(self, state: Worker, scope: Scope, work: str) -> list[str]:
        """The work within a ``try``; each catcher goes on to its state."""
        handling = [f"error = {self.module.use('error_output')}(failure)"]
        for catcher in state.catch:
            then = self._handled(state, scope, catcher)
            if set(ANY_ERROR) & set(catcher.error_equals):
                handling += then
                break
            handling += [f"if error['Error'] in {tuple(catcher.error_equals)!r}:", *indented(then)]
        else:
            handling.append("raise")
        return ["try:", *indented([work]), "except Exception as failure:", *indented(handling)]

    def _handled(self, state: Worker, scope: Scope, catcher: Catcher) -> list[str]:
        seen = scope.but(error="error")
        if state.query_language == "JSONata":
            value = (
                "error" if catcher.output is None else template(self.module, seen, "JSONata", catcher.output, "Output")
            )
        else:
            seen = scope.but(data="error")
            value = placed(self.module, scope, catcher.result_path, "error", "data")
        lines = [f"output = {value}", assignment(self.module, seen, state, catcher.assign)] if catcher.assign else []
        return [*lines, self._go(catcher.next, "output" if lines else value)]

    def _wait(self, name: str, state: Wait, scope: Scope) -> str:
        self.module.remark(name, "it waits within the task of a batch, and holds its worker for so long")
        sleep = f"{self.module.use('time')}.sleep"
        if state.seconds_path is not None:
            return f"{sleep}({expression(self.module, scope, 'JSONPath', state.seconds_path, 'seconds')})"
        if state.timestamp is None and state.timestamp_path is None:
            return f"{sleep}({template(self.module, scope, state.query_language, state.seconds or 0, 'seconds')})"
        when = (
            template(self.module, scope, state.query_language, state.timestamp, "timestamp")
            if state.timestamp is not None
            else expression(self.module, scope, "JSONPath", str(state.timestamp_path), "timestamp")
        )
        now = f"{self.module.use('datetime')}.now({self.module.use('timezone')}.utc)"
        return f"{sleep}(max(0, ({self.module.use('moment')}({when}) - {now}).total_seconds()))"

    def _work(self, name: str, state: Worker, scope: Scope) -> str:
        """The expression that does the work of a state."""
        if isinstance(state, Task):
            return self._task(state, scope)
        inner = [Functions(self.module, each, variables=self.variables) for each in self.graph.inner[name]]
        if isinstance(state, Parallel):
            given = payload(self.module, scope, state)
            return "[" + ", ".join(each.call(each.write(), given) for each in inner) + "]"
        assert isinstance(state, Map)  # noqa: S101  (there is no other worker)
        return self._map(name, state, scope, inner[0])

    def _task(self, state: Task, scope: Scope) -> str:
        module, resource = self.module, parse_resource(state.resource)
        given = parameters_of(state)
        if resource.kind == "lambda":
            return f"{module.use('aws_lambda')}({resource.action!r}, {payload(module, scope, state)})"
        if resource.full == "lambda:invoke" and not resource.pattern and isinstance(given, dict):
            made = {
                key.removesuffix(".$"): field(module, scope, state.query_language, key, each)
                for key, each in given.items()
            }
            if "FunctionName" in made and made.keys() <= {"FunctionName", "Payload"}:
                called = f"{module.use('aws_lambda')}({made['FunctionName']}, {made.get('Payload', '{}')})"
                return f"{{'Payload': {called}, 'StatusCode': 200}}"
        if callable_by_boto3(resource) and resource.pattern == "" and resource.full != "lambda:invoke":
            client, method = call_of(resource)
            return f"{module.use('aws')}({client!r}, {method!r}, {renamed_payload(module, scope, state, client)})"
        return module.by_hand(scope, "task", original_of(state), "within a Map nothing waits for another service")

    def _map(self, name: str, state: Map, scope: Scope, inner: Functions) -> str:
        """A Map within a Map: a list comprehension."""
        module = self.module
        if state.item_reader is not None:
            return module.by_hand(
                scope,
                "items",
                original(state.item_reader.model_dump(by_alias=True, exclude_none=True)),
                "a reader within a Map",
            )
        first = inner.write()
        items = items_of(module, scope, state)
        seen = scope.but(item="item", index="index")
        item = item_of(module, seen, state)
        return f"[{inner.call(first, item)} for index, item in enumerate({items})]"


def items_of(module: Module, scope: Scope, state: Map) -> str:
    """The list that a Map goes over, as Python."""
    if state.query_language == "JSONata":
        return scope.data if state.items is None else template(module, scope, "JSONata", state.items, "items")
    return path(module, scope, state.items_path, "items")


def item_of(module: Module, scope: Scope, state: Map) -> str:
    """What the machine of a Map is given for an item."""
    selector: Any = state.item_selector if state.item_selector is not None else state.parameters
    return "item" if selector is None else template(module, scope, state.query_language, selector, "item")
