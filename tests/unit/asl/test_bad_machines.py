"""State machines that cannot be converted: the error names the state, the field and the remedy."""

from __future__ import annotations

import json
import time

import pytest

from flowstone_provider.asl import MAX_BYTES, convert
from flowstone_provider.errors import OptionsError, StateMachineError

PASS = {"Type": "Pass", "End": True}
LAMBDA = {"Type": "Task", "Resource": "arn:aws:lambda:eu-central-1:123456789012:function:f"}


def machine(**states):
    return {"StartAt": next(iter(states)), "States": states}


def choice(**rule):
    return machine(A={"Type": "Choice", "Choices": [{"Next": "B", **rule}]}, B=PASS)


def error_of(definition) -> str:
    text = definition if isinstance(definition, (str, bytes)) else json.dumps(definition)
    with pytest.raises(StateMachineError) as caught:
        convert(text, "machine")
    return str(caught.value)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("{", "the file is no JSON: Expecting property name"),
        (b"\xff\xfe{}", "the file is no UTF-8"),
        ('{"StartAt": NaN}', "the file is no JSON: it has NaN"),
        (
            '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}, "A": {"Type": "Fail"}}}',
            "the file has 'A' twice in one object",
        ),
        ('{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": 1e999}}}', "a number that is too large: 1e999"),
        ('{"StartAt": ' + "9" * 5_000 + "}", "the file is no JSON: Exceeds the limit"),
        ("[]", "the state machine must be a JSON object with StartAt and States, not list"),
        ({"States": {"A": PASS}}, "the state machine needs the field StartAt"),
        ({"StartAt": "A"}, "the state machine needs the field States"),
        ({"StartAt": "A", "States": {}}, "has no states"),
        (
            {"StartAt": "Begn", "States": {"Begin": PASS}},
            "starts at 'Begn', which is no state of it; did you mean 'Begin'?",
        ),
        ({"StartAt": 1, "States": {"A": PASS}}, "field StartAt: Input should be a valid string"),
        (
            {"StartAt": "A", "States": {"A": PASS}, "Statez": 1},
            "the field Statez, which is none of its kind; did you mean 'States'?",
        ),
        (machine(A={"Type": "Wait", "End": True}), "state 'A' must have one of Seconds, SecondsPath, Timestamp"),
        (machine(A={"Type": "Wait", "Seconds": 1, "SecondsPath": "$.s", "End": True}), "must have one of Seconds"),
        (machine(A=[]), "state 'A' must be a JSON object, not list"),
        (machine(A={"Type": "Tusk"}), "state 'A' has the Type 'Tusk', which is none; did you mean 'Task'?"),
        (machine(A={}), "state 'A' has the Type None"),
        (
            machine(A={**PASS, "ResultPaht": "$"}),
            "state 'A' has the field ResultPaht, which is none of its kind; did you mean 'ResultPath'?",
        ),
        (machine(A={"Type": "Pass"}), "state 'A' must have either Next or End: true"),
        (machine(A={"Type": "Pass", "Next": "A", "End": True}), "state 'A' must have either Next or End"),
        (
            machine(A={"Type": "Pass", "Next": "Shp"}, Ship=PASS),
            "Next leads to 'Shp', which is no state of the state machine; did you mean 'Ship'?",
        ),
        (machine(A={"Type": "Task", "End": True}), "state 'A' needs the field Resource"),
        (
            machine(A={**LAMBDA, "End": True, "Retry": [{"MaxAttempts": 2}]}),
            "state 'A' needs the field Retry.0.ErrorEquals",
        ),
        (
            machine(A={**LAMBDA, "End": True, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Gone"}]}),
            "a Catch leads to 'Gone'",
        ),
        (machine(A={"Type": "Succeed", "End": True}), "is a Succeed, which has neither Next nor End"),
        (machine(A=PASS, B=PASS), "no state leads to 'B': remove it"),
        (machine(A={**PASS, "Arguments": 1}), "has the field Arguments, which is none of its kind"),
        (
            machine(A={**LAMBDA, "End": True, "Arguments": {}}),
            "the field Arguments, which is for JSONata, and its QueryLanguage is JSONPath",
        ),
        (
            {**machine(A={**PASS, "Parameters": {}}), "QueryLanguage": "JSONata"},
            "the field Parameters, which is for JSONPath",
        ),
        (machine(A={"Type": "Choice", "Choices": []}), "state 'A', field Choices: List should have at least 1 item"),
        (choice(Variable="$.a"), "a rule with no operator: it must have one"),
        (
            choice(Variable="$.a", StringEquals="x", NumericEquals=1),
            "a rule with the operators StringEquals, NumericEquals",
        ),
        (
            choice(Variable="$.a", StringEqual="x"),
            "operator 'StringEqual', which is none; did you mean 'StringEquals'?",
        ),
        (choice(StringEquals="x"), "a rule StringEquals without a Variable"),
        (choice(And="x"), "a rule whose And holds no rules"),
        ({**choice(Variable="$.a"), "QueryLanguage": "JSONata"}, "a rule without a Condition"),
        (
            machine(A={"Type": "Parallel", "Branches": [], "End": True}),
            "field Branches: List should have at least 1 item",
        ),
        (machine(A={"Type": "Map", "End": True}), "the ItemProcessor of state 'A' must be a JSON object"),
        (
            machine(A={"Type": "Parallel", "End": True, "Branches": [machine(B={"Type": "Pass", "Next": "C"})]}),
            "'C', which is no state of branch 0 of state 'A'",
        ),
        (
            machine(A={"Type": "Map", "End": True, "Iterator": machine(B=PASS), "ItemProcessor": machine(B=PASS)}),
            "state 'A' has both ItemProcessor and Iterator",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_what_is_wrong_is_named(definition, message):
    assert message in error_of(definition)


def test_a_loop_is_named_with_its_remedy():
    poll = machine(
        Start={"Type": "Pass", "Next": "Wait"},
        Wait={"Type": "Wait", "Seconds": 5, "Next": "Look"},
        Look={**LAMBDA, "Next": "Done?"},
        **{
            "Done?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.done", "BooleanEquals": True, "Next": "End"}],
                "Default": "Wait",
            }
        },
        End={"Type": "Succeed"},
    )
    message = error_of(poll)
    assert "goes in a circle, Wait -> Look -> Done? -> Wait: a DAG cannot" in message
    assert "sensor" in message
    assert "Retry" in message
    assert "circle, A -> A" in error_of(machine(A={"Type": "Pass", "Next": "A"}))
    inner = machine(B={"Type": "Pass", "Next": "C"}, C={"Type": "Pass", "Next": "B"})
    assert "the ItemProcessor of state 'A' goes in a circle" in error_of(
        machine(A={"Type": "Map", "ItemProcessor": inner, "End": True})
    )


def test_a_file_larger_than_step_functions_takes_is_refused():
    states = {f"State {n}": {"Type": "Pass", "Comment": "x" * 400, "End": True} for n in range(5_000)}
    text = json.dumps({"StartAt": "State 0", "States": states})
    assert len(text) > 2_000_000
    assert f"the file has more than {MAX_BYTES:,} bytes, and Step Functions takes no more" in error_of(text)


def test_a_large_machine_takes_seconds():
    count = 2_000
    states = {
        f"State {n}": {"Type": "Pass", "Result": {"n": n}, "ResultPath": f"$.r{n}", "Next": f"State {n + 1}"}
        for n in range(count)
    }
    states[f"State {count}"] = PASS
    started = time.monotonic()
    source = convert(json.dumps({"StartAt": "State 0", "States": states}), "machine").source
    assert source.count("@task\n") == count + 2
    assert time.monotonic() - started < 30


def test_deep_nesting_is_refused():
    inner = machine(A=PASS)
    for _ in range(6):
        inner = machine(
            A={"Type": "Parallel", "Parameters": {}, "ResultSelector": {}, "Branches": [inner], "End": True}
        )
    compile(convert(json.dumps(inner), "machine").source, "machine.py", "exec")
    inner = machine(A={"Type": "Parallel", "Branches": [inner], "End": True})
    assert "is nested more than 6 machines deep: make it a machine of its own" in error_of(inner)
    value: list = []
    for _ in range(150):
        value = [value]
    assert "nested too deeply" in error_of(machine(A={**PASS, "Result": value}))
    assert "nested too deeply" in error_of("[" * 100_000)


@pytest.mark.parametrize("dag_id", ["", "two words", "a/b", "x" * 251, "a'b"])
def test_an_id_that_is_no_dags_is_refused(dag_id):
    with pytest.raises(OptionsError, match="is no id of a DAG"):
        convert(json.dumps(machine(A=PASS)), dag_id)
