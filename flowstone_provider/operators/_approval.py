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


def check_names(what: str, names: Mapping[str, Any], *more: str) -> None:
    """Check how options are spelt.

    Raises:
        OptionsError: One is misspelt; the message gives the nearest.
    """
    known = [*more, *_OWN, *_TASK]
    for name in names:
        if name not in known:
            raise OptionsError(f"{what} has no option {name!r}{nearest(name, known)}")


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
    fields = ParamsDict(params or {})
    if "reason" in fields and fields.get_param("reason").source == "task":
        raise OptionsError('params has a field "reason": there is one already, and its text is in the decision')
    fields["reason"] = Param(
        None,
        type=["null", "string"],
        title="Reason",
        description="Why; it is kept with the decision.",
        # Airflow leaves out what the DAG has for its own form.
        source="task",
    )
    return fields


def decided(event: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """The decision, as JSON.

    Args:
        event: Airflow's: who answered what; or that nobody did.
        request: What was asked.
    """
    entered = dict(event.get("params_input") or {})
    reason = entered.pop("reason", None)
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
