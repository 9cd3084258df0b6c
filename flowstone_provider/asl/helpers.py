"""Small functions that a generated file may need, as source: only those that it uses are written into it."""

from __future__ import annotations

import sys

# Name -> what it needs (names from here, or imports), and its source.
HELPERS: dict[str, tuple[tuple[str, ...], str]] = {
    "text": (
        ("json",),
        '''
def text(value):
    """A value as States.Format and JSONata write it: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
''',
    ),
    "number": (
        (),
        '''
def number(value):
    """A text as a number."""
    return int(value) if str(value).lstrip("-").isdigit() else float(value)
''',
    ),
    "exists": (
        (),
        '''
def exists(value):
    """Whether a path leads to a value."""
    try:
        value()
    except (KeyError, IndexError, TypeError):
        return False
    return True
''',
    ),
    "every": (
        (),
        '''
def every(value, *names):
    """The values at the end of a path that goes through all elements of the arrays on its way, as in JSONata."""
    found = value if isinstance(value, list) else [value]
    for name in names:
        nested = [each[name] for each in found if name in each]
        found = [each for item in nested for each in (item if isinstance(item, list) else [item])]
    return found
''',
    ),
    "unique": (
        (),
        '''
def unique(values):
    """The values without repetitions."""
    return [value for at, value in enumerate(values) if values.index(value) == at]
''',
    ),
    "partitioned": (
        ("islice",),
        '''
def partitioned(values, size):
    """The values in lists of so many."""
    rest = iter(values)
    return [[first, *islice(rest, size - 1)] for first in rest]
''',
    ),
    "stepped": (
        (),
        '''
def stepped(first, last, step):
    """The numbers from the first to the last, both included."""
    return list(range(first, last + (1 if step > 0 else -1), step))
''',
    ),
    "split": (
        ("re",),
        '''
def split(value, separators):
    """The parts of a text between any of the separators, without the empty ones."""
    return [part for part in re.split("[" + re.escape(separators) + "]", value) if part]
''',
    ),
    "merged": (
        (),
        '''
def merged(objects):
    """One object with the fields of all."""
    return {name: value for each in objects for name, value in each.items()}
''',
    ),
    "placed": (
        (),
        '''
def placed(data, names, value):
    """The data with a value at a path, as ResultPath puts it."""
    first, *rest = names
    return {**data, first: placed(data.get(first) or {}, rest, value) if rest else value}
''',
    ),
    "moment": (
        ("datetime",),
        '''
def moment(text):
    """A timestamp as a time that can be compared."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
''',
    ),
    "is_moment": (
        ("moment",),
        '''
def is_moment(value):
    """Whether a value is a timestamp."""
    try:
        return isinstance(value, str) and moment(value).tzinfo is not None
    except ValueError:
        return False
''',
    ),
    "now": (
        ("datetime", "timezone"),
        '''
def now():
    """The time, as Step Functions writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
''',
    ),
    "context_object": (
        ("get_current_context",),
        '''
def context_object():
    """What is left of the context object: the run is the execution, the DAG the state machine."""
    run = get_current_context()["dag_run"]
    execution = {"Id": run.run_id, "Name": run.run_id, "Input": run.conf or {}, "StartTime": str(run.start_date)}
    return {"Execution": execution, "StateMachine": {"Id": run.dag_id, "Name": run.dag_id}}
''',
    ),
    "named_error": (
        (),
        '''
def named_error(name, cause):
    """An error whose class has the name that Retry and Catch look for."""
    return type(name, (RuntimeError,), {})(cause)
''',
    ),
    "error_output": (
        (),
        '''
def error_output(error):
    """An error as Step Functions gives it: {"Error", "Cause"}."""
    name = type(error.__cause__ or error).__name__
    return {"Error": "States.Timeout" if "Timeout" in name else name, "Cause": str(error)}
''',
    ),
    "lambda_error_output": (
        ("json",),
        '''
def error_output(error):
    """An error as Step Functions gives it: {"Error", "Cause"}; that of a Lambda function by its own name."""
    name = type(error.__cause__ or error).__name__
    response = error.args[1] if len(error.args) > 1 else None
    if isinstance(response, dict) and "Payload" in response:
        return {"Error": json.loads(response["Payload"]).get("errorType", name), "Cause": response["Payload"]}
    return {"Error": "States.Timeout" if "Timeout" in name else name, "Cause": str(error)}
''',
    ),
    "keep_error": (
        ("error_output",),
        '''
def keep_error(context):
    """Keep what a task failed with, for the task that catches it."""
    context["ti"].xcom_push(key="error", value=error_output(context["exception"]))
''',
    ),
    "error_of": (
        ("AirflowFailException",),
        '''
def error_of(ti, *task_ids):
    """What the tasks of a state failed with, {"Error", "Cause"}; None when the last of them succeeded."""
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=list(task_ids), run_ids=[ti.run_id])[ti.run_id]
    if str(states.get(task_ids[-1])) == "success":
        return None
    for task_id in task_ids:
        if str(states.get(task_id)) == "failed":
            unknown = {"Error": "States.TaskFailed", "Cause": task_id + " failed; see its log"}
            return ti.xcom_pull(task_ids=task_id, key="error") or unknown
    raise AirflowFailException(task_ids[-1] + " did not run: something before it failed")
''',
    ),
    "aws": (
        ("AwsBaseHook",),
        '''
def aws(service, action, arguments):
    """Call an action of an AWS service with the connection aws_default; gives its response."""
    response = getattr(AwsBaseHook(client_type=service).get_conn(), action)(**arguments)
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}
''',
    ),
    "aws_lambda": (
        ("AwsBaseHook", "json", "named_error"),
        '''
def aws_lambda(function_name, payload):
    """Invoke a Lambda function with the connection aws_default; gives what it returns."""
    client = AwsBaseHook(client_type="lambda").get_conn()
    response = client.invoke(FunctionName=function_name, Payload=json.dumps(payload))
    result = json.loads(response["Payload"].read() or "null")
    if "FunctionError" in response:
        raise named_error(result.get("errorType", "Lambda.Unknown"), str(result.get("errorMessage")))
    return result
''',
    ),
    "execution_input": (
        ("task",),
        '''
@task
def execution_input(dag_run=None):
    """The input of the execution: the conf that the run was started with."""
    return dag_run.conf or {}
''',
    ),
    "pass_on": (
        ("task",),
        '''
@task
def pass_on(data):
    """Give the input on: the way from one state to another that several ways lead to."""
    return data
''',
    ),
}

_STANDARD = ("base64", "hashlib", "json", "math", "random", "re", "time", "uuid")
_FROM = {
    "islice": "itertools",
    "fmean": "statistics",
    "datetime": "datetime",
    "timedelta": "datetime",
    "timezone": "datetime",
    "Literal": "typing",
    "AirflowFailException": "airflow.providers.common.compat.sdk",
    "AwsBaseHook": "airflow.providers.amazon.aws.hooks.base_aws",
    "DateTimeSensorAsync": "airflow.providers.standard.sensors.date_time",
    "TaskGroup": "airflow.sdk",
    "dag": "airflow.sdk",
    "get_current_context": "airflow.sdk",
    "task": "airflow.sdk",
    "Batching": "flowstone_provider",
    "ItemRetry": "flowstone_provider",
    "ParallelTaskGroup": "flowstone_provider",
    "Tolerance": "flowstone_provider",
    "load": "flowstone_provider",
    "merge": "flowstone_provider",
    "source": "flowstone_provider",
}
_OPERATORS = "airflow.providers.amazon.aws.operators."


def reserved() -> list[str]:
    """The names that no state may take: of helpers, imports, and the variables of the generated functions."""
    variables = (
        "data",
        "variables",
        "result",
        "error",
        "item",
        "items",
        "index",
        "signal_url",
        "ti",
        "given",
        "output",
    )
    return [
        *HELPERS,
        *_STANDARD,
        *_FROM,
        *variables,
        "payload",
        "each",
        "item_context",
        "reference",
        "outcomes",
        "dag_run",
    ]


def resolve(used: set[str], operators: dict[str, str]) -> tuple[list[str], list[str]]:
    """The import lines and the helpers' sources for a set of names, with all that those need.

    Args:
        used: Names of helpers and imports.
        operators: Names of operators of the Amazon provider -> their modules.
    """
    todo, known = list(used), set(used)
    while todo:
        for name in HELPERS.get(todo.pop(), ((), ""))[0]:
            if name not in known:
                known.add(name)
                todo.append(name)
    if "lambda_error_output" in known:
        known.discard("error_output")
    modules: dict[str, list[str]] = {}
    for name in sorted(known & _FROM.keys(), key=_order):
        modules.setdefault(_FROM[name], []).append(name)
    for name, module in sorted(operators.items()):
        modules.setdefault(_OPERATORS + module, []).append(name)
    lines = [f"import {name}" for name in _STANDARD if name in known]
    for module in sorted(modules, key=lambda module: (module not in sys.stdlib_module_names, module)):
        lines.append(f"from {module} import {', '.join(modules[module])}")
    return lines, [source for name, (_, source) in HELPERS.items() if name in known]


def _order(name: str) -> tuple[bool, str]:
    """As isort sorts names: classes before functions."""
    return (name[0].islower(), name)
