"""Amazon States Language to Airflow: a state machine of AWS Step Functions becomes the source of a DAG.

`convert` reads the file (`model`, `graph`), writes its states as tasks (`flow`, `tasks`, `work`, `maps`) or, within a
Map, as functions (`functions`), and lays the file out (`module`, `layout`). Expressions become Python (`jsonpath`,
`jsonata`, `choice`, `payload`); one that cannot becomes a function to complete. Nothing here imports Airflow, and
nothing of the state machine is evaluated.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from flowstone_provider.asl.flow import Flow
from flowstone_provider.asl.graph import Graph, read_graph
from flowstone_provider.asl.module import Module, Report, identifier, indented
from flowstone_provider.asl.tasks import Tasks
from flowstone_provider.errors import OptionsError, StateMachineError

# Step Functions takes no larger definition.
MAX_BYTES = 1 << 20

# Python's parser takes 200 brackets within one another.
_DEEPEST = 100


@dataclass(frozen=True)
class Converted:
    """A DAG file.

    Attributes:
        source: Its Python source.
        report: What became of each state, and what is left to a person.
    """

    source: str
    report: Report


def convert(definition: str | bytes, dag_id: str) -> Converted:
    """Make a DAG of a state machine.

    Args:
        definition: JSON of the Amazon States Language, at most 1 MB.
        dag_id: The id of the DAG.

    Raises:
        OptionsError: The DAG's id is none.
        StateMachineError: The definition is no state machine (with the state and the field), or has a loop.
    """
    if not re.fullmatch(r"[\w.-]{1,250}", dag_id):
        raise OptionsError(f"{dag_id!r} is no id of a DAG: it may have letters, digits, dots, dashes and underscores")
    module = Module()
    try:
        graph = read_graph(_parsed(definition), "the state machine", "JSONPath", module)
        source = _written(module, graph, dag_id)
    except RecursionError:
        raise StateMachineError(f"the state machine is nested too deeply: more than {_DEEPEST} brackets") from None
    return Converted(source, module.report)


def _written(module: Module, graph: Graph, dag_id: str) -> str:
    tasks = Tasks(module, variables=graph.assigns())
    flow = Flow(tasks, graph)
    start = module.name("execution")
    first = "execution_input"
    if not tasks.variables:
        module.use(first)
    else:
        first = module.function(
            module.name("execution", "start"),
            ["dag_run=None"],
            "The input of the execution, and no variables yet.",
            ["return {'data': dag_run.conf or {}, 'variables': {}}"],
            decorator=module.use("task"),
        )
    flow.write(start)
    name = module.name(dag_id, "" if identifier(dag_id) not in graph.ids.values() else "dag")
    settings = [f"dag_id={dag_id!r}", "schedule=None", "catchup=False"]
    if graph.machine.timeout_seconds is not None:
        settings.append(f"dagrun_timeout={module.use('timedelta')}(seconds={graph.machine.timeout_seconds})")
    doc = graph.machine.comment or f"The state machine {dag_id}."
    body = [repr(doc), f"{start} = {first}()", *flow.lines]
    end = [f"@{module.use('dag')}({', '.join(settings)})", f"def {name}():", *indented(body), f"{name}()"]
    return module.source(f"{doc}\n\nWritten by `airflow flowstone convert-asl`.", end)


def _parsed(definition: str | bytes) -> Any:
    size = len(definition.encode() if isinstance(definition, str) else definition)
    if size > MAX_BYTES:
        raise StateMachineError(f"the file has more than {MAX_BYTES:,} bytes, and Step Functions takes no more")
    try:
        text = definition if isinstance(definition, str) else definition.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise StateMachineError(f"the file is no UTF-8: {error}") from None
    except StateMachineError:
        raise
    except ValueError as error:  # also a number of too many digits
        raise StateMachineError(f"the file is no JSON: {error}") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        inside = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for values in inside for each in values]
    if level:
        raise StateMachineError(f"the state machine is nested too deeply: more than {_DEEPEST} brackets")


def _refuse(constant: str) -> NoReturn:
    raise StateMachineError(f"the file is no JSON: it has {constant}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise StateMachineError(f"the file has a number that is too large: {text[:40]}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are all different: of two states of one name, one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise StateMachineError(f"the file has {twice!r} twice in one object: give one of them another name")
    return found
