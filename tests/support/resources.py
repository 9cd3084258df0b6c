"""What readers ask for, from the services of the tests and without Airflow."""

from __future__ import annotations

from typing import Any

from flowstone_provider.readers.resources import LocalResources


class ServiceResources(LocalResources):
    """Clients of the servers under test, whatever the connection id.

    Args:
        aws: What makes boto3 clients, such as ``S3Server.client``.
        postgres: The URL of a PostgreSQL database.
    """

    def __init__(self, aws: Any = None, postgres: str | None = None) -> None:
        self._aws = aws
        self._postgres = postgres

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """See `LocalResources.client`."""
        if service == "postgres":
            import psycopg

            return psycopg.connect(self._postgres)
        return self._aws(service)
