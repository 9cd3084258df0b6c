"""What readers ask for, with Airflow's connections."""

from __future__ import annotations

from typing import Any

from flowstone_provider.errors import MissingExtraError, SourceAccessError


class AirflowResources:
    """Opens paths and makes clients with Airflow's connections."""

    def path(self, url: str, conn_id: str | None = None) -> Any:
        """An ``ObjectStoragePath``; the connection may also stand in the URL: ``s3://conn_id@bucket/key``."""
        from airflow.sdk import ObjectStoragePath

        # In Airflow 3.1, a connection of None would hide the one in the URL.
        return ObjectStoragePath(url, conn_id=conn_id) if conn_id else ObjectStoragePath(url)

    def client(self, service: str, conn_id: str | None = None) -> Any:
        """The client of the amazon or postgres provider's hook; by default that of its default connection.

        Without the connection ``aws_default`` boto3 looks for credentials itself, e.g. for the role of the machine.

        Raises:
            MissingExtraError: The provider is not installed.
            SourceAccessError: There is no such connection.
        """
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        try:
            if service == "postgres":
                from airflow.providers.postgres.hooks.postgres import PostgresHook

                return PostgresHook(postgres_conn_id=conn_id or PostgresHook.default_conn_name).get_conn()
            from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

            if conn_id is not None:
                # The hook only warns, and then asks as somebody else than the user meant.
                self.connection(conn_id)
            hook: Any = AwsBaseHook(aws_conn_id=conn_id or AwsBaseHook.default_conn_name, client_type=service)
            return hook.get_conn()
        except AirflowNotFoundException as error:
            raise _no_connection(conn_id or "postgres_default", error) from error
        except ImportError as error:
            extra = service if service in ("postgres", "dynamodb") else "s3"
            raise MissingExtraError(
                f"reading from {service} needs an Airflow provider: pip install 'airflow-provider-flowstone[{extra}]' "
                f"({error})",
                extra=extra,
            ) from error

    def connection(self, conn_id: str) -> Any:
        """Airflow's connection of this id.

        Raises:
            SourceAccessError: There is none.
        """
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        try:
            return BaseHook.get_connection(conn_id)
        except AirflowNotFoundException as error:
            raise _no_connection(conn_id, error) from error


def _no_connection(conn_id: str, error: Exception) -> SourceAccessError:
    return SourceAccessError(
        f"there is no Airflow connection {conn_id!r}: make it with `airflow connections add` or under Admin, "
        f"Connections ({error})",
        conn_id=conn_id,
    )
