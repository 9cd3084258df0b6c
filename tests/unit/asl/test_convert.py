"""What the converter writes: clean, safe and readable source, and a report of it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowstone_provider
from flowstone_provider.asl import convert
from flowstone_provider.asl.module import identifier
from tests.support.step_functions import MACHINES, NAMES, converted, module_of

PASS = {"Type": "Pass", "End": True}


def source_of(**states) -> str:
    return convert(json.dumps({"StartAt": next(iter(states)), "States": states}), "machine").source


def test_the_same_machine_gives_the_same_source():
    for name in NAMES:
        assert converted(name).source == converted(name).source


NASTY = {
    "quote": 'it\'s "quoted"',
    "triple": '"""\nimport os; os.system("x")\n"""',
    "line": "a\nb = 1\r\nc",
    "format": "{0.__class__} %s \\N{DASH} \\",
    "jinja": "{{ 7 * 7 }} {% raw %}",
    "unicode": "größe 価格 \u2028 \ud800",
    "null": "a\x00# b\x1b[0m",
    "string": "__string_0__",
    "keyword": "class",
    "builtin": "print",
    "helper": "error_of",
    "digits": "1st",
    "symbols": "?!",
    "ends": 'a"',
}


@pytest.mark.parametrize("nasty", NASTY.values(), ids=list(NASTY))
def test_texts_of_the_file_stay_texts(nasty, tmp_path):
    """As names, comments, keys, values, errors and expressions: what runs is only what the converter meant."""
    source = source_of(
        **{
            nasty: {
                "Type": "Pass",
                "Comment": nasty,
                "Parameters": {nasty: nasty, "path.$": f"$.{nasty}", "format.$": f"States.Format({nasty!r}, $.x)"},
                "Next": "second",
            },
            "second": {"Type": "Choice", "Choices": [{"Variable": "$.x", "StringEquals": nasty, "Next": "third"}]},
            "third": {"Type": "Fail", "Error": nasty, "Cause": nasty},
        }
    )
    tree = ast.parse(source)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "os", "system", "print"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import) and node.names[0].name == "os"]
    module_of(source, tmp_path / "machine.py")
    (first,) = [
        node
        for node in tree.body
        if "Pass state" in ((isinstance(node, ast.FunctionDef) and ast.get_docstring(node)) or "")
    ]
    assert {node.value for node in ast.walk(first) if isinstance(node, ast.Constant)} >= {nasty}


def test_a_text_that_airflow_would_render_or_read_from_a_file_is_made_by_a_task():
    text = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": True}
    source = source_of(Tell={**text, "Parameters": {"TopicArn": "arn:x", "Message": "Hello {{ ds }}"}})
    assert "message=tell_given" in source
    source = source_of(Tell={**text, "Parameters": {"TopicArn": "arn:x", "Message": "Hello"}})
    assert 'message="Hello"' in source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Charge Card (EU)", "charge_card_eu"),
        ("ChargeCard", "charge_card"),
        ("HTTPCall2", "http_call2"),
        ("größe", "groe"),
        ("価格", "state"),
        ("1st", "state_1st"),
        ("a" * 80, "a" * 50),
        ("__x__", "x"),
    ],
)
def test_names_become_identifiers(name, expected):
    assert identifier(name) == expected


def test_names_that_become_the_same_identifier_are_told_apart():
    source = source_of(
        **{
            "Ship it": {"Type": "Pass", "Next": "ship-it"},
            "ship-it": {"Type": "Pass", "Next": "SHIP IT"},
            "SHIP IT": PASS,
        }
    )
    assert re.findall(r"^def (ship\w*)\(", source, re.MULTILINE) == ["ship_it", "ship_it_2", "ship_it_3"]


def test_what_has_no_python_is_left_to_a_person_and_reported():
    done = converted("by_hand")
    left = {each.function: each for each in done.report.to_complete}
    assert {each.state for each in left.values()} == {"Filter", "Sum", "Retries?"}
    for function, each in left.items():
        assert f"def {function}(data" in done.source
        assert f'raise NotImplementedError("{function}")' in done.source
        function_node = next(
            node for node in ast.walk(ast.parse(done.source)) if getattr(node, "name", None) == function
        )
        assert ast.get_docstring(function_node) == each.original
    assert done.source.count("# TODO: write this in Python; the converter could not") == len(left) == 5
    assert "$.books[?(@.price < 10)]" in left["filter_cheap"].original
    text = "\n".join(done.report.lines())
    assert "5 functions to complete:" in text
    assert "Sum: sum_total() for JSONata: {% $sum($states.input.items.(price * quantity)) %}" in text


def test_nothing_is_evaluated_and_nothing_heavy_is_imported():
    files = [str(path) for path in MACHINES.glob("*.json")]
    script = f"""
from flowstone_provider.asl import convert
for path in {files!r}:
    convert(open(path).read(), "machine")
import sys
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"airflow", "boto3", "sqlalchemy", "pandas"} & set(done.stdout.split())
    code = "".join(path.read_text() for path in Path(flowstone_provider.__file__).parent.glob("asl/*.py"))
    assert not re.search(r"(?<![\w.])(eval|exec)\(", code)


def test_remarks_name_the_state_and_what_differs():
    remarks = {
        (each.state, each.text.partition(":")[0].partition(",")[0])
        for each in converted("distributed_csv").report.remarks
    }
    assert ("Rate", "ExecutionType is dropped") in remarks
    assert ("Rate", "Label 'Ratings' is dropped") in remarks
    assert ("Rate", "ResultWriter") in remarks
    texts = [each.text for each in converted("order_processing").report.remarks]
    assert any("2 elements of Retry: the one for States.ALL holds" in text for text in texts)
    assert any("Lambda.TooManyRequestsException only: Airflow tries again after any error" in text for text in texts)
    texts = [each.text for each in converted("callback").report.remarks]
    assert any(text.startswith("HeartbeatSeconds has no counterpart") for text in texts)


def test_a_catch_that_cannot_match_and_a_rate_that_is_another_are_remarked():
    inner = {"StartAt": "B", "States": {"B": PASS}}
    catch = [{"ErrorEquals": ["Broken"], "Next": "C"}]
    work = {"Type": "Parallel", "Branches": [inner], "Catch": catch, "Next": "C"}
    retry = [{"ErrorEquals": ["States.ALL"], "BackoffRate": 1.5}]
    task = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Retry": retry, "End": True}
    machine = {"StartAt": "A", "States": {"A": work, "C": task}}
    remarks = [f"{each.state}: {each.text}" for each in convert(json.dumps(machine), "m").report.remarks]
    assert "A: its Catch of Broken matches no error: here it is that of the whole state" in remarks
    assert any(text.startswith("C: BackoffRate 1.5: True doubles") for text in remarks)


def test_a_call_that_the_operator_does_not_take_is_one_of_boto3():
    """A parameter that it lacks, or one missing that it needs."""
    publish = {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": True}
    given = {"TopicArn": "arn:x", "Message": "m"}
    assert "SnsPublishOperator(" in source_of(A={**publish, "Parameters": given})
    assert 'aws("sns", "publish", {' in source_of(A={**publish, "Parameters": {**given, "MessageStructure": "json"}})
    assert 'aws("sns", "publish", {' in source_of(A={**publish, "Parameters": {"Message": "m", "PhoneNumber": "1"}})
    assert 'aws("sns", "publish", {})' in source_of(A=publish)


def test_parameters_are_named_as_boto3_names_them():
    task = {"Type": "Task", "End": True, "Resource": "arn:aws:states:::aws-sdk:sfn:describeExecution"}
    source = source_of(A={**task, "Parameters": {"ExecutionArn.$": "$.arn"}})
    assert 'aws("stepfunctions", "describe_execution", {"executionArn": data["arn"]})' in source
    run = {"Type": "Task", "End": True, "Resource": "arn:aws:states:::ecs:runTask"}
    overrides = {"ContainerOverrides": [{"Name": "main", "Environment": [{"Name": "DAY", "Value.$": "$.day"}]}]}
    source = source_of(A={**run, "Parameters": {"TaskDefinition": "t", "Overrides": overrides}})
    assert '"environment": [{"name": "DAY", "value": data["day"]}]' in source
    assert 'cluster="default"' in source
