"""FlowStone for Apache Airflow: scatter a million items through a hundred tasks.

The names below are all that a DAG needs; each is loaded when first used, because a DAG file is parsed all the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_PUBLIC = {
    "ApproveOperator": "operators.approval",
    "AssetExistsSensor": "sensors.asset",
    "Batching": "scatter.options",
    "BranchOutcome": "contracts.parallel",
    "Choice": "operators.routing",
    "CopyAssetOperator": "operators.asset",
    "DeleteAssetOperator": "operators.asset",
    "Into": "operators.into",
    "ItemContext": "scatter.runner",
    "ItemRetry": "scatter.options",
    "MaterializeOperator": "operators.asset",
    "ParallelTaskGroup": "operators.parallel",
    "RateLimit": "scatter.options",
    "RetryItem": "errors",
    "RouterOperator": "operators.routing",
    "ScatterBatchOperator": "operators.scatter",
    "ScatterGatherOperator": "operators.scatter",
    "ScatterOptions": "scatter.options",
    "ScatterPlanOperator": "operators.scatter",
    "SignalGateOperator": "operators.signal_gate",
    "Tolerance": "scatter.options",
    "airflow_asset": "operators._asset",
    "approve": "operators.approval",
    "collect": "operators.merge",
    "fallback": "operators._routing",
    "load": "operators.load",
    "merge": "operators.merge",
    "source": "operators.source",
    "wait_for_approval": "operators.approval",
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from flowstone_provider.contracts.parallel import BranchOutcome as BranchOutcome
    from flowstone_provider.errors import RetryItem as RetryItem
    from flowstone_provider.operators._asset import airflow_asset as airflow_asset
    from flowstone_provider.operators._routing import fallback as fallback
    from flowstone_provider.operators.approval import (
        ApproveOperator as ApproveOperator,
    )
    from flowstone_provider.operators.approval import approve as approve
    from flowstone_provider.operators.approval import (
        wait_for_approval as wait_for_approval,
    )
    from flowstone_provider.operators.asset import (
        CopyAssetOperator as CopyAssetOperator,
    )
    from flowstone_provider.operators.asset import (
        DeleteAssetOperator as DeleteAssetOperator,
    )
    from flowstone_provider.operators.asset import (
        MaterializeOperator as MaterializeOperator,
    )
    from flowstone_provider.operators.into import Into as Into
    from flowstone_provider.operators.load import load as load
    from flowstone_provider.operators.merge import collect as collect
    from flowstone_provider.operators.merge import merge as merge
    from flowstone_provider.operators.parallel import ParallelTaskGroup as ParallelTaskGroup
    from flowstone_provider.operators.routing import Choice as Choice
    from flowstone_provider.operators.routing import RouterOperator as RouterOperator
    from flowstone_provider.operators.scatter import (
        ScatterBatchOperator as ScatterBatchOperator,
    )
    from flowstone_provider.operators.scatter import (
        ScatterGatherOperator as ScatterGatherOperator,
    )
    from flowstone_provider.operators.scatter import (
        ScatterPlanOperator as ScatterPlanOperator,
    )
    from flowstone_provider.operators.signal_gate import (
        SignalGateOperator as SignalGateOperator,
    )
    from flowstone_provider.operators.source import source as source
    from flowstone_provider.scatter.options import (
        Batching as Batching,
    )
    from flowstone_provider.scatter.options import (
        ItemRetry as ItemRetry,
    )
    from flowstone_provider.scatter.options import (
        RateLimit as RateLimit,
    )
    from flowstone_provider.scatter.options import (
        ScatterOptions as ScatterOptions,
    )
    from flowstone_provider.scatter.options import (
        Tolerance as Tolerance,
    )
    from flowstone_provider.scatter.runner import ItemContext as ItemContext
    from flowstone_provider.sensors.asset import AssetExistsSensor as AssetExistsSensor


def __getattr__(name: str) -> Any:
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
