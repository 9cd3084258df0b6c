"""Names to classes: readers, IO managers, coordinators, emitters.

A name is resolved in this order: a class given directly; `Registry.register`; an alias in the ``[flowstone]`` section
of Airflow's configuration; entry points, which is how our own classes and those of a stranger's package arrive.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from flowstone_provider import config, telemetry
from flowstone_provider.contracts.io_manager import IOManager
from flowstone_provider.contracts.item_reader import ItemReader, ReaderSpec, Resources
from flowstone_provider.contracts.options import nearest
from flowstone_provider.contracts.parallel import ParallelCoordinator
from flowstone_provider.contracts.routing import RoutingCoordinator
from flowstone_provider.contracts.scatter import ScatterCoordinator
from flowstone_provider.contracts.telemetry import Emitter
from flowstone_provider.errors import (
    ContractVersionError,
    DuplicateNameError,
    OptionsError,
    RegistryError,
    UnknownNameError,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Resolved(Generic[T]):
    """A class, with the options that an alias gives it."""

    cls: type[T]
    options: dict[str, Any]


class Registry(Generic[T]):
    """The classes of one contract, by name.

    Args:
        kind: The word for one of them in messages, e.g. ``"item reader"``.
        group: The entry point group, e.g. ``"flowstone.readers"``.
        contract: The abstract base class.
        aliases: The option of the ``[flowstone]`` section that holds aliases, if there are any.
    """

    def __init__(self, kind: str, group: str, contract: Callable[[], type[T]], *, aliases: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._contract = contract
        self._option = aliases
        self._classes: dict[str, type[T]] = {}
        self._entry_points: dict[str, list[EntryPoint]] | None = None
        self._lock = threading.Lock()

    def register(self, name: str, cls: type[T]) -> None:
        """Give a class a name in this process; for tests, notebooks and plugins without packaging.

        Raises:
            DuplicateNameError: Another class has the name.
            ContractVersionError: The class was made for another major version of the contract.
        """
        with self._lock:
            owner = self._classes.get(name)
            if owner is not None and owner is not cls:
                raise DuplicateNameError(
                    f"two classes are registered as {self.kind} {name!r}: {_path(owner)} and {_path(cls)}",
                    name=name,
                )
            self._classes[name] = self._checked(name, cls)

    def unregister(self, name: str) -> None:
        """Take back `register`."""
        with self._lock:
            self._classes.pop(name, None)

    def names(self) -> list[str]:
        """All names there are, sorted."""
        return sorted({*self._classes, *self._aliases(), *self._points()})

    def resolve(self, name: str | type[T]) -> Resolved[T]:
        """The class of a name.

        Raises:
            UnknownNameError: There is none; the message gives the nearest name.
            DuplicateNameError: Two packages provide it.
            ContractVersionError: It was made for another major version of the contract.
            RegistryError: The class cannot be imported, or is no implementation of the contract.
        """
        resolved = self.lookup(name)
        telemetry.emit(
            "flowstone.registry.resolve", {}, {"kind": self.kind, "name": str(name), "class": _path(resolved.cls)}
        )
        return resolved

    def lookup(self, name: str | type[T], through: tuple[str, ...] = ()) -> Resolved[T]:
        """As `resolve`, without the event."""
        if isinstance(name, type):
            return Resolved(self._checked(_path(name), name), {})
        if name in self._classes:
            return Resolved(self._classes[name], {})
        if ":" in name:
            return Resolved(self._imported(name), {})
        alias = self._aliases().get(name)
        if alias is not None and name not in through:
            target = self.lookup(alias["use"], (*through, name))
            return Resolved(target.cls, {**target.options, **{k: v for k, v in alias.items() if k != "use"}})
        return Resolved(self._checked(name, self._loaded(name, through)), {})

    def _aliases(self) -> dict[str, dict[str, Any]]:
        aliases = config.get_json(self._option) if self._option else {}
        for name, value in aliases.items():
            if not isinstance(value, dict) or not isinstance(value.get("use"), str):
                raise OptionsError(
                    f"[flowstone] {self._option}: the alias {name!r} must be an object with 'use' (the name of a "
                    f"registered {self.kind}) and options of it"
                )
        return aliases

    def _points(self) -> dict[str, list[EntryPoint]]:
        if self._entry_points is None:
            found: dict[str, list[EntryPoint]] = {}
            for point in entry_points(group=self.group):
                owners = found.setdefault(point.name, [])
                # A package that is found at two places of the path is one owner.
                if all(point.value != other.value for other in owners):
                    owners.append(point)
            self._entry_points = found
        return self._entry_points

    def _loaded(self, name: str, through: tuple[str, ...]) -> Any:
        """What the entry point of a name leads to; ``through`` are the aliases that led to the name."""
        points = self._points().get(name, [])
        if not points:
            if name in through:
                circle = " -> ".join(map(repr, (*through, name)))
                raise UnknownNameError(f"[flowstone] {self._option}: aliases go in a circle: {circle}", name=name)
            where = f"[flowstone] {self._option}: the alias {through[-1]!r} uses {name!r}, but " if through else ""
            raise UnknownNameError(
                f"{where}there is no {self.kind} {name!r}{nearest(name, self.names())}", kind=self.kind, name=name
            )
        if len(points) > 1:
            raise DuplicateNameError(
                f"two packages provide the {self.kind} {name!r}: {_owner(points[0])} and {_owner(points[1])}; "
                f"uninstall one, or name the class instead, {points[0].value!r} or {points[1].value!r}",
                name=name,
            )
        (point,) = points
        try:
            return point.load()
        except Exception as error:  # a stranger's module may raise anything
            raise RegistryError(
                f"{self.kind} {name!r} of {_owner(point)} cannot be imported from {point.value}: "
                f"{type(error).__name__}: {error}",
                name=name,
            ) from error

    def _imported(self, path: str) -> type[T]:
        module, _, attribute = path.partition(":")
        try:
            cls = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UnknownNameError(f"{self.kind} {path!r} cannot be imported: {error}", name=path) from error
        return self._checked(path, cls)

    def _checked(self, name: str, cls: Any) -> type[T]:
        contract: Any = self._contract()
        if not (isinstance(cls, type) and issubclass(cls, contract)):
            raise RegistryError(f"{self.kind} {name!r} is {cls!r}, which is no {contract.__name__}", name=name)
        ours = contract.contract_version
        theirs = str(getattr(cls, "contract_version", ""))
        if theirs.partition(".")[0] != ours.partition(".")[0]:
            raise ContractVersionError(
                f"{self.kind} {name!r} ({_path(cls)}) was made for version {theirs} of {contract.__name__}; this "
                f"package has {ours}: install a version of the plugin for {ours.partition('.')[0]}.x",
                name=name,
                theirs=theirs,
                ours=ours,
            )
        return cls


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


readers: Registry[ItemReader] = Registry("item reader", "flowstone.readers", lambda: ItemReader, aliases="readers")
io_managers: Registry[IOManager] = Registry(
    "IO manager", "flowstone.io_managers", lambda: IOManager, aliases="io_managers"
)
coordinators: Registry[ScatterCoordinator] = Registry(
    "scatter coordinator", "flowstone.coordinators", lambda: ScatterCoordinator
)
parallel_coordinators: Registry[ParallelCoordinator] = Registry(
    "parallel coordinator", "flowstone.parallel", lambda: ParallelCoordinator
)
routing_coordinators: Registry[RoutingCoordinator] = Registry(
    "routing coordinator", "flowstone.routing", lambda: RoutingCoordinator
)
emitters: Registry[Emitter] = Registry("emitter", "flowstone.emitters", lambda: Emitter)


def create_reader(spec: ReaderSpec, resources: Resources) -> ItemReader:
    """The reader that a spec describes.

    Raises:
        UnknownNameError: No such reader.
        OptionsError: The options do not fit it.
    """
    resolved = readers.resolve(spec.reader)
    return resolved.cls(resolved.cls.options(**{**resolved.options, **spec.options}), resources)


def create_io_manager(name: str, **options: Any) -> IOManager:
    """The IO manager of a name, with the options that an alias gives it.

    Raises:
        UnknownNameError: No such IO manager.
        OptionsError: The options do not fit it.
    """
    resolved = io_managers.resolve(name)
    cls: Any = resolved.cls
    manager: IOManager = cls(**{**resolved.options, **options})
    manager.registered_as = name
    return manager
