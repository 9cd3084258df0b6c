"""What Airflow asks of a provider."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's entry in Airflow: decorators, commands, configuration."""
    return {
        "package-name": "airflow-provider-flowstone",
        "name": "FlowStone",
        "description": "Scatter a million items through a hundred tasks, and know the outcome of every one.",
        "task-decorators": [
            {"name": "scatter", "class-name": "flowstone_provider.decorators.scatter.scatter_task"},
            {"name": "materialize", "class-name": "flowstone_provider.decorators.materialize.materialize_task"},
        ],
        "cli": ["flowstone_provider.cli.get_commands"],
        "config": {
            "flowstone": {
                "description": "Where scatters of FlowStone keep what they know, and what they tell.",
                "options": {
                    "storage": {
                        "description": (
                            "The folder where plans, outcomes and manifests are kept: any ObjectStoragePath URL, with "
                            "its connection, e.g. s3://my_conn@my-bucket/flowstone. All workers must reach it. The "
                            "default is the folder flowstone in AIRFLOW_HOME, which serves a single machine."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://my_conn@my-bucket/flowstone",
                        "default": None,
                    },
                    "readers": {
                        "description": (
                            "Named sources, as a JSON object: the name, the reader it uses, and options of that. "
                            'A DAG says items="documents", and where they come from is configuration.'
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '{"documents": {"use": "jsonl", "path": "s3://my_conn@prod/documents/*.jsonl"}}',
                        "default": None,
                    },
                    "io_managers": {
                        "description": (
                            "Named IO managers, as a JSON object: the name, the IO manager it uses, and its options. "
                            'A DAG says io_manager="lake"; where the tables lie is configuration.'
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": '{"lake": {"use": "parquet", "path": "s3://lake/assets", "conn_id": "my_aws"}}',
                        "default": None,
                    },
                    "coordinator": {
                        "description": (
                            "Where scatters keep their plans and outcomes: the name of a scatter coordinator. There "
                            "is ledger (files in the storage above), and those of plugins."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "ledger",
                        "default": "ledger",
                    },
                    "emitters": {
                        "description": (
                            "Where telemetry events go: names of emitters, separated by commas. There are metrics "
                            "(Airflow's own), spans (OpenTelemetry), log, and those of plugins."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "metrics,spans",
                        "default": "metrics",
                    },
                },
            },
        },
    }
