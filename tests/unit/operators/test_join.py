"""What a join makes of the outcomes of its branches."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from flowstone_provider import BranchOutcome
from flowstone_provider.errors import BranchesFailedError, OptionsError
from flowstone_provider.operators._join import _plain, check_join, judge
from flowstone_provider.testing.parallel import a_branch

BECAME = {
    "succeeded": BranchOutcome("succeeded", value=1),
    "failed": BranchOutcome("failed", error="g.b.x failed", failed_tasks=("g.b.x",)),
    "skipped": BranchOutcome("skipped", error="it was skipped"),
    "late": BranchOutcome("timed_out", error="it had not ended 9 s after the group started"),
    "upstream_failed": BranchOutcome("failed", error="what is before it failed"),
}
OTHER = BranchOutcome("succeeded", value=0)


def arrives(failure_mode, required, became):
    """What a join function is told of a branch beside one that succeeded, or why the join failed."""
    branches = (a_branch("a"), a_branch("b", required=required))
    found = {"a": OTHER, "b": BECAME[became]}
    try:
        judge("g", failure_mode, branches, found)
    except BranchesFailedError as error:
        return str(error)
    return found["b"].status


FAILS = {
    "failed": "failed: g.b.x failed",
    "skipped": "skipped: it was skipped",
    "late": "timed out: it had not ended 9 s after the group started",
    "upstream_failed": "failed: what is before it failed",
}
TELLS = {"failed": "failed", "skipped": "skipped", "late": "timed_out", "upstream_failed": "failed"}


@pytest.mark.parametrize("became", BECAME)
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("failure_mode", ["all_or_nothing", "partial"])
def test_what_arrives_of_a_branch(failure_mode, required, became):
    arrived = arrives(failure_mode, required, became)
    if became == "succeeded":
        assert arrived == "succeeded"
    elif failure_mode == "partial" and not required:
        assert arrived == TELLS[became]
    else:
        assert arrived.startswith(
            "parallel group 'g': 1 of 2 branches did not do what the join needs: a (required) succeeded; "
            f"b (required) {FAILS[became]}. "
        )
        remedy = "Give a branch" if failure_mode == "partial" else "If only some must succeed"
        assert remedy in arrived
        assert "required=False" in arrived


def test_an_optional_branch_is_told_of_beside_a_required_one_that_failed():
    branches = (a_branch("a"), a_branch("b", required=False))
    with pytest.raises(BranchesFailedError) as raised:
        judge("g", "partial", branches, {"a": BECAME["failed"], "b": BECAME["late"]})
    assert "1 of 2 branches" in str(raised.value)
    assert "a (required) failed: g.b.x failed; b (optional) timed out: it had not ended" in str(raised.value)
    assert raised.value.lacking == ["a"]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("failure_mode", ["all_or_nothing", "partial"])
def test_the_join_is_skipped_with_all_branches(failure_mode, required):
    branches = (a_branch("a", required=required), a_branch("b", required=required))
    with pytest.raises(AirflowSkipException, match="all branches of g were skipped"):
        judge("g", failure_mode, branches, {"a": BECAME["skipped"], "b": BECAME["skipped"]})


@pytest.mark.parametrize("other", ["upstream_failed", "skipped"])
@pytest.mark.parametrize("failure_mode", ["all_or_nothing", "partial"])
def test_the_join_fails_when_no_branch_could_run(failure_mode, other):
    """Optional or not: the group never started."""
    branches = (a_branch("a", required=False), a_branch("b", required=False))
    with pytest.raises(BranchesFailedError, match="no branch of parallel group 'g' could run: what is before them"):
        judge("g", failure_mode, branches, {"a": BECAME["upstream_failed"], "b": BECAME[other]})


def test_optional_branches_that_all_failed_themselves_come_to_the_join():
    branches = (a_branch("a", required=False), a_branch("b", required=False))
    judge("g", "partial", branches, {"a": BECAME["failed"], "b": BECAME["late"]})


def test_what_a_join_returns_is_made_plain():
    outcome = BECAME["failed"]
    plain = {"status": "failed", "value": None, "error": "g.b.x failed"}
    assert _plain({"a": [outcome], "n": 1, "t": (1, 2)}) == {"a": [plain], "n": 1, "t": (1, 2)}
    assert _plain(outcome) == plain


def test_parameters_of_a_join():
    check_join(lambda outcomes: 1)
    check_join(lambda outcomes, ds, params, n=3, **context: 1)
    with pytest.raises(OptionsError, match="needs a first parameter, for {name: BranchOutcome}"):
        check_join(lambda: 1)
    with pytest.raises(OptionsError, match="needs 'rates', which nobody gives"):
        check_join(lambda outcomes, rates: 1)
