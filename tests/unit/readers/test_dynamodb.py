"""Options of the reader of DynamoDB, and its attribute values."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone_provider.errors import OptionsError
from flowstone_provider.readers._attributes import from_json_key, from_value, to_item, to_items, to_json_key
from flowstone_provider.readers.dynamodb import DynamodbOptions, DynamodbReader


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "dynamodb needs the option 'table'"),
        ({"table": ""}, "at least 1 character"),
        ({"forward": False}, "`forward=False` needs a `query`"),
        ({"names": {"status": "status"}}, "the name 'status' must be '#' and letters, digits or '_'"),
        ({"values": {":a-b": 1}}, "the name ':a-b' must be ':' and letters"),
        ({"filter": "a = :a", "values": {":a": {1}}}, "values={':a': {1}}): :a: {1} is no JSON value"),
        ({"filter": "a = :a", "values": {":a": [float("nan")]}}, "nan is no JSON value"),
        ({"filter": "a = :staus", "values": {":status": 1}}, "`values` does not say what :staus in an expression is"),
        ({"filter": "a = :staus", "values": {":status": 1}}, "did you mean ':status'?"),
        ({"projection": "#n"}, "`names` does not say what #n in an expression is"),
        ({"projection": "a", "names": {"#n": "n"}}, "`names` has #n, which no expression uses"),
    ],
)
def test_what_dynamodb_would_refuse_is_refused_when_the_dag_is_parsed(options, message):
    with pytest.raises(OptionsError, match=re.escape(message)):
        DynamodbOptions(**{**({"table": "orders"} if options else {}), **options})


def test_templates_and_outputs_of_tasks_pass():
    class Output:
        iter_references = resolve = None

    DynamodbOptions(table="{{ params.table }}", filter="{{ params.filter }}", values={":day": "{{ ds }}"})
    DynamodbOptions(table="orders", filter="a = :a AND b = :b", values={":a": Output(), ":b": "{{ ds }}"})
    DynamodbOptions(table="orders", filter="a = :a", values="{{ params.values }}")


def test_only_a_whole_scan_is_split():
    def splits(at_most, **options):
        return DynamodbReader(DynamodbOptions(table="orders", **options), None).splits(at_most)

    assert [spec.options["part"] for spec in splits(3)] == [{"segment": n, "of": 3} for n in range(3)]
    assert splits(2, query="id = :id", values={":id": 1}) is None
    assert splits(2, max_items=10) is None
    assert splits(2, part={"segment": 0, "of": 2}) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-17", -17),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", Decimal(2**63)),
        ("-9223372036854775808", -(2**63)),
        ("1E+3", 1000),
        ("0.1", 0.1),
        ("2.50", 2.5),
        ("-99999999999999.9", -99999999999999.9),
        ("123456789012345678", 123456789012345678),
        ("1E-130", 1e-130),
        ("1" + "0" * 125, 1e125),
        ("-9.9999999999999999999999999999999999999E+125", Decimal("-9.9999999999999999999999999999999999999E+125")),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
    ],
)
def test_a_number_becomes_what_holds_it(text, number):
    found = to_item({"n": {"N": text}})["n"]
    assert (found, type(found)) == (number, type(number))


# What DynamoDB holds: 38 digits, from 1E-130 to 9.99…E+125.
decimals = st.builds(
    lambda digits, exponent: Decimal(f"{digits}E{exponent}"), st.integers(-(10**38), 10**38), st.integers(-130, 87)
)


@given(decimals)
def test_no_number_loses_a_digit(number):
    found = to_item({"n": {"N": str(number)}})["n"]
    assert Decimal(repr(found) if isinstance(found, float) else found) == number


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(-1e15, 1e15, allow_subnormal=False),  # greater ones come back as integers
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_a_value_comes_back_as_it_was_given(value):
    assert to_item({"a": from_value(value)}) == {"a": value}


def test_items_keep_their_order():
    assert to_items([{"n": {"N": str(n)}} for n in range(3)]) == [{"n": 0}, {"n": 1}, {"n": 2}]


@given(st.dictionaries(st.text(), st.binary() | st.text(), min_size=1, max_size=2))
def test_a_key_survives_the_travel_as_json(key):
    typed = {name: {"B": value} if isinstance(value, bytes) else {"S": value} for name, value in key.items()}
    assert from_json_key(json.loads(json.dumps(to_json_key(typed)))) == typed
