"""References in XCom become values again."""

from __future__ import annotations

from typing import Any

from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.scatter.view import ScatterResults


def load(reference: dict[str, Any]) -> ScatterResults:
    """The lazy view over what a scatter left, from the reference that it returned.

    Args:
        reference: The small dict that a scatter's gather returns.

    Raises:
        FlowstoneError: It is no such reference.
    """
    return ScatterResults(reference, AirflowResources())
