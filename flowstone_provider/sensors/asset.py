"""Waiting for an asset."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator, PokeReturnValue

from flowstone_provider.contracts.io_manager import make_reference
from flowstone_provider.operators._asset import AssetOperator
from flowstone_provider.operators._base import airflow_errors


class AssetExistsSensor(AssetOperator, BaseSensorOperator):
    """Waits until an asset has a value, or one partition of it has. Returns the reference to it.

    Args:
        **kwargs: See `AssetOperator`, and Airflow's ``BaseSensorOperator``: ``poke_interval``, ``timeout``, ``mode``.
    """

    def poke(self, context: Any) -> PokeReturnValue:
        """Look once, without loading the value."""
        with airflow_errors():
            key = self.key(context)
            receipt = self.manager().receipt(key)
        if receipt is None:
            self.log.info("%s has no value of %s yet", self.io_manager, key)
            return PokeReturnValue(False)
        return PokeReturnValue(True, make_reference(key, self.io_manager, receipt))
