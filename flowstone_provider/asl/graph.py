"""A machine as a graph: where its states lead, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flowstone_provider.asl.model import (
    Catcher,
    Choice,
    Fail,
    Language,
    Machine,
    Map,
    State,
    Succeed,
    Wait,
    Worker,
    inner_machines,
    read_machine,
    read_state,
)
from flowstone_provider.asl.module import Module
from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import StateMachineError

# Python nests 20 `with` blocks, and a branch of a parallel state takes up to three.
_DEEPEST = 6


@dataclass
class Graph:
    """A machine whose states are read and lead somewhere.

    Attributes:
        states: Name -> state, in an order in which each comes after those that lead to it.
        ids: Name -> identifier, which is the task id.
        inner: State name -> the machines within it.
    """

    machine: Machine
    states: dict[str, State] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    inner: dict[str, list[Graph]] = field(default_factory=dict)

    @property
    def start(self) -> str:
        """The id of the first state."""
        return self.ids[self.machine.start_at]

    def assigns(self) -> bool:
        """Whether a state, here or further within, assigns a variable."""
        return any(
            _assigns(state) or any(inner.assigns() for inner in self.inner.get(name, ()))
            for name, state in self.states.items()
        )


def _assigns(state: State) -> bool:
    rules: list[Any] = [rule.get("Assign") for rule in state.choices] if isinstance(state, Choice) else []
    catchers = [catcher.assign for catcher in state.catch] if isinstance(state, Worker) else []
    return any([state.assign, *rules, *catchers])


def targets(state: State) -> Iterator[tuple[str, str | None]]:
    """Where a state leads, in order: what leads there (``Next``, ``Default`` …), and the name of a state or the end."""
    if isinstance(state, Choice):
        yield from (("a rule's Next", rule.get("Next")) for rule in state.choices)
        if state.default is not None:
            yield "Default", state.default
    elif not isinstance(state, Succeed | Fail):
        yield "Next", state.next
        if isinstance(state, Worker):
            yield from (("a Catch", catcher.next) for catcher in state.catch)


def catchers(state: State) -> list[Catcher]:
    """What a state catches."""
    return state.catch if isinstance(state, Worker) else []


def read_graph(value: Any, place: str, language: Language, module: Module, depth: int = 0) -> Graph:
    """Read a machine, and those within its states.

    Raises:
        StateMachineError: What is wrong, in which state and field.
    """
    if depth > _DEEPEST:
        raise StateMachineError(f"{place} is nested more than {_DEEPEST} machines deep: make it a machine of its own")
    machine = read_machine(value, place)
    language = machine.query_language or language
    graph = Graph(machine)
    states = {name: read_state(name, each, language) for name, each in machine.states.items()}
    _check_targets(states, machine, place)
    order = _ordered(states, machine.start_at, place)
    lost = sorted(states.keys() - set(order))
    if lost:
        raise StateMachineError(
            f"{place}: no state leads to {', '.join(map(repr, lost))}: remove it, or name it in a Next"
        )
    for name in order:
        graph.states[name] = states[name]
        graph.ids[name] = module.name(name)
        state = states[name]
        if isinstance(state, Map) and state.item_processor is not None and state.iterator is not None:
            raise StateMachineError(f"state {name!r} has both ItemProcessor and Iterator, its old name")
        if isinstance(state, Wait) and len(state.until) != 1:
            raise StateMachineError(f"state {name!r} must have one of Seconds, SecondsPath, Timestamp, TimestampPath")
        graph.inner[name] = [
            read_graph(inner, inner_place, language, module, depth + 1)
            for inner_place, inner in inner_machines(name, state)
        ]
    return graph


def _check_targets(states: dict[str, State], machine: Machine, place: str) -> None:
    names = list(states)
    if machine.start_at not in states:
        hint = nearest(machine.start_at, names)
        raise StateMachineError(f"{place} starts at {machine.start_at!r}, which is no state of it{hint}")
    for name, state in states.items():
        if not isinstance(state, Choice | Succeed | Fail) and (state.next is None) is not state.end:
            raise StateMachineError(f"state {name!r} must have either Next or End: true")
        if isinstance(state, Choice | Succeed | Fail) and (state.next is not None or state.end):
            raise StateMachineError(f"state {name!r} is a {state.type}, which has neither Next nor End")
        for what, target in targets(state):
            if target is None and what == "Next":
                continue
            if target not in states:
                hint = nearest(target, names) if isinstance(target, str) else ""
                raise StateMachineError(
                    f"state {name!r}: {what} leads to {target!r}, which is no state of {place}{hint}"
                )


def _ordered(states: dict[str, State], start: str, place: str) -> list[str]:
    """The states that can be reached, each behind those that lead to it: depth first, without recursion."""
    done: list[str] = []
    path: list[str] = []
    todo: list[tuple[str, bool]] = [(start, False)]
    closed: set[str] = set()
    while todo:
        name, leaving = todo.pop()
        if leaving:
            path.pop()
            closed.add(name)
            done.append(name)
        elif name in path:
            _refuse_cycle([*path[path.index(name) :], name], place)
        elif name not in closed:
            path.append(name)
            todo.append((name, True))
            todo += [(target, False) for _, target in targets(states[name]) if target is not None]
    return done[::-1]


def _refuse_cycle(names: list[str], place: str) -> None:
    raise StateMachineError(
        f"{place} goes in a circle, {' -> '.join(names)}: a DAG cannot. A loop that tries again becomes the state's "
        "Retry; one that waits until something is done becomes a .sync task, a callback (.waitForTaskToken), or a "
        "sensor of Airflow that you write in its place; one over a list becomes a Map",
        cycle=names,
    )
