"""Task states: an operator of the Amazon provider, a gate, a call of boto3, or a function to complete."""

from __future__ import annotations

import json
from typing import Any

from flowstone_provider.asl.model import Task
from flowstone_provider.asl.module import Module, to_complete
from flowstone_provider.asl.payload import field, is_static, original, template
from flowstone_provider.asl.scope import Scope
from flowstone_provider.asl.services import (
    Operator,
    Resource,
    call_of,
    callable_by_boto3,
    operator_for,
    parse_resource,
    renamed,
)
from flowstone_provider.asl.shaping import doc_of, entering, leaving, shapes_result, task_settings
from flowstone_provider.asl.tasks import Tasks, Written, decorated, grouped, is_jinja


def write_task(tasks: Tasks, name: str, id_: str, state: Task, given: str) -> Written:
    """Write a Task state; see `Tasks.write`."""
    resource = parse_resource(state.resource)
    if resource.pattern == "waitForTaskToken":
        return _gate(tasks, name, id_, state, resource, given)
    parameters = parameters_of(state)
    if resource.kind == "lambda":
        return _operator(tasks, name, id_, state, _direct(state, resource), given, direct=True)
    operator = operator_for(resource, parameters)
    if operator is not None:
        return _operator(tasks, name, id_, state, (operator, dict(parameters), resource), given)
    return _called(tasks, name, id_, state, resource, given)


def _called(tasks: Tasks, name: str, id_: str, state: Task, resource: Resource, given: str) -> Written:
    """A task that calls the service itself, or that a person must complete."""
    module = tasks.module
    decorator = decorated("task", task_settings(module, name, state))
    scope = tasks.scope(name)
    if callable_by_boto3(resource) and resource.full != "lambda:invoke":
        lines, inner = entering(module, scope, state)
        client, method = call_of(resource)
        arguments = renamed_payload(module, inner, state, client)
        ended = leaving(module, inner, state, f"{module.use('aws')}({client!r}, {method!r}, {arguments})", scope.data)
        body = [*lines, *ended.statements, tasks.handed_on(ended.value)]
        module.report.translated.append(f"{name} (Task): a Python task that calls {client}.{method} of boto3")
        tasks.function(id_, doc_of(name, state), body, decorator=decorator)
        return tasks.single(id_, given)
    text = original_of(state)
    tasks.function(id_, f"{doc_of(name, state)}\n\n{text}", to_complete(id_, name), decorator=decorator)
    module.add_by_hand(name, id_, state.resource, "no operator and no call of boto3 does this")
    module.report.translated.append(f"{name} (Task): a function to complete")
    return tasks.single(id_, given)


def _operator(
    tasks: Tasks,
    name: str,
    id_: str,
    state: Task,
    what: tuple[Operator, dict[str, Any], Resource],
    given: str,
    *,
    direct: bool = False,
) -> Written:
    operator, parameters, resource = what
    module, scope = tasks.module, tasks.scope(name)
    lines, inner = entering(module, scope, state)
    fixed = dict(operator.required or {})
    dynamic: dict[str, str] = {}
    for key, value in parameters.items():
        argument = operator.arguments[key.removesuffix(".$")]
        static = is_static({key: value}, state.query_language)
        python = field(module, inner, state.query_language, key, value)
        if key.removesuffix(".$") in operator.json and not isinstance(value if static else None, str):
            python = repr(json.dumps(value)) if static else _as_json(module, key, python)
        if static and not is_jinja(value):
            fixed[argument] = python
        else:
            fixed.pop(argument, None)
            dynamic[argument] = python
    inside, ids, settings = [], [], task_settings(module, name, state)
    if dynamic:
        made = _arguments(tasks, name, id_, lines, dynamic)
        arguments = module.name(id_, "given")
        inside.append(f"{arguments} = {made}({given})")
        ids.append(f"{id_}.{made}")
        one = len(dynamic) == 1
        fixed |= {each: arguments if one else f"{arguments}[{each!r}]" for each in dynamic}
    fixed |= {**(operator.fixed or {}), **_waiting(operator, resource)}
    call = module.name(id_, "call")
    words = ["task_id='call'", *(f"{key}={value}" for key, value in fixed.items()), *settings]
    inside.append(f"{call} = {module.use_operator(operator.name, operator.module)}({', '.join(words)})")
    result = "json.loads(result or 'null')" if direct else operator.result
    if "json." in result:
        module.use("json")
    shaped = tasks.shaped(name, id_, state, result)
    value = module.name(id_, "output")
    inside.append(f"{value} = {shaped}({given}, {call}.output)")
    ids += [f"{id_}.call", f"{id_}.{shaped}"]
    module.report.translated.append(f"{name} (Task): {operator.name}")
    if operator.name not in ("LambdaInvokeFunctionOperator", "SnsPublishOperator", "SqsPublishOperator"):
        module.remark(name, f"its result is what {operator.name} returns, and not the whole answer of AWS")
    return Written(grouped(module.use("TaskGroup"), id_, inside), value, id_, tasks=ids)


def _arguments(tasks: Tasks, name: str, id_: str, lines: list[str], dynamic: dict[str, str]) -> str:
    function = tasks.module.name(id_, "arguments")
    doc = f"What state {name!r} hands its operator."
    if len(dynamic) == 1:
        (value,) = dynamic.values()
        return tasks.function(function, doc, [*lines, f"return {value}"])
    pairs = ", ".join(f"{key!r}: {value}" for key, value in dynamic.items())
    return tasks.function(function, doc, [*lines, f"return {{{pairs}}}"], decorator="task(multiple_outputs=True)")


def _gate(tasks: Tasks, name: str, id_: str, state: Task, resource: Resource, given: str) -> Written:
    """A callback: a gate whose URL stands for the task token."""
    module = tasks.module
    scope = tasks.scope(name).but(token="signal_url")  # noqa: S106
    lines, inner = entering(module, scope, state)
    settings = [each.replace("execution_timeout=", "timeout=") for each in task_settings(module, name, state)]
    client, method = call_of(resource)
    if callable_by_boto3(resource):
        body = [*lines, f"{module.use('aws')}({client!r}, {method!r}, {renamed_payload(module, inner, state, client)})"]
    else:
        body = [*lines, *to_complete(id_, name)]
    shaped = shapes_result(state) or tasks.variables
    function = module.name(id_, "ask") if shaped else id_
    doc = f"{doc_of(name, state)}\n\nAn HTTP POST of JSON to signal_url ends the wait; its body is the result."
    tasks.function(function, doc, body, ["signal_url"], decorator=decorated("task.signal_gate", settings))
    module.report.translated.append(f"{name} (Task): @task.signal_gate")
    module.remark(name, "who called SendTaskSuccess with the token now posts JSON to the URL that takes its place")
    if not shaped:
        return tasks.single(id_, given)
    value, call = module.name(id_, "output"), module.name(id_, "signal")
    result = tasks.shaped(name, id_, state, "result")
    inside = [f"{call} = {function}({given})", f"{value} = {result}({given}, {call})"]
    ids = [f"{id_}.{function}", f"{id_}.{result}"]
    return Written(grouped(module.use("TaskGroup"), id_, inside), value, id_, tasks=ids)


def parameters_of(state: Task) -> Any:
    """The parameters of the Resource."""
    given = state.arguments if state.query_language == "JSONata" else state.parameters
    return {} if given is None else given


def _direct(state: Task, resource: Resource) -> tuple[Operator, dict[str, Any], Resource]:
    """A Lambda function that is named by its ARN: its payload is what other resources have as parameters."""
    found = operator_for(Resource("service", "lambda", "invoke"), {})
    assert found is not None  # noqa: S101  (the table has it)
    if state.query_language == "JSONata":
        payload = {"Payload": "{% $states.input %}" if state.arguments is None else state.arguments}
    else:
        payload = {"Payload.$": "$"} if state.parameters is None else {"Payload": state.parameters}
    return found, {"FunctionName": resource.action, **payload}, resource


def renamed_payload(module: Module, scope: Scope, state: Task, client: str) -> str:
    """The parameters of a call of boto3, as Python."""
    given = renamed(parameters_of(state), client)
    if client == "lambda" and isinstance(given, dict):
        rest = {key: each for key, each in given.items() if key.removesuffix(".$") != "Payload"}
        body = [field(module, scope, state.query_language, key, each) for key, each in given.items() if key not in rest]
        if body:
            sent = template(module, scope, state.query_language, rest, "parameters")
            return f"{{**{sent}, 'Payload': {module.use('json')}.dumps({body[0]})}}"
    return template(module, scope, state.query_language, given, "parameters")


def _as_json(module: Module, key: str, python: str) -> str:
    if key.startswith("Payload"):
        return f"{module.use('json')}.dumps({python})"
    return f"{module.use('text')}({python})"


def _waiting(operator: Operator, resource: Resource) -> dict[str, str]:
    """A .sync resource waits; in the triggerer, where the operator can."""
    if resource.pattern != "sync":
        return {}
    if operator.name == "AthenaOperator":
        return {"deferrable": "True"}
    return {"wait_for_completion": "True", "deferrable": "True"}


def original_of(state: Task) -> str:
    """What a Task state asks for, as the file has it."""
    fields = {"resource", "parameters", "arguments"}
    return original(state.model_dump(mode="json", by_alias=True, include=fields, exclude_none=True))
