"""``airflow flowstone convert-asl``: a DAG of a state machine of AWS Step Functions.

Also ``python -m flowstone_provider.cli.asl``, where Airflow takes no commands of providers (3.1).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import orjson

from flowstone_provider.asl import MAX_BYTES, convert
from flowstone_provider.asl.module import identifier
from flowstone_provider.cli._common import friendly
from flowstone_provider.errors import FlowstoneError, OptionsError

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "file": {"help": "The state machine, JSON of the Amazon States Language; - is the standard input"},
    "--dag-id": {"help": "The DAG's id (default: the file's name)", "default": None},
    "--output-file": {"help": "Where to write the DAG (default: the standard output)", "default": None},
    "--report": {"help": "How to print the report", "choices": ("text", "json"), "default": "text"},
}
_HELP = "Write a DAG from a state machine of AWS Step Functions"
_DESCRIPTION = (
    "Writes the Python source of a DAG from a file of the Amazon States Language. What became of each state, and which "
    "functions are left to complete, it says on the standard error."
)


def commands() -> tuple[Any, ...]:
    """``convert-asl``."""
    from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg

    return (
        ActionCommand(
            name="convert-asl",
            help=_HELP,
            description=_DESCRIPTION,
            func=friendly(convert_asl),
            args=(*(Arg((name,), **options) for name, options in _ARGUMENTS.items()), ARG_VERBOSE),
        ),
    )


def convert_asl(args: Namespace) -> None:
    """Write the DAG, and say what became of the states."""
    converted = convert(_read(args.file), args.dag_id or _dag_id(args.file))
    if args.output_file is None:
        sys.stdout.write(converted.source)
        sys.stdout.flush()
    else:
        try:
            Path(args.output_file).write_text(converted.source, encoding="utf-8")
        except OSError as error:
            raise OptionsError(f"--output-file {args.output_file}: {error}") from error
    if args.report == "json":
        sys.stderr.write(orjson.dumps(converted.report.dump(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stderr.write("".join(f"{line}\n" for line in converted.report.lines()))


def _read(file: str) -> bytes:
    """The file, or so much of it as tells that it is too large."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(file).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise OptionsError(f"{file}: {error.strerror}") from error


def _dag_id(file: str) -> str:
    return "state_machine" if file == "-" else identifier(Path(file).name.partition(".")[0])


def main() -> None:
    """The command without Airflow's own."""
    parser = ArgumentParser(prog="python -m flowstone_provider.cli.asl", description=_DESCRIPTION)
    for name, options in _ARGUMENTS.items():
        parser.add_argument(name, **options)
    try:
        convert_asl(parser.parse_args())
    except FlowstoneError as error:
        sys.exit(f"convert-asl: {error}")


if __name__ == "__main__":
    main()
