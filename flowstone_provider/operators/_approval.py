"""What approvals share: their options, the form, the decision."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import BaseOperator, Param
from airflow.sdk.definitions.param import ParamsDict

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import OptionsError

# Of Airflow's ApprovalOperator and of ours, but for what is asked.
_OWN = (
    "asset",
    "assigned_users",
    "defaults",
    "fail_on_reject",
    "ignore_downstream_trigger_rules",
    "io_manager",
    "notifiers",
    "partition",
    "response_timeout",
)
_TASK = tuple(name for name in inspect.signature(BaseOperator).parameters if name not in ("self", "kwargs"))
_APPROVE = "Approve"
_REASON = "reason"


def check_given(what: str, options: Mapping[str, Any], *more: str) -> None:
    """Check how options are spelt, and what the form has already.

    Raises:
        OptionsError: One is misspelt; the message gives the nearest.
    """
    known = [*more, *_OWN, *_TASK]
    for name in options:
        if name not in known:
            raise OptionsError(f"{what} has no option {name!r}{nearest(name, known)}")
    if _REASON in (options.get("params") or {}):
        raise OptionsError(f"params has a field {_REASON!r}: there is one already, and its text is in the decision")


def check_approval(settings: Mapping[str, Any]) -> None:
    """Check what is known of an approval when the DAG is parsed.

    Raises:
        OptionsError: An option does not fit.
    """
    timeout = settings.get("response_timeout")
    if timeout is not None and not (isinstance(timeout, timedelta) and timeout > timedelta(0)):
        raise OptionsError(f"response_timeout must be a timedelta of more than 0, not {timeout!r}")
    if settings.get("partition") is not None and settings.get("asset") is None:
        raise OptionsError("partition without asset: give the name of the asset that is to be approved")
    users = settings.get("assigned_users") or []
    for user in [users] if isinstance(users, (dict, str)) else users:
        if not isinstance(user, dict) or user.keys() != {"id", "name"}:
            raise OptionsError(f'assigned_users takes {{"id": …, "name": …}}, or a list of those, not {user!r}')
    if settings.get("defaults") not in (None, "Approve", "Reject", ["Approve"], ["Reject"]):
        raise OptionsError(f'defaults must be "Approve" or "Reject", not {settings["defaults"]!r}')


def form(params: Any) -> ParamsDict:
    """The fields of the form: those of the task, and ``reason``."""
    # Airflow leaves out what the DAG has for its own form. Before 3.2 it cannot tell them apart, and shows them.
    source = {"source": "task"} if hasattr(ParamsDict, "filter_params_by_source") else {}
    why = Param(None, type=["null", "string"], title="Reason", description="Why; kept with the decision.", **source)
    fields = ParamsDict(params or {})
    fields[_REASON] = why
    return fields


def decided(event: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """The decision, as JSON.

    Args:
        event: Airflow's: who answered what; or that nobody did.
        request: What was asked.
    """
    entered = dict(event.get("params_input") or {})
    reason = entered.pop(_REASON, None)
    by = event.get("responded_by_user")
    at = event.get("responded_at") or datetime.now(timezone.utc)
    return {
        "approved": event.get("chosen_options") == [_APPROVE],
        "by": {"id": by["id"], "name": by["name"]} if by else None,
        "at": at.isoformat(),
        "reason": reason or None,
        "subject": request["subject"],
        "asset": request["asset"],
        "params": entered,
    }


def rejection(decision: Mapping[str, Any]) -> str:
    """That something was rejected, by whom and why."""
    by = f"by {decision['by']['name']}" if decision["by"] else "because nobody answered in time"
    why = f": {decision['reason']}" if decision["reason"] else ""
    return f"{decision['subject']!r} was rejected {by}{why}"
