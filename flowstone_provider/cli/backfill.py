"""``airflow flowstone assets backfill``: DAG runs for an arbitrary list of partitions."""

from __future__ import annotations

import hashlib
import re
from argparse import Namespace
from dataclasses import asdict, dataclass
from datetime import date, datetime, timezone
from typing import Any

import orjson

from flowstone_provider.cli import _keys
from flowstone_provider.cli._common import manager_of, output, remark, say
from flowstone_provider.contracts.partition import Partition, encode
from flowstone_provider.errors import OptionsError

# Airflow's `[scheduler] allowed_run_id_pattern`; two dots are refused besides.
_UNSAFE = re.compile(r"[^A-Za-z0-9_.~:+-]|\.(?=\.)")
# Airflow keeps 250 characters of a run's id.
_READABLE = 150


@dataclass(frozen=True)
class Made:
    """What became of a partition."""

    partition: str
    run_id: str
    state: str
    """``created``, ``would be created``, or the state of the run that the partition has."""


def arguments(manager: Any) -> tuple[Any, ...]:
    """Of the command; ``--io-manager`` is one of all commands of the group."""
    from airflow.cli.cli_config import Arg

    return (
        Arg(("dag_id",), help="The DAG"),
        *_keys.arguments(),
        Arg(("--missing",), help="Of these partitions only those that this asset lacks", metavar="ASSET"),
        manager,
        Arg(("--again",), help="Also for partitions that have a run", action="store_true"),
        Arg(("--dry-run",), help="Only say what would be done", action="store_true"),
        output(),
    )


def backfill(args: Namespace) -> None:
    """Make a DAG run for each partition."""
    wanted = _keys.asked_for(args)
    if args.missing is not None:
        wanted = _keys.lacking(manager_of(args), args.missing, wanted)
    runs = Runs(args.dag_id)
    there = runs.of(wanted)
    made: list[Made] = []
    try:
        for partition in wanted:
            found = there.get(partition)
            if found is not None and not args.again:
                each = Made(encode(partition), *found)
            elif args.dry_run:
                each = Made(encode(partition), runs.free_id(partition, found), "would be created")
            else:
                each = Made(encode(partition), *runs.make(partition, found))
            made.append(each)
            if args.output == "table":
                say(f"{each.partition}  {each.run_id}  {each.state}")
    finally:
        # Also when Airflow refuses one: the runs before it are there.
        if args.output == "json":
            say(orjson.dumps([asdict(each) for each in made]).decode())
    if args.output == "json":
        return
    new = sum(each.state in ("created", "would be created") for each in made)
    old = len(made) - new
    remark(
        f"{new:,} runs of {args.dag_id} {'would be' if args.dry_run else 'were'} created"
        + (f"; {old:,} partitions have one: clear those runs, or give --again" if old else "")
    )
    if new and runs.paused:
        remark(f"{args.dag_id} is paused: its runs wait until `airflow dags unpause {args.dag_id}`")


class Runs:
    """The runs of a DAG, by partition.

    Args:
        dag_id: The DAG.

    Raises:
        OptionsError: There is no such DAG.
    """

    def __init__(self, dag_id: str) -> None:
        from airflow.models.dag import DagModel
        from airflow.models.dagbag import DBDagBag
        from airflow.utils.session import create_session

        self.dag_id = dag_id
        with create_session() as session:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            model = DagModel.get_current(dag_id, session=session)
        if dag is None or model is None:
            raise OptionsError(f"there is no DAG {dag_id!r}; `airflow dags list` shows those that Airflow knows")
        self.paused = bool(model.is_paused)
        # Airflow below 3.2 knows no partition keys, and newer ones refuse them where the schedule has no partitions.
        timetable: Any = dag.timetable
        self.partitioned = bool(
            getattr(timetable, "partitioned", False) or getattr(timetable, "partitioned_at_runtime", False)
        )

    def of(self, partitions: list[Partition]) -> dict[Partition, tuple[str, str]]:
        """The run that a partition has, for those that have one: its id and its state."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        columns = {"run_id": _run_id}
        if self.partitioned:
            columns["partition_key"] = encode
        else:
            columns["logical_date"] = _logical_date
        found: dict[Partition, tuple[str, str]] = {}
        with create_session() as session:
            for name, value_of in columns.items():
                column = getattr(DagRun, name)
                wanted = {value: each for each in partitions if (value := value_of(each)) is not None}
                query = select(column, DagRun.run_id, DagRun.state).where(
                    DagRun.dag_id == self.dag_id, column.in_(list(wanted))
                )
                for value, run_id, state in session.execute(query.order_by(DagRun.id)):
                    found[wanted[value]] = (run_id, str(state))
        return found

    def free_id(self, partition: Partition, found: tuple[str, str] | None) -> str:
        """The id of a new run: the same one for a partition each time, unless it has a run already."""
        now = datetime.now(timezone.utc)
        return _run_id(partition) + (f"__{now:%Y%m%dT%H%M%S%f}" if found else "")

    def make(self, partition: Partition, found: tuple[str, str] | None) -> tuple[str, str]:
        """Make a run; its id and ``created``, or the state of one that somebody else made meanwhile.

        Raises:
            OptionsError: Airflow refuses it.
        """
        from airflow.api.common.trigger_dag import trigger_dag
        from airflow.exceptions import AirflowException, DagRunAlreadyExists
        from airflow.utils.types import DagRunTriggeredByType
        from sqlalchemy.exc import IntegrityError

        text, run_id = encode(partition), self.free_id(partition, found)
        given: dict[str, Any] = {}
        if self.partitioned:
            given["partition_key"] = text
        elif found is None and (at := _logical_date(partition)) is not None:
            # The data interval is that of the logical date, as Airflow's API has it.
            given.update(logical_date=at, run_after=min(at, datetime.now(timezone.utc)))
        try:
            trigger_dag(
                self.dag_id,
                triggered_by=DagRunTriggeredByType.CLI,
                run_id=run_id,
                conf={"partition": _plain(partition)},
                replace_microseconds=False,
                **given,
            )
        except (DagRunAlreadyExists, IntegrityError):
            # Somebody made it meanwhile, or another partition is the same moment: a day and its midnight.
            there = self.of([partition]).get(partition)
            if there is None:
                raise
            return there
        except (AirflowException, ValueError) as error:
            raise OptionsError(f"{self.dag_id} has no run for the partition {text}: {error}") from error
        return run_id, "created"


def _run_id(partition: Partition) -> str:
    text = encode(partition)
    safe = _UNSAFE.sub("-", text)[:_READABLE]
    if safe != text:
        safe += "-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"flowstone__{safe}"


def _plain(partition: Partition) -> str | list[str]:
    """A partition as JSON, as a template of the DAG wants it: texts without escapes, a list of dimensions."""
    if isinstance(partition, tuple):
        return [str(_plain(part)) for part in partition]
    return partition if isinstance(partition, str) else encode(partition)


def _logical_date(partition: Partition) -> datetime | None:
    """The moment that a partition is, if it is one."""
    if isinstance(partition, datetime):
        return partition
    if isinstance(partition, date):
        return datetime(partition.year, partition.month, partition.day, tzinfo=timezone.utc)
    return None
