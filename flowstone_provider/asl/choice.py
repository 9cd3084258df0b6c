"""The rules of a Choice state as Python conditions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flowstone_provider.asl.jsonata import is_expression
from flowstone_provider.asl.jsonpath import path_expression
from flowstone_provider.asl.model import Language
from flowstone_provider.asl.module import Module
from flowstone_provider.asl.payload import expression, original
from flowstone_provider.asl.scope import Scope, Untranslatable
from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import StateMachineError

_SIGNS = {"Equals": "==", "LessThan": "<", "LessThanEquals": "<=", "GreaterThan": ">", "GreaterThanEquals": ">="}
_KINDS = ("String", "Numeric", "Timestamp", "Boolean")
_COMPARISONS = {
    f"{kind}{word}": (kind, sign)
    for kind in _KINDS
    for word, sign in _SIGNS.items()
    if kind != "Boolean" or word == "Equals"
}
_TESTS = ("IsPresent", "IsNull", "IsString", "IsNumeric", "IsBoolean", "IsTimestamp")
_ALONE = ("And", "Or", "Not")
_OPERATORS = [*_COMPARISONS, *(f"{name}Path" for name in _COMPARISONS), "StringMatches", *_TESTS, *_ALONE]
# What a rule may have beside its operator.
_BESIDE = ("Next", "Comment", "Assign", "Output", "Variable")


def condition(module: Module, scope: Scope, language: Language | None, rule: dict[str, Any]) -> str:
    """The condition of a rule.

    Raises:
        StateMachineError: It is none.
    """
    if language == "JSONata":
        if not is_expression(rule.get("Condition")) and not isinstance(rule.get("Condition"), bool):
            raise StateMachineError(f'state {scope.state!r} has a rule without a Condition: "{{% … %}}"')
        if isinstance(rule["Condition"], bool):
            return repr(rule["Condition"])
        return expression(module, scope, language, rule["Condition"], "condition")
    try:
        return _rule(scope, rule)
    except Untranslatable as error:
        kept = {name: value for name, value in rule.items() if name not in ("Next", "Assign", "Comment")}
        return module.by_hand(scope, "condition", original(kept), str(error))


def _rule(scope: Scope, rule: dict[str, Any]) -> str:
    names = [name for name in rule if name not in _BESIDE]
    if len(names) != 1:
        what = f"the operators {', '.join(names)}" if names else "no operator"
        raise StateMachineError(f"state {scope.state!r} has a rule with {what}: it must have one")
    operator, value = names[0], rule[names[0]]
    if operator not in _OPERATORS:
        hint = nearest(operator, _OPERATORS)
        raise StateMachineError(f"state {scope.state!r} has a rule with the operator {operator!r}, which is none{hint}")
    if operator in _ALONE:
        return _combined(scope, operator, value)
    if not isinstance(rule.get("Variable"), str):
        raise StateMachineError(f"state {scope.state!r} has a rule {operator} without a Variable")
    variable = path_expression(rule["Variable"], scope)
    if operator in _TESTS:
        test = _TEST_WRITERS[operator](scope, variable)
        return test if value else f"(not {test})"
    if operator == "StringMatches":
        return f"{scope.use('re')}.fullmatch({_pattern(str(value))!r}, {variable})"
    kind, sign = _COMPARISONS[operator.removesuffix("Path")]
    other = path_expression(str(value), scope) if operator.endswith("Path") else repr(value)
    if kind == "Timestamp":
        variable, other = (f"{scope.use('moment')}({each})" for each in (variable, other))
    if kind == "Boolean" and other in ("True", "False"):
        return f"({variable} is {other})"
    return f"({variable} {sign} {other})"


def _combined(scope: Scope, operator: str, value: Any) -> str:
    rules = [value] if operator == "Not" else value
    if not isinstance(rules, list) or not rules or not all(isinstance(each, dict) for each in rules):
        raise StateMachineError(f"state {scope.state!r} has a rule whose {operator} holds no rules")
    parts = [_rule(scope, each) for each in rules]
    return f"(not {parts[0]})" if operator == "Not" else "(" + f" {operator.lower()} ".join(parts) + ")"


def _pattern(glob: str) -> str:
    """A pattern of StringMatches, where ``*`` is anything and an escaped one a star, as a regular expression."""
    parts = re.findall(r"\\.|\*|[^\\*]+|\\", glob, re.DOTALL)
    return (
        "(?s:"
        + "".join(".*" if p == "*" else re.escape(p[1:] if len(p) == 2 and p[0] == "\\" else p) for p in parts)
        + ")"
    )


def _is_present(scope: Scope, variable: str) -> str:
    match = re.fullmatch(rf"{re.escape(scope.data)}\[('[^'\[\]\\]*')\]", variable)
    return f"({match[1]} in {scope.data})" if match else f"{scope.use('exists')}(lambda: {variable})"


_TEST_WRITERS: dict[str, Callable[[Scope, str], str]] = {
    "IsPresent": _is_present,
    "IsNull": lambda scope, variable: f"({variable} is None)",
    "IsString": lambda scope, variable: f"isinstance({variable}, str)",
    "IsNumeric": lambda scope, variable: f"(isinstance({variable}, (int, float)) and not isinstance({variable}, bool))",
    "IsBoolean": lambda scope, variable: f"isinstance({variable}, bool)",
    "IsTimestamp": lambda scope, variable: f"{scope.use('is_moment')}({variable})",
}
