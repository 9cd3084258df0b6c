"""Routers: tasks that choose one of the branches after them, once and for all."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace, UnionType
from typing import Any, Literal, NoReturn, get_args, get_origin

from airflow.providers.common.compat.sdk import DecoratedOperator, KeywordParameters

from flowstone_provider.errors import NestingError, OptionsError
from flowstone_provider.operators._routing import RoutingOperator


@dataclass(frozen=True)
class Choice:
    """One of the branches that a `RouterOperator` may choose, and when.

    Args:
        name: The branch: the id of a task or task group that comes directly after the router, without that of the
            task group in which the router is.
        when: Called with the router's arguments, and by name with what it wants of Airflow's context; the branch is
            chosen when it returns something true.
    """

    name: str
    when: Callable[..., Any]

    def __post_init__(self) -> None:
        if not callable(self.when) or inspect.iscoroutinefunction(self.when):
            raise OptionsError(f"Choice({self.name!r}) needs a function when=…, and none that is async")


class RouterOperator(RoutingOperator):
    """Chooses the branch of the first choice whose predicate is true.

    Args:
        choices: Asked in their order.
        default: The branch when no predicate is true; ``None`` for none.
        op_args: See `RoutingOperator`.
        op_kwargs: See `RoutingOperator`.
        **kwargs: See `RoutingOperator`.
    """

    def __init__(
        self,
        *,
        choices: Sequence[Choice],
        default: str | None = None,
        op_args: Sequence[Any] = (),
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not choices or not all(isinstance(choice, Choice) for choice in choices):
            raise OptionsError(f'{self.task_id}: choices must be Choice("branch", when=…), one or more')
        self.choices = tuple(choices)
        self.default = default
        self.op_args = list(op_args)
        self.op_kwargs = dict(op_kwargs or {})

    @classmethod
    def partial(cls, **_: Any) -> NoReturn:
        """A router is not mapped by itself.

        Raises:
            NestingError: Always.
        """
        refuse_mapping(cls.__name__)

    def choose(self, context: Mapping[str, Any]) -> str | None:
        """See `RoutingOperator.choose`."""
        for choice in self.choices:
            if _call(choice.when, self.op_args, self.op_kwargs, context):
                return choice.name
        return self.default

    def names(self) -> set[str]:
        """See `RoutingOperator.names`."""
        return {choice.name for choice in self.choices} | ({self.default} if self.default is not None else set())


class DecoratedRouteOperator(RoutingOperator, DecoratedOperator):
    """Chooses the branch that a function returns."""

    custom_operator_name = "@task.route"

    def choose(self, context: Mapping[str, Any]) -> Any:
        """See `RoutingOperator.choose`."""
        return _call(self.python_callable, self.op_args, self.op_kwargs, context)

    def names(self) -> set[str] | None:
        """See `RoutingOperator.names`: those of the annotation, as in ``-> Literal["small", "large"] | None``."""
        function = inspect.unwrap(self.python_callable)
        written = getattr(function, "__annotations__", {})
        if "return" not in written:
            return None
        alone = SimpleNamespace(__annotations__={"return": written["return"]})
        try:
            hint = typing.get_type_hints(alone, globalns=getattr(function, "__globals__", {}))["return"]
        except NameError:  # a name that is there for type checkers only
            return None
        return _literals(hint)


def _literals(hint: Any) -> set[str] | None:
    if hint is type(None):
        return set()
    if get_origin(hint) is Literal:
        return {value for value in get_args(hint) if value is not None}
    if get_origin(hint) in (typing.Union, UnionType):
        parts = [_literals(part) for part in get_args(hint)]
        return None if None in parts else set().union(*(part for part in parts if part))
    return None


def _call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> Any:
    wanted = KeywordParameters.determine(function, args, {**context, **kwargs}).unpacking()
    value = function(*args, **wanted)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def refuse_mapping(what: str) -> NoReturn:
    """Raise, because what comes after a mapped task cannot be skipped for one of its indexes.

    Raises:
        NestingError: With what to do instead.
    """
    raise NestingError(
        f"{what} is a router and cannot be mapped by itself, because what comes after it is not: put it and its "
        "branches into a task group (@task_group), and map that"
    )
