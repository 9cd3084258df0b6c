"""What an expression of a state machine may refer to, and under which names Python has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


class Untranslatable(Exception):  # noqa: N818  (caught where a function to complete takes the expression's place)
    """An expression that the converter has no Python for."""


@dataclass(frozen=True)
class Scope:
    """Names of Python variables; ``None`` where an expression cannot refer to the thing."""

    use: Callable[[str], str]
    """Notes that a helper is needed in the file, and gives its name."""
    state: str
    """The state's name."""
    data: str = "data"
    """The input that ``$`` or ``$states.input`` means."""
    variables: str | None = None
    """The dict of the machine's variables."""
    result: str | None = None
    error: str | None = None
    item: str | None = None
    index: str | None = None
    token: str | None = None
    """The URL of the signal, in the place of the task token."""

    def but(self, **names: Any) -> Scope:
        """The same with other names."""
        return replace(self, **names)

    def names(self) -> list[str]:
        """The variables that there are, for a function that takes them all."""
        named = (self.data, self.variables, self.result, self.error, self.item, self.index, self.token)
        return list(dict.fromkeys(name for name in named if name))


def context_value(path: list[str], scope: Scope) -> str:
    """A field of the context object, ``$$`` or ``$states.context``.

    Raises:
        Untranslatable: Airflow has nothing of that kind.
    """
    known = {
        ("Map", "Item", "Value"): scope.item,
        ("Map", "Item", "Index"): scope.index,
        ("Task", "Token"): scope.token,
        ("State", "Name"): repr(scope.state),
    }
    for names, python in known.items():
        if tuple(path[: len(names)]) == names and python is not None:
            return python + "".join(f"[{name!r}]" for name in path[len(names) :])
    if path == ["State", "EnteredTime"]:
        return scope.use("now") + "()"
    execution = ("Id", "Name", "Input", "StartTime")
    if path[:1] == ["StateMachine"] or (path[:1] == ["Execution"] and (len(path) == 1 or path[1] in execution)):
        return scope.use("context_object") + "()" + "".join(f"[{name!r}]" for name in path)
    raise Untranslatable(f"the context object's {'.'.join(path) or 'whole'} has no counterpart")


def variable(name: str, scope: Scope) -> str:
    """A variable of the machine.

    Raises:
        Untranslatable: Nothing assigns one.
    """
    if scope.variables is None:
        raise Untranslatable(f"no state assigns the variable ${name}")
    return f"{scope.variables}[{name!r}]"
