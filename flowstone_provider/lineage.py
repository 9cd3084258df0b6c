"""What was read and written, for Airflow's lineage and through it for OpenLineage."""

from __future__ import annotations

from typing import Any

from flowstone_provider.contracts.io_manager import AssetKey, StoredAsset


def loaded(hook: Any, key: AssetKey, receipt: StoredAsset) -> None:
    """Report an input of the running task."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    get_hook_lineage_collector().add_input_asset(context=hook, uri=receipt.uri, asset_extra=_extra(key, receipt))


def stored(hook: Any, key: AssetKey, receipt: StoredAsset) -> None:
    """Report an output of the running task."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    get_hook_lineage_collector().add_output_asset(context=hook, uri=receipt.uri, asset_extra=_extra(key, receipt))


def _extra(key: AssetKey, receipt: StoredAsset) -> dict[str, Any]:
    return {
        "asset": key.asset,
        "partition": key.text,
        "rows": receipt.rows,
        "bytes": receipt.bytes,
        "checksum": receipt.checksum,
        "schema": receipt.schema,
    }
