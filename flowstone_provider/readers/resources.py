"""The resources of a reader outside Airflow."""

from __future__ import annotations

from upath import UPath

from flowstone_provider.errors import OptionsError


class LocalResources:
    """Paths without connections: for notebooks and tests.

    Any URL that fsspec knows will do; credentials come from where its filesystem looks for them, such as
    environment variables.
    """

    def path(self, url: str, conn_id: str | None = None) -> UPath:
        """A plain ``UPath``.

        Raises:
            OptionsError: A connection is asked for; there are none outside Airflow.
        """
        if conn_id is not None:
            raise OptionsError(
                f"conn_id={conn_id!r} for {url}: connections exist within Airflow only; leave `conn_id` out",
                url=url,
                conn_id=conn_id,
            )
        return UPath(url)
