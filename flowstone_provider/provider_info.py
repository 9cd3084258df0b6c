"""What Airflow asks of a provider."""

from __future__ import annotations

from typing import Any

# The connection of an IO manager has options of its own, and leads nowhere by itself.
_ONLY_EXTRA = {"hidden-fields": ["host", "schema", "login", "password", "port"], "relabeling": {}, "placeholders": {}}


def get_provider_info() -> dict[str, Any]:
    """The provider's entry in Airflow: decorators, commands, configuration."""
    return {
        "package-name": "airflow-provider-flowstone",
        "name": "FlowStone",
        "description": "Scatter a million items through a hundred tasks, and know the outcome of every one.",
        "task-decorators": [
            {"name": "scatter", "class-name": "flowstone_provider.decorators.scatter.scatter_task"},
            {"name": "approval", "class-name": "flowstone_provider.decorators.approval.approval_task"},
            {"name": "signal_gate", "class-name": "flowstone_provider.decorators.signal_gate.signal_gate_task"},
            {"name": "materialize", "class-name": "flowstone_provider.decorators.materialize.materialize_task"},
            {"name": "route", "class-name": "flowstone_provider.decorators.route.route_task"},
        ],
        "asset-uris": [
            {
                "schemes": ["flowstone"],
                "handler": "flowstone_provider.lineage.sanitize_uri",
                "factory": "flowstone_provider.lineage.create_asset",
                "to_openlineage_converter": "flowstone_provider.lineage.convert_asset_to_openlineage",
            },
        ],
        "connection-types": [
            {
                "connection-type": "flowstone_memory",
                "hook-class-name": "flowstone_provider.hooks.memory.MemoryIOManager",
                "hook-name": "FlowStone memory",
                "ui-field-behaviour": _ONLY_EXTRA,
            },
            {
                "connection-type": "flowstone_file",
                "hook-class-name": "flowstone_provider.hooks.file.FileIOManager",
                "hook-name": "FlowStone files",
                "ui-field-behaviour": _ONLY_EXTRA,
                "conn-fields": {
                    "path": {
                        "label": "Folder",
                        "description": "The folder of all assets, as a URL that ObjectStoragePath knows, e.g. file:///data/assets.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "conn_id": {
                        "label": "Connection",
                        "description": "The Airflow connection for the filesystem, if it needs one.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            },
            {
                "connection-type": "flowstone_parquet",
                "hook-class-name": "flowstone_provider.hooks.parquet.ParquetIOManager",
                "hook-name": "FlowStone Parquet",
                "ui-field-behaviour": _ONLY_EXTRA,
                "conn-fields": {
                    "path": {
                        "label": "Folder",
                        "description": "The folder of all assets, as a URL that ObjectStoragePath knows, e.g. s3://lake/tables.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "conn_id": {
                        "label": "Connection",
                        "description": "The Airflow connection for the filesystem, if it needs one.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "compression": {
                        "label": "Compression",
                        "description": "The codec of the files; by default snappy.",
                        "schema": {"type": ["string", "null"], "enum": ["snappy", "zstd", "gzip", "lz4", "none", None]},
                    },
                    "schema_change": {
                        "label": "Schema change",
                        "description": "What becomes of a table of other columns: warn (the default) or error.",
                        "schema": {"type": ["string", "null"], "enum": ["warn", "error", None]},
                    },
                },
            },
            {
                "connection-type": "flowstone_postgres",
                "hook-class-name": "flowstone_provider.hooks.postgres.PostgresIOManager",
                "hook-name": "FlowStone PostgreSQL",
                "ui-field-behaviour": _ONLY_EXTRA,
                "conn-fields": {
                    "conn_id": {
                        "label": "Connection",
                        "description": "The Airflow connection to PostgreSQL; by default postgres_default.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "schema_name": {
                        "label": "Schema",
                        "description": "The schema in which the tables are; by default public. It must exist.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            },
            {
                "connection-type": "flowstone_s3",
                "hook-class-name": "flowstone_provider.hooks.s3.S3IOManager",
                "hook-name": "FlowStone S3",
                "ui-field-behaviour": _ONLY_EXTRA,
                "conn-fields": {
                    "bucket": {
                        "label": "Bucket",
                        "description": "The bucket, or the alias of an access point.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "prefix": {
                        "label": "Folder",
                        "description": "The folder of all assets in the bucket.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "conn_id": {
                        "label": "AWS connection",
                        "description": "The Airflow connection of AWS; by default aws_default.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            },
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
                    "routing": {
                        "description": (
                            "Where routers keep their decisions: the name of a routing coordinator. There is ledger "
                            "(files in the storage above), and those of plugins."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "ledger",
                        "default": "ledger",
                    },
                    "parallel": {
                        "description": (
                            "What tells the join of parallel branches what became of them: the name of a parallel "
                            "coordinator. There is airflow (the states of the tasks), and those of plugins."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "airflow",
                        "default": "airflow",
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
                    "signal_key": {
                        "description": (
                            "The secret that the URLs of signal gates are signed with, of 32 characters or more, the "
                            "same for API servers and workers. Of several, separated by commas, the last signs and all "
                            "are accepted. Without it, the password of the connection flowstone_signals is taken; "
                            "without both, no gate is opened."
                        ),
                        "version_added": "0.2.0",
                        "type": "string",
                        "sensitive": True,
                        "example": "old-key,new-key",
                        "default": None,
                    },
                },
            },
        },
    }
