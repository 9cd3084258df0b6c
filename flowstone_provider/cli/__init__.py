"""``airflow flowstone …``: what the provider adds to Airflow's command line."""

from __future__ import annotations

from typing import Any


def get_commands() -> list[Any]:
    """The commands that the provider adds to ``airflow``."""
    from airflow.cli.cli_config import GroupCommand

    from flowstone_provider.cli import asl, assets, routes, scatters

    return [
        GroupCommand(
            name="flowstone",
            help="Look at scatters and assets, and tidy up after them",
            subcommands=(
                *scatters.commands(),
                GroupCommand(name="assets", help="Look at assets, and fill them", subcommands=assets.commands()),
                GroupCommand(name="routes", help="Look at what routers decided", subcommands=routes.commands()),
                *asl.commands(),
            ),
        )
    ]
