"""JSONPath expressions and intrinsic functions as Python expressions."""

from __future__ import annotations

import re
from collections.abc import Callable

from flowstone_provider.asl.scope import Scope, Untranslatable, context_value, variable

_STEP = re.compile(
    r"""\.(?P<name>[^\s.\[\]()*,'"@?]+) | \['(?P<quoted>[^'\\]*)'\] | \["(?P<double>[^"\\]*)"\]
      | \[(?P<index>-?\d+)\] | \[(?P<first>-?\d*):(?P<last>-?\d*)\] | (?P<all>\[\*\]|\.\*)""",
    re.VERBOSE,
)


def path_steps(path: str) -> tuple[str, list[str | int | slice | None]]:
    """A path's root (``$``, ``$$`` or ``$name``) and its steps: a field, an index, a slice, or ``None`` for all.

    Raises:
        Untranslatable: It has a filter, ``..``, or is no path.
    """
    root = re.match(r"\$(\$|[^\W\d]\w*)?", path)
    if root is None:
        raise Untranslatable(f"{path} is no path")
    steps: list[str | int | slice | None] = []
    at = root.end()
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise Untranslatable(f"{path[at:]} in the path {path}")
        found = match.groupdict()
        if found["all"]:
            steps.append(None)
        elif found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["first"] is not None:
            ends = (found["first"], found["last"])
            steps.append(slice(*(int(end) if end else None for end in ends)))
        else:
            steps.append(next(found[kind] for kind in ("name", "quoted", "double") if found[kind] is not None))
        at = match.end()
    return root[0], steps


def fields_of(path: str) -> list[str]:
    """The field names of a reference path such as a ResultPath.

    Raises:
        Untranslatable: It is another kind of path.
    """
    root, steps = path_steps(path)
    if root != "$" or not all(isinstance(step, str) for step in steps):
        raise Untranslatable(f"{path} is no path of field names")
    return [str(step) for step in steps]


def path_expression(path: str, scope: Scope) -> str:
    """A path as Python.

    Raises:
        Untranslatable: There is no Python for it.
    """
    root, steps = path_steps(path)
    if root == "$":
        return _walk(scope.data, steps)
    if root != "$$":
        return _walk(variable(root[1:], scope), steps)
    names = []
    for step in steps:
        if not isinstance(step, str):
            break
        names.append(step)
    return _walk(context_value(names, scope), steps[len(names) :])


def _walk(base: str, steps: list[str | int | slice | None], depth: int = 0) -> str:
    for number, step in enumerate(steps):
        if step is None:
            each = "each" if depth == 0 else f"each_{depth}"
            rest = steps[number + 1 :]
            return f"[{_walk(each, rest, depth + 1)} for {each} in {base}]" if rest else f"list({base})"
        if isinstance(step, slice):
            first, last = ("" if end is None else str(end) for end in (step.start, step.stop))
            base = f"{base}[{first}:{last}]"
        else:
            base = f"{base}[{step!r}]"
    return base


def intrinsic_or_path(text: str, scope: Scope) -> str:
    """What stands behind a field whose name ends with ``.$``.

    Raises:
        Untranslatable: There is no Python for it.
    """
    text = text.strip()
    if text.startswith("$"):
        return path_expression(text, scope)
    parsed, end = _argument(text, 0, scope)
    if text[end:].strip():
        raise Untranslatable(f"{text[end:]} after an intrinsic function")
    return parsed


_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_WORDS = {"true": "True", "false": "False", "null": "None"}


def _argument(text: str, at: int, scope: Scope) -> tuple[str, int]:
    """One argument of an intrinsic function, and where it ends."""
    at += len(text[at:]) - len(text[at:].lstrip())
    if text.startswith("'", at):
        string, end = _string(text, at + 1)
        return repr(re.sub(r"\\(['\\{}])", r"\1", string)), end
    if match := _NUMBER.match(text, at):
        return match[0], match.end()
    if text.startswith("$", at):
        end = at
        brackets = 0
        while end < len(text) and (brackets or text[end] not in ",)"):
            brackets += {"[": 1, "]": -1}.get(text[end], 0)
            end += 1
        return path_expression(text[at:end].strip(), scope), end
    if match := re.compile(r"States\.(\w+)\s*\(").match(text, at):
        return _call(match[1], text, match.end(), scope)
    for word, python in _WORDS.items():
        if text.startswith(word, at):
            return python, at + len(word)
    raise Untranslatable(f"{text[at:] or 'nothing'} where a value is expected")


def _string(text: str, at: int) -> tuple[str, int]:
    match = re.compile(r"((?:[^'\\]|\\.)*)'", re.DOTALL).match(text, at)
    if match is None:
        raise Untranslatable(f"a text that does not end: {text[at:]}")
    return match[1], match.end()


def _call(name: str, text: str, at: int, scope: Scope) -> tuple[str, int]:
    arguments: list[str] = []
    raw = text[at:]
    while not text[at:].lstrip().startswith(")"):
        if arguments:
            at = text.index(",", at) + 1 if text[at:].lstrip().startswith(",") else -1
            if at < 0:
                raise Untranslatable(f"no comma or bracket in {raw}")
        if name == "Format" and not arguments and text[at:].lstrip().startswith("'"):
            string, at = _string(text, text.index("'", at) + 1)
            arguments.append(_template(string))
            continue
        argument, at = _argument(text, at, scope)
        arguments.append(argument)
    at = text.index(")", at) + 1
    known = _FUNCTIONS.get(name)
    if known is None:
        raise Untranslatable(f"the intrinsic function States.{name}")
    low, high, write = known
    if not low <= len(arguments) <= high:
        raise Untranslatable(f"States.{name} with {len(arguments)} arguments")
    return write(scope.use, *arguments), at


def _template(string: str) -> str:
    """The template of States.Format as one of `str.format`: its escaped braces are doubled ones."""
    out = re.sub(
        r"\\(.)|(\{\})|([{}])",
        lambda m: m[2] or (m[1] * 2 if (m[1] or "") in "{}" and m[1] else m[1] or (m[3] or "") * 2),
        string,
    )
    return repr(out)


Use = Callable[[str], str]


def _format(use: Use, template: str, *values: str) -> str:
    if not values:
        return f"{template}.format()"
    text = use("text")
    return f"{template}.format({', '.join(f'{text}({value})' for value in values)})"


def _hash(use: Use, value: str, algorithm: str) -> str:
    return f"{use('hashlib')}.new({algorithm}.replace('-', '').lower(), {value}.encode()).hexdigest()"


_FUNCTIONS: dict[str, tuple[int, int, Callable[..., str]]] = {
    "Format": (1, 10_000, _format),
    "StringToJson": (1, 1, lambda use, a: f"{use('json')}.loads({a})"),
    "JsonToString": (1, 1, lambda use, a: f"{use('json')}.dumps({a}, separators=(',', ':'))"),
    "Array": (0, 10_000, lambda use, *a: f"[{', '.join(a)}]"),
    "ArrayPartition": (2, 2, lambda use, a, b: f"{use('partitioned')}({a}, {b})"),
    "ArrayContains": (2, 2, lambda use, a, b: f"({b} in {a})"),
    "ArrayRange": (3, 3, lambda use, a, b, c: f"{use('stepped')}({a}, {b}, {c})"),
    "ArrayGetItem": (2, 2, lambda use, a, b: f"{a}[{b}]"),
    "ArrayLength": (1, 1, lambda use, a: f"len({a})"),
    "ArrayUnique": (1, 1, lambda use, a: f"{use('unique')}({a})"),
    "Base64Encode": (1, 1, lambda use, a: f"{use('base64')}.b64encode({a}.encode()).decode()"),
    "Base64Decode": (1, 1, lambda use, a: f"{use('base64')}.b64decode({a}).decode()"),
    "Hash": (2, 2, _hash),
    "JsonMerge": (3, 3, lambda use, a, b, deep: f"{{**{a}, **{b}}}"),
    "MathRandom": (2, 3, lambda use, a, b, *seed: f"{use('random')}.Random({', '.join(seed)}).randrange({a}, {b})"),
    "MathAdd": (2, 2, lambda use, a, b: f"({a} + {b})"),
    "StringSplit": (2, 2, lambda use, a, b: f"{use('split')}({a}, {b})"),
    "UUID": (0, 0, lambda use: f"str({use('uuid')}.uuid4())"),
}
