"""The branches of a router: the tasks and task groups that come directly after it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import NestingError, RouteError


@dataclass(frozen=True)
class Branches:
    """What comes directly after a router."""

    tasks: dict[str, frozenset[str]]
    """Name of a branch -> ids of its tasks that come directly after the router; of an empty group none."""
    after: dict[str, str]
    """Name of what comes after a branch as well, and so is none itself -> the name of that branch."""
    others: frozenset[str]
    """The ids of their tasks: a router leaves them to their trigger rules."""


def branches_of(router: Any) -> Branches:
    """The branches of a router, by their names: ids relative to the router's own task group.

    Raises:
        RouteError: Two branches have one name, or the tasks of a group were made after its edge.
    """
    dag, left = router.dag, set(router.downstream_task_ids)
    nodes: list[tuple[str, frozenset[str]]] = []
    for group in dag.task_group.get_task_group_dict().values():
        if router.task_id not in group.upstream_task_ids:
            continue
        late = [root.task_id for root in group.get_roots() if router.task_id not in root.upstream_task_ids]
        if late:
            raise RouteError(
                f"the router {router.task_id!r} does not come before {late[0]!r} of its branch {group.group_id!r}: "
                f"write {router.task_id} >> {group.group_id} after the tasks of the group",
                router=router.task_id,
            )
        inside = frozenset(task.task_id for task in group)
        if inside & left or not inside:  # or it is part of a group that is a branch
            nodes.append((group.group_id, inside & left))
            left -= inside
    nodes += [(task_id, frozenset({task_id})) for task_id in sorted(left)]

    tasks: dict[str, frozenset[str]] = {}
    for node_id, ids in nodes:
        name = _relative(router, node_id)
        if name in tasks:
            raise RouteError(
                f"two branches of the router {router.task_id!r} have the name {name!r}, one in its task group and one "
                "outside: give one of them another id",
                router=router.task_id,
            )
        tasks[name] = ids
    below = {
        name: set().union(*(dag.get_task(task_id).get_flat_relative_ids(upstream=False) for task_id in ids))
        for name, ids in tasks.items()
    }
    after = {
        name: branch for branch, later in below.items() for name, ids in tasks.items() if name != branch and ids & later
    }
    return Branches(
        tasks={name: ids for name, ids in sorted(tasks.items()) if name not in after},
        after=after,
        others=frozenset().union(*(tasks[name] for name in after)),
    )


def check_branches(router: Any, branches: Branches, names: Collection[str], *, complete: bool) -> None:
    """Compare a router's edges with the names that it is known to choose.

    Args:
        router: The task.
        branches: Its branches.
        names: What it may choose, as far as that is known when the DAG is parsed.
        complete: Whether it can choose nothing else.

    Raises:
        RouteError: A name without an edge, an edge that no name chooses, or no edge at all.
        NestingError: A branch out of the mapped task group in which the router is.
    """
    if not branches.tasks:
        raise RouteError(
            f"the router {router.task_id!r} has no branch: write {router.task_id} >> [one, other]",
            router=router.task_id,
        )
    for name in sorted(names):
        if name not in branches.tasks:
            raise no_branch(router, branches, name)
    unused = sorted(branches.tasks.keys() - set(names))
    if complete and unused:
        raise RouteError(
            f"the router {router.task_id!r} never chooses its branch {unused[0]!r}; it chooses among "
            f"{', '.join(map(repr, sorted(names))) or 'nothing'}: name the branch there, or let it come after a branch",
            router=router.task_id,
        )
    mapped = router.get_closest_mapped_task_group()
    inside = router.dag.task_ids if mapped is None else {task.task_id for task in mapped}
    for name, ids in branches.tasks.items():
        if not ids <= set(inside):
            raise NestingError(
                f"the branch {name!r} of the router {router.task_id!r} is outside of the mapped task group "
                f"{mapped.group_id!r}, which has a decision for each index: put the branch into the group, or let it "
                "come after the branches"
            )


def _relative(router: Any, node_id: str) -> str:
    group = router.task_group
    return node_id.removeprefix(f"{group.group_id}.") if group is not None and group.group_id else node_id


def no_branch(router: Any, branches: Branches, name: str) -> RouteError:
    """The error for a name that is no branch."""
    message = f"the router {router.task_id!r} has no branch {name!r}"
    if _relative(router, name) in branches.tasks:
        message += ": in a task group, branches are named without it"
    elif name in branches.after:
        message += f": it comes after the branch {branches.after[name]!r} as well; for no branch give None"
    elif name in router.dag.task_dict or name in router.dag.task_group_dict:
        message += f": it does not come directly after the router; write {router.task_id} >> {name}"
    hint = nearest(name, list(branches.tasks))
    return RouteError(message + hint, router=router.task_id, name=name, branches=tuple(branches.tasks))
