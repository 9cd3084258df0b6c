"""``airflow flowstone routes …``: list, show, forget."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

import orjson

from flowstone_provider.cli._common import friendly, output, say, say_table
from flowstone_provider.contracts.options import nearest
from flowstone_provider.contracts.routing import Decision, RoutingCoordinator
from flowstone_provider.errors import OptionsError

# The columns of `list`.
_LISTED = ("run_id", "router", "map_index", "selected", "decided_at")


def commands() -> tuple[Any, ...]:
    """The commands of the group ``routes``."""
    from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg

    dag, run = Arg(("dag_id",), help="The DAG"), Arg(("run_id",), help="The DAG run")
    router = Arg(("task_id",), help="The router")
    return (
        ActionCommand(
            name="list",
            help="The decisions of a DAG's routers",
            func=friendly(list_routes),
            args=(dag, Arg(("run_id",), help="Only of this DAG run", nargs="?"), output(), ARG_VERBOSE),
        ),
        ActionCommand(
            name="show",
            help="What a router decided: among which branches, when, on what input",
            func=friendly(show),
            args=(dag, run, router, _index("Of this index of a mapped task group"), output(), ARG_VERBOSE),
        ),
        ActionCommand(
            name="forget",
            help="Let a router decide anew when it runs again",
            description="Removes the decision of a router in a run. Clear the router then: until it has run again, "
            "everything stays as it is.",
            func=friendly(forget),
            args=(dag, run, router, _index("Only this index of a mapped task group (default: all)"), ARG_VERBOSE),
        ),
    )


def _index(what: str) -> Any:
    from airflow.cli.cli_config import Arg

    return Arg(("--map-index",), help=what, type=int, default=None)


def _coordinator() -> RoutingCoordinator:
    from flowstone_provider import config, registry
    from flowstone_provider.hooks.storage import storage

    return registry.routing_coordinators.lookup(config.get("routing")).cls(storage())


def list_routes(args: Namespace) -> None:
    """Say what the routers of a DAG, or of one run, decided."""
    found = list(_coordinator().decisions(args.dag_id, args.run_id))
    if args.output == "json":
        say(orjson.dumps(found).decode())
    elif found:
        say_table(_LISTED, [[_cell(decision, name) for name in _LISTED] for decision in found])
    else:
        say(f"{args.dag_id} has no decision" + (f" in run {args.run_id}" if args.run_id else ""))


def _cell(decision: Decision, name: str) -> Any:
    value = getattr(decision, name)
    return None if value == -1 else "(none)" if name == "selected" and value is None else value


def show(args: Namespace) -> None:
    """Say what a router decided."""
    found = _found(args)
    if len(found) > 1:
        indexes = ", ".join(str(decision.map_index) for decision in found)
        raise OptionsError(f"{args.task_id} decided for several indexes: give --map-index one of {indexes}")
    facts = asdict(found[0])
    if args.output == "json":
        say(orjson.dumps(facts).decode())
        return
    facts.update(selected=_cell(found[0], "selected"), available=", ".join(found[0].available))
    say(*(f"{name:<11} {fact}" for name, fact in facts.items() if fact not in (None, -1)))


def forget(args: Namespace) -> None:
    """Remove the decisions of a router in a run."""
    coordinator = _coordinator()
    # By its index also one that cannot be read.
    indexes = [args.map_index] if args.map_index is not None else [decision.map_index for decision in _found(args)]
    forgotten = [index for index in indexes if coordinator.forget(args.dag_id, args.run_id, args.task_id, index)]
    if not forgotten:
        raise _nothing(args, [])
    say(f"forgot {len(forgotten)} of {args.task_id}: clear it, with downstream, and it decides anew")


def _found(args: Namespace) -> list[Decision]:
    """The decisions that are asked for, one or more."""
    of_run = list(_coordinator().decisions(args.dag_id, args.run_id))
    found = [decision for decision in of_run if decision.router == args.task_id]
    if args.map_index is not None:
        found = [decision for decision in found if decision.map_index == args.map_index]
    if not found:
        raise _nothing(args, sorted({decision.router for decision in of_run}))
    return found


def _nothing(args: Namespace, routers: list[str]) -> OptionsError:
    index = f"[{args.map_index}]" if args.map_index is not None else ""
    hint = nearest(args.task_id, routers) if args.task_id not in routers else ""
    return OptionsError(f"{args.dag_id} has no decision of {args.task_id}{index} in run {args.run_id}{hint}")
