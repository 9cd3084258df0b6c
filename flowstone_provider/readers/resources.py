"""The resources of a reader outside Airflow."""

from __future__ import annotations

from typing import Any, NoReturn

from upath import UPath

from flowstone_provider.errors import MissingExtraError, OptionsError


class LocalResources:
    """Paths and clients without connections: for notebooks and tests.

    Any URL that fsspec knows will do. Credentials come from where each library looks for them: those of AWS from its
    environment variables and profiles, those of PostgreSQL from libpq's (``PGHOST``, ``PGUSER``, ``PGPASSWORD`` …).
    """

    def path(self, url: str, conn_id: str | None = None) -> UPath:
        """A plain ``UPath``.

        Raises:
            OptionsError: A connection is asked for; there are none outside Airflow.
        """
        if conn_id is not None:
            _refuse(conn_id, url)
        return UPath(url)

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """A boto3 client, or for ``postgres`` a psycopg connection.

        Raises:
            OptionsError: A connection is asked for; there are none outside Airflow.
            MissingExtraError: The library for it is not installed.
        """
        if conn_id is not None:
            _refuse(conn_id, service)
        try:
            if service == "postgres":
                import psycopg

                return psycopg.connect()
            import boto3

            return boto3.client(service)
        except ImportError as error:
            extra = service if service in ("postgres", "dynamodb") else "s3"
            raise MissingExtraError(
                f"reading from {service} needs the library {error.name}: "
                f"pip install 'airflow-provider-flowstone[{extra}]'",
                extra=extra,
            ) from error

    def connection(self, conn_id: str) -> NoReturn:
        """There are none.

        Raises:
            OptionsError: Always.
        """
        _refuse(conn_id, "a reader")


def _refuse(conn_id: str, what: str) -> NoReturn:
    raise OptionsError(
        f"conn_id={conn_id!r} for {what}: connections exist within Airflow only; leave `conn_id` out",
        conn_id=conn_id,
    )
