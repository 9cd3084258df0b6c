"""What the commands share."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from flowstone_provider.contracts.io_manager import IOManager
from flowstone_provider.errors import FlowstoneError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def age(text: str) -> timedelta:
    """``30d``, ``12h``, ``45m``, ``2w`` as a duration."""
    match = re.fullmatch(r"(\d+)([mhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no age: write a number and m, h, d or w, as in 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def output() -> Any:
    """The argument ``--output``."""
    from airflow.cli.cli_config import Arg

    return Arg(("-o", "--output"), help="How to print", choices=("table", "json"), default="table")


def manager_of(args: Namespace) -> IOManager:
    """The IO manager of ``--io-manager``."""
    from flowstone_provider.registry import create_io_manager

    return create_io_manager(args.io_manager)


def friendly(command: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """The command without Airflow's log lines; an error of ours ends it with its message and exit code 1."""

    def run(args: Namespace) -> None:
        from airflow.utils.cli import suppress_logs_and_warning

        try:
            suppress_logs_and_warning(command)(args)
        except FlowstoneError as error:
            sys.exit(f"airflow flowstone: {error}")

    run.__name__ = command.__name__  # Airflow notes which command was run
    return run


def say(*lines: str) -> None:
    """Print lines."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def remark(line: str) -> None:
    """Print a line that is not what was asked for, beside it: not into a pipe."""
    sys.stdout.flush()
    sys.stderr.write(f"{line}\n")


def say_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a header; numbers stand to the right, with separators."""
    texts = [
        ["" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    right = [any(isinstance(row[at], int) for row in rows) for at in range(len(header))]
    for line in (header, *texts):
        cells = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        say("  ".join(cells).rstrip())
