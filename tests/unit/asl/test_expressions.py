"""JSONPath, intrinsic functions, choices and JSONata as Python: what the Python computes."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from flowstone_provider.asl import convert
from tests.support.step_functions import converted, definition_of, function_of, module_of


def test_intrinsic_functions_that_the_other_interpreter_lacks(tmp_path):
    """What AWS documents of escapes and of equal objects."""
    fields = {"format.$": r"States.Format('\{{}\} isn\'t \\', $.name)", "unique.$": "States.ArrayUnique($.same)"}
    fields |= {"last.$": "$.same[-1]", "array.$": "States.Array(null, 1)"}
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": fields, "End": True}}}
    a = function_of(machine, "a", tmp_path)
    assert a({"name": "Ada", "same": [{"a": 1}, {"a": 1}]}) == {
        "format": "{Ada} isn't \\",
        "unique": [{"a": 1}],
        "last": {"a": 1},
        "array": [None, 1],
    }


def test_intrinsic_functions_of_chance(tmp_path):
    fields = {"id.$": "States.UUID()", "dice.$": "States.MathRandom(1, 7)", "seeded.$": "States.MathRandom(1, 7, 5)"}
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": fields, "End": True}}}
    a = function_of(machine, "a", tmp_path)
    first, second = a({}), a({})
    assert first["id"] != second["id"]
    assert {first["dice"], second["dice"]} <= set(range(1, 7))
    assert first["seeded"] == second["seeded"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "missing"),
        ({"value": None}, "nothing"),
        ({"value": "log-7.txt"}, "log"),
        ({"value": "log"}, "log"),
        ({"value": "log-7.csv"}, "other"),
        ({"value": "2025-12-31T23:59:59Z"}, "old"),
        ({"value": "2026-01-01T00:00:00Z"}, "other"),
        ({"value": 9, "limit": 9}, "large"),
        ({"value": 8.9, "limit": 9}, "other"),
        ({"value": True}, "yes"),
        ({"value": False}, "other"),
        ({"value": [1]}, "other"),
    ],
)
def test_choices(tmp_path, given, expected):
    kind = function_of(definition_of("choices"), "kind", tmp_path)
    assert kind(given) == expected


def test_a_choice_without_default_fails_when_no_rule_holds(tmp_path):
    rule = {"Variable": "$.a", "NumericLessThan": 1, "Next": "B"}
    states = {"A": {"Type": "Choice", "Choices": [rule]}, "B": {"Type": "Succeed"}}
    a = function_of({"StartAt": "A", "States": states}, "a", tmp_path)
    assert a({"a": 0}) == "b"
    with pytest.raises(Exception, match=r"States\.NoChoiceMatched"):
        a({"a": 1})


STATE = {
    "order": {"id": 7, "lines": [{"price": 3, "tags": ["a", "b"]}, {"price": 4, "tags": ["c"]}]},
    "name": "Ada",
    "text": "12",
    "empty": [],
    "pairs": [{"a": 1}, {"b": 2}],
    "odd name": 5,
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$states.input.order.id", 7),
        ("$states.input.`odd name` + 1", 6),
        ("$states.input.order.lines[0].price", 3),
        ("$states.input.order.lines[-1].tags[0]", "c"),
        ("1 + 2 * 3 - 4 / 2", 5),
        ("(1 + 2) * 3 % 5", 4),
        ("-$states.input.order.id", -7),
        ("'a' & 1 & true & null & $states.input.name", "a1truenullAda"),
        ("'{' & $states.input.name & '}'", "{Ada}"),
        ("$states.input.order.id = 7 and $states.input.name != 'Bob'", True),
        ("$states.input.order.id > 7 or $states.input.name in ['Ada']", True),
        ("$states.input.order.id >= 7 ? 'large' : 'small'", "large"),
        ("$states.input.missing ? 1 : 2", 2),
        ("$sum($states.input.order.lines.price)", 7),
        ("$max($states.input.order.lines.price) - $min($states.input.order.lines.price)", 1),
        ("$average($states.input.order.lines.price)", 3.5),
        ("$count($states.input.order.lines.tags)", 3),
        ("$exists($states.input.order.nothing)", False),
        ("$not($exists($states.input.name))", False),
        ("$uppercase($states.input.name) & $lowercase('X')", "ADAx"),
        ("$number($states.input.text) + 1", 13),
        ("$string($states.input.order.id)", "7"),
        ("$join($split('a-b-c', '-'), '+')", "a+b+c"),
        ("$merge($states.input.pairs)", {"a": 1, "b": 2}),
        ("$append([1], [2, 3])", [1, 2, 3]),
        ("$distinct([1, 2, 1])", [1, 2]),
        (
            "{'total': $sum($states.input.order.lines.price), 'list': [1, {'b': false}]}",
            {"total": 7, "list": [1, {"b": False}]},
        ),
        ("$contains($states.input.name, 'd')", True),
        ("$floor(2.7) + $ceil(2.1) + $round(2.4) + $abs(-1)", 8),
        ("$parse('[1]')[0]", 1),
        ("$partition([1, 2, 3], 2)", [[1, 2], [3]]),
        ("$range(0, 6, 3)", [0, 3, 6]),
        ("$states.context.State.Name", "A"),
        ("/* a remark */ 1", 1),
        ("\"\\u0041\\n\\\"\" & '\\''", "A\n\"'"),
    ],
)
def test_jsonata(tmp_path, expression, expected):
    state = {"Type": "Pass", "Output": "{% " + expression + " %}", "End": True}
    machine = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}
    assert convert(json.dumps(machine), "m").report.to_complete == []
    assert function_of(machine, "a", tmp_path)(STATE) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("$states.input.items.(price * quantity)", "'.' behind a path"),
        ("$states.input.items[price > 1]", "the field 'price' without a path"),
        ("$states.input.items[$states.input.n]", "a predicate"),
        ("$map($states.input, function($v) { $v })", "the function $map"),
        ("$states.input ~> $sum()", "'~>'"),
        ("$states.input^(price)", "'^' behind a path"),
        ("$match('a', /a/)", "the function $match"),
        ("$nothing + 1", "no state assigns the variable $nothing"),
        ("($x := 1; $x)", "no state assigns"),
        ("$states.errorOutput", "$states.errorOutput here"),
        ("$states.context.State.RetryCount", "State.RetryCount has no counterpart"),
        ("1 +", "'the end'"),
        ("'open", "'open"),
        ("$", "'$' outside of $states"),
    ],
)
def test_jsonata_that_is_left_to_a_person(expression, reason):
    state = {"Type": "Pass", "Output": {"x": "{% " + expression + " %}"}, "End": True}
    done = convert(json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": state}}), "m")
    (left,) = done.report.to_complete
    assert reason in left.reason
    assert expression in left.original


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("$.books[?(@.price < 10)]", "[?(@.price < 10)]"),
        ("$..author", "..author"),
        ("$.a[0,1]", "[0,1]"),
        ("States.Sha(1)", "the intrinsic function States.Sha"),
        ("States.Format('a'", "no comma or bracket"),
        ("States.MathAdd(1)", "States.MathAdd with 1 arguments"),
        ("nothing", "where a value is expected"),
        ("$$.Map.Item.Value", "Map.Item.Value has no counterpart"),
        ("$$.Task.Token", "Task.Token has no counterpart"),
    ],
)
def test_json_paths_that_are_left_to_a_person(path, reason):
    state = {"Type": "Pass", "Parameters": {"x.$": path}, "End": True}
    (left,) = convert(json.dumps({"StartAt": "A", "States": {"A": state}}), "m").report.to_complete
    assert reason in left.reason
    assert path in left.original


def test_the_context_object_is_the_run(tmp_path):
    fields = {"run.$": "$$.Execution.Name", "name.$": "$$.State.Name", "at.$": "$$.State.EnteredTime"}
    machine = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": fields, "End": True}}}
    source = convert(json.dumps(machine), "m").source
    assert '"run": context_object()["Execution"]["Name"]' in source
    assert '"name": "A"' in source
    module = module_of(source, tmp_path / "machine.py")
    assert datetime.fromisoformat(module.now().replace("Z", "+00:00")).tzinfo is not None


def test_an_item_is_processed_by_plain_functions(tmp_path):
    """What a Map does to an item can be called without Airflow."""
    module = module_of(converted("inline_map").source, tmp_path / "machine.py")
    item = {"id": 2, "total": 500, "lines": [{"name": "tea"}]}
    assert module.orders_item(item) == {
        **item,
        "error": {"Error": "TooLarge", "Cause": "ask first"},
        "sides": [{"id": 2}, 500],
    }


def test_work_whose_result_is_dropped_is_done_all_the_same():
    lambda_ = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"}}
    inner = {"StartAt": "B", "States": {"B": {**lambda_, "ResultPath": None, "End": True}}}
    machine = {"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": inner, "End": True}}}
    assert 'aws_lambda("f", {})' in convert(json.dumps(machine), "m").source
    branch = {"StartAt": "C", "States": {"C": {**lambda_, "End": True}}}
    inner["States"]["B"] = {"Type": "Parallel", "Branches": [branch], "ResultPath": None, "End": True}
    assert "result = [c(data)]" in convert(json.dumps(machine), "m").source
