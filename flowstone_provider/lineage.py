"""What was read and written, for Airflow's lineage and through it for OpenLineage.

An asset is reported as ``flowstone://<io manager>/<asset>``, which is also the URI of the Airflow asset whose events
tell that it was stored. To OpenLineage it is the dataset where its values lie, with its columns:

================================================ ========================= ==================
values in                                        namespace                 name
================================================ ========================= ==================
``file:///data/assets/flights``                  ``file``                  ``/data/assets/flights``
``s3://conn@lake/assets/flights``                ``s3://lake``             ``assets/flights``
``postgres://host:5432/db/public/flights``       ``postgres://host:5432``  ``db.public.flights``
elsewhere                                        ``flowstone://lake``      ``flights``
================================================ ========================= ==================

Partitions of an asset are one dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from flowstone_provider import registry
from flowstone_provider.contracts.io_manager import AssetKey, StoredAsset
from flowstone_provider.contracts.routing import Decision

SCHEME = "flowstone"


def loaded(hook: Any, key: AssetKey, receipt: StoredAsset) -> None:
    """Report an input of the running task."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    get_hook_lineage_collector().add_input_asset(context=hook, **_asset(hook, key, receipt))


def stored(hook: Any, key: AssetKey, receipt: StoredAsset) -> None:
    """Report an output of the running task."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    get_hook_lineage_collector().add_output_asset(context=hook, **_asset(hook, key, receipt))


def approval(decision: Mapping[str, Any]) -> Any:
    """What OpenLineage is told of a task that was approved or not: the decision, and the asset it is about."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    from flowstone_provider.facets import ApprovalRunFacet

    about = decision["asset"]
    inputs = []
    if about is not None:
        asset = create_asset(asset=about["asset"], io_manager=about["io_manager"])
        inputs.append(convert_asset_to_openlineage(asset, None))
    return OperatorLineage(inputs=inputs, run_facets={"flowstone_approval": ApprovalRunFacet(**decision)})


def decided(decision: Decision) -> Any:
    """What OpenLineage is told of a router: its decision."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    from flowstone_provider.facets import RouteRunFacet

    names = ("id", "selected", "input_hash", "partition", "decided_at", "error")
    facet = RouteRunFacet(available=list(decision.available), **{name: getattr(decision, name) for name in names})
    return OperatorLineage(run_facets={"flowstone_route": facet})


def _asset(hook: Any, key: AssetKey, receipt: StoredAsset) -> dict[str, Any]:
    extra = {
        "asset": key.asset,
        "partition": key.text,
        "location": hook.uri(AssetKey(key.asset)),
        "uri": receipt.uri,
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "checksum": receipt.checksum,
        "schema": receipt.schema,
    }
    return {"uri": uri(key.asset, hook.known_as), "asset_extra": extra}


def uri(asset: str, io_manager: str) -> str:
    """The URI of an asset as such, wherever its IO manager keeps the values."""
    return f"{SCHEME}://{io_manager}/{asset}"


# Named in the provider's `asset-uris`.


def create_asset(*, asset: str, io_manager: str = "file", extra: dict[str, Any] | None = None) -> Any:
    """The Airflow asset of an asset."""
    from airflow.sdk import Asset

    # The name, too, says which IO manager: Airflow takes a name with two URIs for a mistake, and a copy has the same.
    place = uri(AssetKey(asset).asset, io_manager)
    return Asset(name=place, uri=place, extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the parts of a URI of ours.

    Raises:
        ValueError: It lacks one.
    """
    if not uri.netloc or not uri.path.strip("/"):
        raise ValueError("a URI with flowstone:// has an IO manager and an asset: flowstone://lake/flights/enriched")
    return uri


def convert_asset_to_openlineage(asset: Any, lineage_context: Any) -> Any:  # noqa: ARG001  (Airflow gives it)
    """The OpenLineage dataset of an asset.

    Args:
        asset: An Airflow asset with a URI of ours. What was loaded or stored has more in its extra.
        lineage_context: The hook.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    parts = urlsplit(asset.uri)
    name = parts.path.strip("/")
    location = asset.extra.get("location") or _location(parts.netloc, name)
    place = location and _place(location)
    namespace, name = place or (f"{SCHEME}://{parts.netloc}", name)
    columns = asset.extra.get("schema")
    if not columns:
        return Dataset(namespace=namespace, name=name)
    fields = [SchemaDatasetFacetFields(name=column, type=kind) for column, kind in columns.items()]
    return Dataset(namespace=namespace, name=name, facets={"schema": SchemaDatasetFacet(fields=fields)})


def _location(io_manager: str, asset: str) -> str | None:
    """Where the IO manager would keep an asset; ``None`` when it cannot be asked."""
    try:
        resolved: Any = registry.io_managers.lookup(io_manager)
        location: str = resolved.cls(**resolved.options).uri(AssetKey(asset))
    except Exception:  # noqa: BLE001  (of a connection, a filesystem, a plugin: lineage fails no task)
        return None
    return location


def _place(location: str) -> tuple[str, str] | None:
    """Namespace and name of a URL, as OpenLineage spells them: https://openlineage.io/docs/spec/naming."""
    parts = urlsplit(location)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    if parts.scheme == "file":
        return "file", path
    if parts.scheme in ("postgres", "postgresql"):
        return f"postgres://{host}", ".".join(map(unquote, path.strip("/").split("/")))
    if parts.scheme == "memory" or not host:
        return None
    return f"{parts.scheme}://{host}", path.lstrip("/")
