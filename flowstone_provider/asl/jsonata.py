"""JSONata expressions as Python expressions: paths, operators, and the functions that Python has, too.

What depends on JSONata's sequences (a path that maps over an array, a predicate, a regular expression, a function of
the user's) is left to a person.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from flowstone_provider.asl.scope import Scope, Untranslatable, context_value, variable

_TOKEN = re.compile(
    r"""\s* (?: (?P<comment>/\*.*?\*/) | (?P<number>\d+(\.\d+)?([eE][-+]?\d+)?)
      | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*') | `(?P<quoted>[^`]+)` | (?P<variable>\$\$?\w*)
      | (?P<name>[^\W\d]\w*) | (?P<sign>\*\*|!=|<=|>=|:=|~>|\.\.|[-+*/%&=<>?:,.()\[\]{};|@#^~!]) )""",
    re.VERBOSE | re.DOTALL,
)
Token = tuple[str, str]
_END: Token = ("end", "")

# How tightly an operator binds, and the Python that stands for it; ``None`` where both sides need more than a word.
_OPERATORS: dict[str, tuple[int, str | None]] = {
    "or": (25, "or"),
    "and": (30, "and"),
    "=": (40, "=="),
    "!=": (40, "!="),
    "<": (40, "<"),
    "<=": (40, "<="),
    ">": (40, ">"),
    ">=": (40, ">="),
    "in": (40, "in"),
    "&": (50, None),
    "+": (50, "+"),
    "-": (50, "-"),
    "*": (60, "*"),
    "/": (60, "/"),
    "%": (60, "%"),
}
_WORDS = {"true": "True", "false": "False", "null": "None"}


def is_expression(value: object) -> bool:
    """Whether a value is a JSONata expression, ``"{% … %}"``."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def jsonata_expression(value: str, scope: Scope) -> str:
    """The expression within ``{% … %}`` as Python.

    Raises:
        Untranslatable: There is no Python for it.
    """
    parser = _Parser(_tokens(value[2:-2]), scope)
    python = parser.expression(0)
    if parser.token != _END:
        raise Untranslatable(f"{parser.token[1]!r}")
    return python


def _tokens(text: str) -> list[Token]:
    tokens = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            raise Untranslatable(f"{text[at:].strip()[:20]!r}")
        kind = next(k for k in ("comment", "number", "string", "quoted", "variable", "name", "sign") if match[k])
        if kind != "comment":
            tokens.append(("name" if kind == "quoted" else kind, match[kind]))
        at = match.end()
    return [*tokens, _END]


class _Parser:
    """A parser by precedence: each method takes tokens and gives Python."""

    def __init__(self, tokens: list[Token], scope: Scope) -> None:
        self._tokens = tokens
        self._at = 0
        self._scope = scope
        self._texts: dict[str, tuple[str, ...]] = {}

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self.token
        self._at += 1
        return token

    def _take(self, sign: str) -> None:
        kind, text = self._next()
        if text != sign or kind == "string":
            raise Untranslatable(f"{text or 'the end'!r} where {sign!r} is expected")

    def _sees(self, sign: str) -> bool:
        return self.token == ("sign", sign)

    def expression(self, power: int) -> str:
        left = self._operand()
        while True:
            kind, sign = self.token
            binds, python = _OPERATORS.get(sign, (0, None)) if kind in ("sign", "name") else (0, None)
            if binds > power:
                self._next()
                right = self.expression(binds)
                left = f"({left} {python} {right})" if python else self._joined(left, right)
            elif self._sees("?") and power < 20:
                self._next()
                left = _perhaps(left)
                yes = self.expression(0)
                no = "None"
                if self._sees(":"):
                    self._next()
                    no = self.expression(0)
                left = f"({yes} if {left} else {no})"
            else:
                return left

    def _joined(self, left: str, right: str) -> str:
        """Texts behind one another: a template with what stands between its own texts."""
        parts = [part for side in (left, right) for part in self._texts.get(side, (side,))]
        template = "".join(_literal_text(part) or "{}" for part in parts)
        values = [f"{self._scope.use('text')}({part})" for part in parts if _literal_text(part) is None]
        python = f"{template!r}.format({', '.join(values)})"
        self._texts[python] = tuple(parts)
        return python

    def _operand(self) -> str:
        kind, text = self._next()
        if kind == "number":
            return text
        if kind == "string":
            return repr(_unescaped(text[1:-1]))
        if kind == "name" and text in _WORDS:
            return _WORDS[text]
        if kind == "variable":
            return self._called(text) if self._sees("(") else self._path(text)
        if kind == "name":
            raise Untranslatable(f"the field {text!r} without a path before it")
        if kind != "sign":
            raise Untranslatable(f"{text or 'the end'!r}")
        return self._enclosed(text)

    def _enclosed(self, sign: str) -> str:
        """What begins with a sign."""
        if sign == "-":
            return f"(-{self.expression(70)})"
        if sign == "(":
            inner = self.expression(0)
            self._take(")")
            return self._steps(f"({inner})")
        if sign == "[":
            return f"[{', '.join(self._list(']'))}]"
        if sign == "{":
            return self._object()
        raise Untranslatable(repr(sign))

    def _list(self, end: str) -> list[str]:
        found: list[str] = []
        while not self._sees(end):
            if found:
                self._take(",")
            found.append(self.expression(0))
        self._take(end)
        return found

    def _object(self) -> str:
        pairs: list[str] = []
        while not self._sees("}"):
            if pairs:
                self._take(",")
            key = self.expression(0)
            self._take(":")
            pairs.append(f"{key}: {self.expression(0)}")
        self._take("}")
        return "{" + ", ".join(pairs) + "}"

    def _names(self) -> list[str]:
        """The field names of a path, as far as it has only those."""
        names = []
        while self._sees(".") and self._tokens[self._at + 1][0] in ("name", "string"):
            self._next()
            kind, text = self._next()
            names.append(_unescaped(text[1:-1]) if kind == "string" else text)
        return names

    def _path(self, text: str) -> str:
        names = self._names()
        if text != "$states":
            if text in ("$", "$$"):
                raise Untranslatable(f"{text!r} outside of $states")
            return self._steps(variable(text[1:], self._scope), names)
        first, rest = (names[0], names[1:]) if names else ("", [])
        known = {"input": self._scope.data, "result": self._scope.result, "errorOutput": self._scope.error}
        if first == "context":
            return self._steps(context_value(rest, self._scope))
        base = known.get(first)
        if base is None:
            raise Untranslatable(f"$states.{first} here")
        return self._steps(base, rest)

    def _steps(self, base: str, names: list[str] | None = None) -> str:
        """What follows a value: fields and indices."""
        base += "".join(f"[{name!r}]" for name in names or self._names())
        while self._sees("["):
            self._next()
            index = self.expression(0)
            self._take("]")
            if not re.fullmatch(r"\(?-?\d+\)?", index):
                raise Untranslatable("a predicate")
            base += f"[{index}]" + "".join(f"[{name!r}]" for name in self._names())
        if self._sees(".") or self._sees("^") or self._sees("{"):
            raise Untranslatable(f"{self.token[1]!r} behind a path")
        return base

    def _called(self, name: str) -> str:
        self._take("(")
        known = _FUNCTIONS.get(name)
        if known is None:
            raise Untranslatable(f"the function {name}")
        if name in _OVER_ALL and (over := self._over_all()) is not None:
            arguments = [over]
        else:
            arguments = self._list(")")
        low, high, write = known
        if not low <= len(arguments) <= high:
            raise Untranslatable(f"{name} with {len(arguments)} arguments")
        return self._steps(write(self._scope.use, *arguments))

    def _over_all(self) -> str | None:
        """The argument of a function over an array, when it is a path: JSONata maps it over the arrays on its way."""
        start = self._at
        kind, text = self._next()
        names = self._names() if (kind, text) == ("variable", "$states") else []
        if len(names) > 1 and names[0] in ("input", "result") and self._sees(")"):
            self._next()
            base = self._scope.data if names[0] == "input" else self._scope.result
            if base is not None:
                return f"{self._scope.use('every')}({', '.join([base, *map(repr, names[1:])])})"
        self._at = start
        return None


def _literal_text(python: str) -> str | None:
    """A literal text as part of a template; ``None`` for what is none."""
    try:
        value = ast.literal_eval(python)
    except (ValueError, SyntaxError):
        return None
    return value.replace("{", "{{").replace("}", "}}") if isinstance(value, str) and value else None


def _perhaps(path: str) -> str:
    """A path as the test of ``?``: in JSONata a field that is missing is false."""
    match = re.fullmatch(r"(\w+(?:\['[^'\[\]]*'\])*)\[('[^'\[\]]*')\]", path)
    return f"{match[1]}.get({match[2]})" if match else path


def _unescaped(text: str) -> str:
    simple = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
    return re.sub(
        r"\\(?:u([0-9a-fA-F]{4})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else simple.get(m[2], m[2]),
        text,
        flags=re.DOTALL,
    )


_OVER_ALL = ("$sum", "$max", "$min", "$average", "$count")
Use = Callable[[str], str]
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., str]]] = {
    "$string": (1, 1, lambda use, a: f"{use('text')}({a})"),
    "$number": (1, 1, lambda use, a: f"{use('number')}({a})"),
    "$not": (1, 1, lambda use, a: f"(not {a})"),
    "$boolean": (1, 1, lambda use, a: f"bool({a})"),
    "$exists": (1, 1, lambda use, a: f"{use('exists')}(lambda: {a})"),
    "$uppercase": (1, 1, lambda use, a: f"{a}.upper()"),
    "$lowercase": (1, 1, lambda use, a: f"{a}.lower()"),
    "$trim": (1, 1, lambda use, a: f"' '.join({a}.split())"),
    "$length": (1, 1, lambda use, a: f"len({a})"),
    "$contains": (2, 2, lambda use, a, b: f"({b} in {a})"),
    "$split": (2, 2, lambda use, a, b: f"{a}.split({b})"),
    "$join": (1, 2, lambda use, a, b="''": f"{b}.join({a})"),
    "$sum": (1, 1, lambda use, a: f"sum({a})"),
    "$max": (1, 1, lambda use, a: f"max({a})"),
    "$min": (1, 1, lambda use, a: f"min({a})"),
    "$average": (1, 1, lambda use, a: f"{use('fmean')}({a})"),
    "$count": (1, 1, lambda use, a: f"len({a})"),
    "$append": (2, 2, lambda use, a, b: f"[*{a}, *{b}]"),
    "$reverse": (1, 1, lambda use, a: f"{a}[::-1]"),
    "$distinct": (1, 1, lambda use, a: f"{use('unique')}({a})"),
    "$keys": (1, 1, lambda use, a: f"list({a})"),
    "$merge": (1, 1, lambda use, a: f"{use('merged')}({a})"),
    "$abs": (1, 1, lambda use, a: f"abs({a})"),
    "$floor": (1, 1, lambda use, a: f"{use('math')}.floor({a})"),
    "$ceil": (1, 1, lambda use, a: f"{use('math')}.ceil({a})"),
    "$round": (1, 2, lambda use, *a: f"round({', '.join(a)})"),
    "$power": (2, 2, lambda use, a, b: f"pow({a}, {b})"),
    "$sqrt": (1, 1, lambda use, a: f"{use('math')}.sqrt({a})"),
    "$now": (0, 0, lambda use: f"{use('now')}()"),
    "$millis": (0, 0, lambda use: f"int({use('time')}.time() * 1000)"),
    "$uuid": (0, 0, lambda use: f"str({use('uuid')}.uuid4())"),
    "$parse": (1, 1, lambda use, a: f"{use('json')}.loads({a})"),
    "$partition": (2, 2, lambda use, a, b: f"{use('partitioned')}({a}, {b})"),
    "$range": (3, 3, lambda use, a, b, c: f"{use('stepped')}({a}, {b}, {c})"),
    "$random": (0, 0, lambda use: f"{use('random')}.random()"),
    "$base64encode": (1, 1, lambda use, a: f"{use('base64')}.b64encode({a}.encode()).decode()"),
    "$base64decode": (1, 1, lambda use, a: f"{use('base64')}.b64decode({a}).decode()"),
}
