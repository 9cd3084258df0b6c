"""Templates of JSON with expressions in them (Parameters, Arguments, Output …) as Python expressions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowstone_provider.asl.jsonata import is_expression, jsonata_expression
from flowstone_provider.asl.jsonpath import fields_of, intrinsic_or_path, path_expression
from flowstone_provider.asl.model import Language
from flowstone_provider.asl.module import Module
from flowstone_provider.asl.scope import Scope, Untranslatable


def expression(module: Module, scope: Scope, language: Language | None, text: str, field: str) -> str:
    """One expression as Python; one that has no Python becomes a function to complete."""
    try:
        if language == "JSONata":
            return jsonata_expression(text, scope) if is_expression(text) else repr(text)
        return intrinsic_or_path(text, scope)
    except Untranslatable as error:
        return module.by_hand(scope, field, f"{language}: {text}", str(error))


def path(module: Module, scope: Scope, text: str | None, field: str) -> str:
    """An InputPath, OutputPath … as Python; ``None`` is an empty object."""
    if text is None:
        return "{}"
    try:
        return path_expression(text, scope)
    except Untranslatable as error:
        return module.by_hand(scope, field, f"JSONPath: {text}", str(error))


def template(module: Module, scope: Scope, language: Language | None, value: Any, what: str) -> str:
    """A template as Python.

    In JSONPath a field whose name ends with ``.$`` is an expression, in JSONata any text in ``{% %}``.
    """
    if isinstance(value, Mapping):
        pairs = []
        for name, each in value.items():
            if language == "JSONPath" and name.endswith(".$") and isinstance(each, str):
                pairs.append(f"{name[:-2]!r}: {expression(module, scope, language, each, name[:-2])}")
            else:
                pairs.append(f"{name!r}: {template(module, scope, language, each, name)}")
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(template(module, scope, language, each, what) for each in value) + "]"
    if language == "JSONata" and is_expression(value):
        return expression(module, scope, language, value, what)
    return repr(value)


def field(module: Module, scope: Scope, language: Language | None, key: str, value: Any) -> str:
    """The value of one field of a template."""
    if language == "JSONPath" and key.endswith(".$") and isinstance(value, str):
        return expression(module, scope, language, value, key[:-2])
    return template(module, scope, language, value, key)


def is_static(value: Any, language: Language | None) -> bool:
    """Whether a template has no expression."""
    if isinstance(value, Mapping):
        return all(
            not (language == "JSONPath" and name.endswith(".$")) and is_static(each, language)
            for name, each in value.items()
        )
    if isinstance(value, list):
        return all(is_static(each, language) for each in value)
    return not (language == "JSONata" and is_expression(value))


def placed(module: Module, scope: Scope, result_path: str | None, result: str, data: str) -> str:
    """What a ResultPath makes of a result: it, the input, or the input with the result in it."""
    if result_path is None:
        return data
    try:
        fields = fields_of(result_path)
    except Untranslatable as error:
        return module.by_hand(scope.but(result=result), "ResultPath", f"ResultPath: {result_path}", str(error))
    if not fields:
        return result
    if len(fields) == 1:
        return f"{{**{data}, {fields[0]!r}: {result}}}"
    return f"{scope.use('placed')}({data}, {fields!r}, {result})"


def original(value: Any) -> str:
    """A piece of the file, for a docstring."""
    return json.dumps(value, indent=2, ensure_ascii=False)
