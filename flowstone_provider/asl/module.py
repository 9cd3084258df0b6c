"""The Python file that is being written: its names, functions and imports, and the report on it."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flowstone_provider.asl.helpers import reserved, resolve
from flowstone_provider.asl.layout import comment, laid_out, plain
from flowstone_provider.asl.scope import Scope

# Of a name so many characters become the identifier: a task id has at most 250, with those of its groups.
_LONGEST = 50


@dataclass(frozen=True)
class Remark:
    """Something a person should look at."""

    state: str
    text: str


@dataclass(frozen=True)
class ByHand:
    """A function that a person must complete."""

    state: str
    function: str
    original: str
    reason: str


@dataclass
class Report:
    """What became of the states of a file."""

    translated: list[str] = field(default_factory=list)
    """State names, with what they became: ``"Ship (Task): LambdaInvokeFunctionOperator"``."""
    to_complete: list[ByHand] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def dump(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{len(self.translated)} states:", *(f"  {each}" for each in self.translated)]
        if self.to_complete:
            lines.append(f"{len(self.to_complete)} functions to complete:")
            lines += [
                f"  {each.state}: {each.function}() for {_short(each.original)} ({each.reason})"
                for each in self.to_complete
            ]
        if self.remarks:
            lines.append(f"{len(self.remarks)} remarks:")
            lines += [f"  {each.state}: {each.text}" for each in self.remarks]
        return lines


def _short(text: str) -> str:
    text = " ".join(plain(text).split())
    return text if len(text) <= 80 else text[:79] + "…"


def identifier(name: str) -> str:
    """A name as a Python identifier in snake case: ``"Charge Card (EU)"`` is ``charge_card_eu``."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", text)
    text = re.sub(r"[^a-zA-Z0-9]+", "_", text).strip("_").lower()[:_LONGEST].strip("_")
    if not text or text[0].isdigit():
        text = f"state_{text}".rstrip("_")
    return text


class Module:
    """The file, in the order in which it is read."""

    def __init__(self) -> None:
        self.report = Report()
        self._functions: list[str] = []
        self._used: set[str] = set()
        self._operators: dict[str, str] = {}
        self._names = {*reserved(), *dir(builtins), *keyword.kwlist, *keyword.softkwlist, "flowstone"}

    def use(self, name: str) -> str:
        """Note that the file needs a helper or an import; gives the name."""
        self._used.add(name)
        return "error_output" if name == "lambda_error_output" else name

    def use_operator(self, name: str, module: str) -> str:
        """Note that the file needs an operator of the Amazon provider; gives its name."""
        self._operators[name] = module
        return name

    def name(self, *words: str) -> str:
        """An identifier that nothing else in the file has, made from some words."""
        base = identifier("_".join(words))
        found, number = base, 1
        while found in self._names:
            number += 1
            found = f"{base}_{number}"
        self._names.add(found)
        return found

    def function(
        self,
        name: str,
        parameters: Sequence[str],
        doc: str,
        body: Sequence[str],
        *,
        decorator: str | None = None,
        returns: str | None = None,
    ) -> str:
        """Write a function of the module; gives its name."""
        head = f"def {name}({', '.join(parameters)})" + (f" -> {returns}" if returns else "") + ":"
        lines = [f"@{decorator}"] if decorator else []
        self._functions.append("\n".join([*lines, head, *indented([repr(plain(doc) or name), *body])]))
        return name

    def by_hand(self, scope: Scope, what: str, original: str, reason: str) -> str:
        """Write a function that a person must complete; gives the call of it."""
        name = self.name(scope.state, what)
        arguments = scope.names()
        self.function(name, arguments, original, to_complete(name, scope.state))
        self.add_by_hand(scope.state, name, original, reason)
        return f"{name}({', '.join(arguments)})"

    def add_by_hand(self, state: str, function: str, original: str, reason: str) -> None:
        """Put a function that a person must complete into the report."""
        self.report.to_complete.append(ByHand(state, function, plain(original), reason))

    def remark(self, state: str, text: str) -> None:
        """Put something into the report."""
        if Remark(state, text) not in self.report.remarks:
            self.report.remarks.append(Remark(state, text))

    def source(self, doc: str, end: Sequence[str]) -> str:
        """The whole file."""
        imports, helpers = resolve(self._used, self._operators)
        parts = [repr(plain(doc)), *imports, *helpers, *self._functions, *end]
        return laid_out("\n".join(parts))


def indented(lines: Sequence[str]) -> list[str]:
    """Lines of source, one level further in; a line may have several."""
    return ["    " + part for line in lines for part in line.split("\n")]


def to_complete(name: str, state: str) -> list[str]:
    """The body of a function that a person must write."""
    return [
        comment(f"TODO: write this in Python; the converter could not (state {state})"),
        f"raise NotImplementedError({name!r})",
    ]
