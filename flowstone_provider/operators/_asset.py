"""What tasks that store, load or look for an asset share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow.sdk import Asset, BaseOperator

from flowstone_provider import lineage, registry
from flowstone_provider.contracts.io_manager import AssetKey, IOManager
from flowstone_provider.contracts.options import is_deferred
from flowstone_provider.contracts.partition import Partition, decode
from flowstone_provider.errors import OptionsError, PartitionError

# Of the values that a task read its asset event names so many: an event is a row of Airflow's database.
_NAMED = 100


class AssetOperator(BaseOperator):
    """Base of tasks that are about one asset, or one partition of it.

    Args:
        asset: Its name; may be a template.
        io_manager: The name of the IO manager that keeps it: a registered one, or an alias of ``[flowstone]
            io_managers``.
        partition: A text, a date, an aware datetime, or a tuple of those; may be a template or another task's output.
            By default it is the run's partition key, if the run has one (Airflow ≥ 3.2).
        **kwargs: See ``BaseOperator``.

    Raises:
        UnknownNameError: No IO manager has this name; the message gives the nearest.
        OptionsError: The alias has options that do not fit its IO manager.
        AssetError: What is given is no name of an asset, or no partition.
    """

    template_fields: Collection[str] = ("asset", "partition")

    def __init__(self, *, asset: str, io_manager: str = "file", partition: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset = asset
        self.io_manager = io_manager
        self.partition = partition
        # What is rendered may be None, too, and is then no partition rather than the asset without partitions.
        self._given_partition = partition is not None
        check_asset(asset, io_manager, partition)

    def key(self, context: Mapping[str, Any]) -> AssetKey:
        """Which value the task is about, once its templates are rendered.

        Raises:
            PartitionError: What is given is no partition.
        """
        return asset_key(self.asset, self.partition, context, given=self._given_partition)

    def manager(self) -> IOManager:
        """The IO manager that keeps it."""
        return registry.create_io_manager(self.io_manager)


def check_asset(asset: Any, io_manager: Any, partition: Any = None) -> None:
    """Check what is known of an asset when the DAG is parsed. No connection is asked for.

    Raises:
        UnknownNameError: No IO manager has this name; the message gives the nearest.
        OptionsError: The alias has options that do not fit its IO manager.
        AssetError: What is given is no name of an asset, or no partition.
    """
    if not isinstance(io_manager, str) or is_deferred(io_manager):
        raise OptionsError(
            f"io_manager must be a name, not {io_manager!r}: where assets lie is configuration, so give the name of an "
            "alias in [flowstone] io_managers"
        )
    resolved: Any = registry.io_managers.lookup(io_manager)
    resolved.cls(**resolved.options)
    if not is_deferred(asset):
        AssetKey(asset)
    parts = partition if isinstance(partition, tuple) else (partition,)
    if partition is not None and not any(map(is_deferred, parts)):
        AssetKey("any", partition)


def asset_key(asset: str, partition: Any, context: Mapping[str, Any], *, given: bool = False) -> AssetKey:
    """Which value a task is about: of the partition that is given, or of that of the run.

    Args:
        asset: Its name.
        partition: As rendered.
        context: The task's.
        given: Whether the task was given a partition at all.

    Raises:
        PartitionError: What is given is no partition.
    """
    if partition is None and not given:
        return AssetKey(asset, _of_run(context))
    # Of what came through XCom, a tuple is a list.
    partition = tuple(partition) if isinstance(partition, list) else partition
    for part in partition if isinstance(partition, tuple) else (partition,):
        if part is None or part in ("", "None"):  # which is how Jinja writes it
            raise PartitionError(
                f"the partition of {asset} is {partition!r}: its template, or the task that it comes from, found "
                "nothing, as {{ ds }} does in a run without logical date"
            )
    return AssetKey(asset, partition)


def _of_run(context: Mapping[str, Any]) -> Partition | None:
    text = getattr(context.get("dag_run"), "partition_key", None)  # Airflow 3.1 has none
    if text is None:
        return None
    try:
        return decode(text)
    except PartitionError as error:
        raise PartitionError(
            f"the run's partition key {text!r} is not written as partitions are ({error}); to take it as a text as it "
            'is, give partition="{{ dag_run.partition_key }}"'
        ) from error


def airflow_asset(asset: str, io_manager: str = "file") -> Asset:
    """The Airflow asset whose events tell that an asset was stored: for ``schedule=[…]`` of the DAGs that use it.

    Args:
        asset: The asset's name.
        io_manager: The name of its IO manager, as in the task that stores it.

    Raises:
        AssetError: It is no name of an asset.
    """
    return lineage.create_asset(asset=asset, io_manager=io_manager)


def outlets_of(asset: str, io_manager: str) -> list[Asset]:
    """The outlets of a task that stores an asset. A name that is a template is not known when Airflow asks: none."""
    return [] if is_deferred(asset) else [airflow_asset(asset, io_manager)]


def with_outlet(outlets: Iterable[Any] | None, asset: str, io_manager: str) -> list[Any]:
    """The outlets that a task was given, and that of the asset which it stores."""
    given = list(outlets or ())
    return [*given, *(outlet for outlet in outlets_of(asset, io_manager) if outlet not in given)]


def announce(
    context: Mapping[str, Any],
    outlets: Iterable[Asset],
    reference: Mapping[str, Any],
    read: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Say in the outlet's event what was stored, and from what: its extra is a reference that ``load`` takes.

    Args:
        context: The task's.
        outlets: Those of `outlets_of`.
        reference: To what was stored.
        read: The references that the task has loaded.
    """
    sources = [_source(each) for each in read]
    _tell(context, outlets, {**reference, "read": sources[:_NAMED]})


def announce_deleted(context: Mapping[str, Any], outlets: Iterable[Asset], key: AssetKey) -> None:
    """Say in the outlet's event, which Airflow makes in any case, that there is no value any more."""
    _tell(context, outlets, {"deleted": True, "asset": key.asset, "partition": key.text})


def _tell(context: Mapping[str, Any], outlets: Iterable[Asset], extra: Mapping[str, Any]) -> None:
    for outlet in outlets:
        event = context["outlet_events"][outlet]
        event.extra.update(extra)
        if extra["partition"] is not None and hasattr(event, "add_partitions"):  # since Airflow 3.2
            event.add_partitions(extra["partition"])


def _source(reference: Mapping[str, Any]) -> dict[str, Any]:
    if reference["flowstone"] == "scatter":
        return {"scatter": reference["manifest"]}
    return {name: reference.get(name) for name in ("asset", "partition", "io_manager", "checksum")}
