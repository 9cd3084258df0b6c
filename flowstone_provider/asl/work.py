"""Task states: an operator of the Amazon provider, a gate, a call of boto3, or a function to complete."""

from __future__ import annotations

import json
from typing import Any

from flowstone_provider.asl.model import Task
from flowstone_provider.asl.module import Module, to_complete
from flowstone_provider.asl.payload import field, is_static, original, template
from flowstone_provider.asl.scope import Scope
from flowstone_provider.asl.services import (
    LAMBDA,
    Operator,
    Resource,
    call_of,
    callable_by_boto3,
    operator_for,
    parse_resource,
    renamed,
)
from flowstone_provider.asl.shaping import doc_of, entering, keeps_input, leaving, shapes_result, task_settings
from flowstone_provider.asl.tasks import FILES, Tasks, Written, decorated, grouped, is_jinja

# Operators whose output tells all that Step Functions would.
_WHOLE = ("LambdaInvokeFunctionOperator", "SnsPublishOperator", "SqsPublishOperator")
# Of a boto3 client the parameter that is a text, and may be JSON in a state machine.
_TEXTS = {"lambda": "Payload", "sqs": "MessageBody", "sns": "Message", "stepfunctions": "input"}


def write_task(tasks: Tasks, name: str, id_: str, state: Task, given: str) -> Written:
    """Write a Task state; see `Tasks.write`."""
    resource = parse_resource(state.resource)
    if resource.pattern == "waitForTaskToken":
        return _gate(tasks, name, id_, state, resource, given)
    parameters = parameters_of(state)
    if resource.kind == "lambda":
        return _operator(tasks, name, id_, state, _direct(state, resource), given)
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
    tasks: Tasks, name: str, id_: str, state: Task, what: tuple[Operator, dict[str, Any], Resource], given: str
) -> Written:
    operator, parameters, resource = what
    module = tasks.module
    lines, scope = entering(module, tasks.scope(name), state)
    fixed, dynamic = _operator_arguments(module, scope, state, operator, parameters)
    inside, ids = [], []
    if dynamic:
        made, arguments = _arguments(tasks, name, id_, lines, dynamic), module.name(id_, "given")
        inside.append(f"{arguments} = {made}({given})")
        ids.append(f"{id_}.{made}")
        one = len(dynamic) == 1
        fixed |= {each: arguments if one else f"{arguments}[{each!r}]" for each in dynamic}
    fixed |= {**(operator.fixed or {}), **_waiting(operator, resource)}
    module.report.translated.append(f"{name} (Task): {operator.name}")
    if operator.name not in _WHOLE and not keeps_input(state):
        module.remark(name, f"its result is what {operator.name} returns, and not the whole answer of AWS")
    alone = not dynamic and keeps_input(state)
    words = [f"task_id={id_ if alone else 'call'!r}", *(f"{key}={value}" for key, value in fixed.items())]
    words += task_settings(module, name, state)
    made = f"{module.use_operator(operator.name, operator.module)}({', '.join(words)})"
    if alone:
        return Written([f"{id_} = {made}"], given, id_, last=id_, tasks=[id_])
    call = module.name(id_, "call")
    inside.append(f"{call} = {made}")
    ids.append(f"{id_}.call")
    group = module.use("TaskGroup")
    if keeps_input(state):
        return Written(grouped(group, id_, inside), given, id_, last=id_, tasks=ids)
    result = "json.loads(result or 'null')" if resource.kind == "lambda" else operator.result
    if "json." in result:
        module.use("json")
    shaped, value = tasks.shaped(name, id_, state, result), module.name(id_, "output")
    inside.append(f"{value} = {shaped}({given}, {call}.output)")
    return Written(grouped(group, id_, inside), value, id_, tasks=[*ids, f"{id_}.{shaped}"])


def _operator_arguments(
    module: Module, scope: Scope, state: Task, operator: Operator, parameters: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """The arguments of an operator that are constants, and those that a task must make, as Python."""
    fixed, dynamic = dict(operator.defaults or {}), {}
    for key, given in parameters.items():
        parameter = key.removesuffix(".$")
        argument = operator.arguments[parameter]
        value = renamed(given, operator.module)
        static = is_static({key: value}, state.query_language)
        python = field(module, scope, state.query_language, key, value)
        if parameter in operator.json and not (static and isinstance(value, str)):
            python = repr(json.dumps(value)) if static else as_text(module, parameter, python)
        elif operator.module == "eventbridge" and parameter == "Entries":
            static, text = False, module.use("text")
            python = f"[{{**each, 'Detail': {text}(each['Detail'])}} for each in {python}]"
        if static and not is_jinja(value, FILES):
            fixed[argument] = python
        else:
            fixed.pop(argument, None)
            dynamic[argument] = python
    return fixed, dynamic


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
    function = module.name(id_, "gate") if shaped else id_
    doc = f"{doc_of(name, state)}\n\nAn HTTP POST of JSON to signal_url ends the wait; its body is the result."
    tasks.function(function, doc, body, ["signal_url"], decorator=decorated("task.signal_gate", settings))
    module.report.translated.append(f"{name} (Task): @task.signal_gate")
    module.remark(name, "who called SendTaskSuccess with the token now posts JSON to the URL that takes its place")
    if not shaped:
        return tasks.single(id_, given)
    call, group = module.name(id_, "signal"), module.use("TaskGroup")
    lines, ids = [f"{call} = {function}({given})"], [f"{id_}.{function}"]
    if keeps_input(state):
        return Written(grouped(group, id_, lines), given, id_, last=id_, tasks=ids)
    value, result = module.name(id_, "output"), tasks.shaped(name, id_, state, "result")
    lines.append(f"{value} = {result}({given}, {call})")
    return Written(grouped(group, id_, lines), value, id_, tasks=[*ids, f"{id_}.{result}"])


def parameters_of(state: Task) -> Any:
    """The parameters of the Resource."""
    given = state.arguments if state.query_language == "JSONata" else state.parameters
    return {} if given is None else given


def _direct(state: Task, resource: Resource) -> tuple[Operator, dict[str, Any], Resource]:
    """A Lambda function that is named by its ARN: its payload is what other resources have as parameters."""
    if state.query_language == "JSONata":
        payload = {"Payload": "{% $states.input %}" if state.arguments is None else state.arguments}
    else:
        payload = {"Payload.$": "$"} if state.parameters is None else {"Payload": state.parameters}
    return LAMBDA, {"FunctionName": resource.action, **payload}, resource


def renamed_payload(module: Module, scope: Scope, state: Task, client: str) -> str:
    """The parameters of a call of boto3, as Python."""
    given, language = renamed(parameters_of(state), client), state.query_language
    wanted = _TEXTS.get(client, "")
    if not isinstance(given, dict) or not any(key.removesuffix(".$") == wanted for key in given):
        return template(module, scope, language, given, "parameters")
    pairs = []
    for key, value in given.items():
        name, python = key.removesuffix(".$"), field(module, scope, language, key, value)
        if name == wanted and not (isinstance(value, str) and is_static({key: value}, language)):
            python = as_text(module, name, python)
        pairs.append(f"{name!r}: {python}")
    return "{" + ", ".join(pairs) + "}"


def as_text(module: Module, parameter: str, python: str) -> str:
    """A message or payload, of which the service wants a text."""
    if parameter == "Payload":
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
