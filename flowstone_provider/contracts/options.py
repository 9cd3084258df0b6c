"""The base of every options model: frozen, strict about names, lenient about what is rendered later."""

from __future__ import annotations

import difflib
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, field_validator

from flowstone_provider.errors import OptionsError


def is_deferred(value: object) -> bool:
    """Whether a value is known only when the task runs: a Jinja template, or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return hasattr(value, "iter_references") and hasattr(value, "resolve")


def nearest(name: str, names: list[str]) -> str:
    """``"; did you mean 'x'?"``, or the names there are."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(sorted(names))}" if names else ""


class Options(BaseModel):
    """Options of one thing, checked where they are written.

    A value that is a Jinja template or another task's output passes unchecked and is checked when the task
    has rendered it.

    Raises:
        OptionsError: An unknown name (with the nearest right one), or a value that does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    title: ClassVar[str] = ""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionsError(self._explain(error), options=sorted(values)) from None

    @field_validator("*", mode="wrap")
    @classmethod
    def _let_deferred_pass(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if is_deferred(value) else handler(value)

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        what = cls.title or cls.__name__
        names = list(cls.model_fields)
        problems = []
        for detail in error.errors(include_url=False):
            place = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                problems.append(f"{what} has no option {place!r}{nearest(place, names)}")
            elif detail["type"] == "missing":
                problems.append(f"{what} needs the option {place!r}")
            else:
                given = repr(detail["input"])
                message = detail["msg"].removeprefix("Value error, ")
                problems.append(f"{what}({place}={given[:80]}): {message}" if place else f"{what}: {message}")
        return "; ".join(problems)

    def dump(self) -> dict[str, Any]:
        """The options that were given, as a plain dict that Airflow can render and serialise."""
        values = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        return {name: value.dump() if isinstance(value, Options) else value for name, value in values.items()}
