"""``airflow flowstone …``: plan (a dry run), status, clean."""

from __future__ import annotations

import re
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import orjson

from flowstone_provider.cli._common import age, friendly, output, say
from flowstone_provider.errors import OptionsError

# What a run has beside the ledgers of its scatters.
_OF_RUNS = ("~routes", "~parallel")


def commands() -> tuple[Any, ...]:
    """``plan``, ``status`` and ``clean``."""
    from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg

    dag, run = Arg(("dag_id",), help="The DAG"), Arg(("run_id",), help="The DAG run")
    return (
        ActionCommand(
            name="plan",
            help="Dry run: the items and batches that a scatter would have now",
            func=friendly(plan),
            args=(
                dag,
                Arg(("task_id",), help="The plan task, or the scatter (its task group)"),
                Arg(("--conf",), help="The run's conf, as JSON", default="{}"),
                Arg(("--date",), help="The logical date, for templates (default: now)", default=None),
                output(),
                ARG_VERBOSE,
            ),
        ),
        ActionCommand(
            name="status",
            help="How far the scatters of a run are",
            func=friendly(status),
            args=(dag, run, output(), ARG_VERBOSE),
        ),
        ActionCommand(
            name="clean",
            help="Remove what runs left in the storage: plans, outcomes, results, decisions",
            description="Removes what was not touched for some time, or what belongs to one run: the ledgers of "
            "scatters with their results, the decisions of routers, the states of parallel groups. Assets stay.",
            func=friendly(clean),
            args=(
                Arg(("--older-than",), help="Not touched for this long: 30d, 12h", type=age, default=None),
                Arg(("--dag-id",), help="Only of this DAG", default=None),
                Arg(("--run-id",), help="Only of this run (with --dag-id)", default=None),
                Arg(("--scatter-id",), help="Only this scatter (with --run-id)", default=None),
                Arg(("--dry-run",), help="Only say what would go", action="store_true"),
                Arg(("-y", "--yes"), help="Do not ask", action="store_true"),
                ARG_VERBOSE,
            ),
        ),
    )


def plan(args: Namespace) -> None:
    """Plan a scatter into a folder that is thrown away, and say what came out."""
    from upath import UPath

    from flowstone_provider import config, registry
    from flowstone_provider.contracts.scatter import Barrier
    from flowstone_provider.hooks.resources import AirflowResources
    from flowstone_provider.operators.source import items_at_run
    from flowstone_provider.scatter.batch import item_lines
    from flowstone_provider.scatter.ledger import LedgerCoordinator
    from flowstone_provider.scatter.options import ScatterOptions
    from flowstone_provider.scatter.planner import make_plan

    task, rendered = _rendered(args)
    options = ScatterOptions(**rendered["options"])
    resources = AirflowResources()
    with tempfile.TemporaryDirectory() as folder:
        coordinator = LedgerCoordinator(UPath(folder))
        made = make_plan(
            registry.create_reader(items_at_run(rendered["items"]), resources),
            options,
            coordinator,
            coordinator.open(Barrier(args.dag_id, "dry-run", task.scatter_id)),
            limit=config.max_map_length(),
            resources=resources,
            read_now=task.batch_files,
        )
        first = next((item_lines(coordinator, batch, options, resources) for batch in made.batches), iter(()))
        sample = next((orjson.loads(line) for line in first), None)
    sizes = [batch.items for batch in made.batches]
    if args.output == "json":
        say(orjson.dumps({"items": made.items, "batches": sizes, "sample": sample}).decode())
        return
    total = "unknown until the batches read their part of the source" if made.items is None else f"{made.items:,}"
    say(f"items    {total}", f"batches  {len(sizes):,}", *_histogram(size for size in sizes if size is not None))
    if sample is not None:
        say("sample   " + orjson.dumps(sample.get("item", sample.get("bad"))).decode()[:2000])


def _rendered(args: Namespace) -> tuple[Any, dict[str, Any]]:
    """The plan task and its rendered fields."""
    from airflow.sdk import XComArg
    from airflow.utils.cli import get_bagged_dag

    from flowstone_provider.operators.scatter import ScatterPlanOperator

    dag = get_bagged_dag(None, args.dag_id)
    plans = {task.task_id: task for task in dag.tasks if isinstance(task, ScatterPlanOperator)}
    task = plans.get(args.task_id) or plans.get(f"{args.task_id}.plan")
    if task is None:
        raise OptionsError(f"{args.dag_id} has no plan task {args.task_id!r}; there are: {', '.join(plans) or 'none'}")
    if any(True for _ in XComArg.iter_xcom_references([task.items, task.options])):
        raise OptionsError(f"the items or options of {task.task_id} come from another task: only a run can tell them")
    date = datetime.fromisoformat(args.date) if args.date else datetime.now(timezone.utc)
    params = {**dag.params.dump(), **orjson.loads(args.conf)}
    context = {"params": params, "ds": date.strftime("%Y-%m-%d"), "ts": date.isoformat(), "logical_date": date}
    fields = {name: getattr(task, name) for name in ("items", "options")}
    return task, {name: task.put_functions(task.render_template(value, context)) for name, value in fields.items()}


def _histogram(sizes: Iterable[int]) -> Iterator[str]:
    """Batch sizes by powers of two, one line each."""
    counts = Counter(max(size, 1).bit_length() - 1 for size in sizes)
    most = max(counts.values(), default=1)
    for power in sorted(counts):
        bar = "█" * max(1, round(40 * counts[power] / most))
        yield f"  {2**power:>9,} - {2 ** (power + 1) - 1:>9,} items  {counts[power]:>5,} {bar}"


def status(args: Namespace) -> None:
    """Say how far each scatter of a run is."""
    from dataclasses import asdict

    from flowstone_provider.folders import list_folders, segment
    from flowstone_provider.hooks.storage import storage
    from flowstone_provider.scatter.ledger import LedgerCoordinator

    root = storage()
    run = root / segment(args.dag_id) / segment(args.run_id)
    rows = {}
    for folder in filter(_is_ledger, list_folders(run)):
        coordinator = LedgerCoordinator(root)
        coordinator.attach(folder)
        rows[folder.name] = asdict(coordinator.status())
    if args.output == "json":
        say(orjson.dumps(rows).decode())
    elif not rows:
        say(f"{args.dag_id} has no scatter in run {args.run_id} (looked in {run})")
    for name, row in rows.items() if args.output == "table" else ():
        total = "?" if row["items"] is None else f"{row['items']:,}"
        state = "planned" if row["sealed"] else "being planned"
        say(
            f"{name}: {state}, {row['batches']:,} batches, {total} items; {row['succeeded']:,} succeeded, "
            f"{row['failed']:,} failed" + (f"; stopped: {row['cancelled']}" if row["cancelled"] else "")
        )


def clean(args: Namespace) -> None:
    """Remove what was asked for."""
    from flowstone_provider.folders import last_touched, list_folders, remove_folder, segment
    from flowstone_provider.hooks.storage import storage

    if args.older_than is None and args.run_id is None:
        raise OptionsError("say what to remove: --older-than 30d, or one run by --dag-id and --run-id")
    if (args.run_id and not args.dag_id) or (args.scatter_id and not args.run_id):
        raise OptionsError("--run-id needs --dag-id, and --scatter-id needs --run-id")
    folders = [storage()]
    for wanted in (args.dag_id, args.run_id, args.scatter_id):
        folders = [
            child
            for folder in folders
            for child in list_folders(folder)
            if wanted is None or child.name == segment(wanted)
        ]
    before = None if args.older_than is None else datetime.now(timezone.utc) - args.older_than
    doomed = [
        folder
        for folder in folders
        if (before is None or (touched := last_touched(folder)) is None or touched < before)
        and (folder.name in _OF_RUNS or _is_ledger(folder))
    ]
    for folder in doomed:
        say(f"{'would remove' if args.dry_run else 'removing'} {folder}")
    if args.dry_run or not doomed:
        say(f"{len(doomed)} folders")
        return
    if not args.yes and input(f"Remove {len(doomed)} folders with all that is in them? [y/N] ").lower() != "y":
        sys.exit("nothing was removed")
    for folder in doomed:
        remove_folder(folder)
    say(f"removed {len(doomed)} folders")


def _is_ledger(folder: Any) -> bool:
    """Whether a scatter has the folder; an asset of the IO manager ``file`` may lie as deep in the storage."""
    from flowstone_provider.folders import list_names

    return any(re.fullmatch(r"\d+\.jsonl|checkpoint\.json|sealed\.json", name) for name in list_names(folder / "plan"))
