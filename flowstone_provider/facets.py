"""What OpenLineage calls facets; imported only where its provider is installed."""

from __future__ import annotations

from typing import Any

from attrs import define
from openlineage.client.facet_v2 import RunFacet


@define
class ApprovalRunFacet(RunFacet):
    """The decision of an approval: the fields of what `ApproveOperator` returns."""

    approved: bool
    by: dict[str, str] | None
    at: str
    reason: str | None
    subject: str
    asset: dict[str, Any] | None
    params: dict[str, Any]


@define
class RouteRunFacet(RunFacet):
    """The decision of a router: the fields of `Decision` that the run's own facets do not have."""

    id: str
    selected: str | None
    available: list[str]
    input_hash: str | None
    partition: str | None
    decided_at: str
    error: str | None
