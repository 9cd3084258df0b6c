"""What `approve` and `@task.approval` check when a DAG is parsed, and what they tell; runs are in tests/e2e."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.providers.standard.operators import hitl
from airflow.sdk import DAG, Asset, Param, task

from flowstone_provider import ApproveOperator, airflow_asset, approve, telemetry, wait_for_approval
from flowstone_provider.errors import ApprovalError, AssetError, OptionsError, UnknownNameError
from flowstone_provider.operators import approval
from flowstone_provider.operators.approval import ApprovalTaskOperator

ABOUT = {"dag_id": "d", "run_id": "r", "task_id": "t"}
ADMIN = {"id": "1", "name": "admin"}


@pytest.fixture
def told(mocker, monkeypatch):
    """The events of telemetry; nobody is really asked."""
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    emit = mocker.patch.object(telemetry, "emit")
    return lambda: [call.args for call in emit.call_args_list]


def context_of(operator, map_index=-1):
    pushed = {}
    ti = SimpleNamespace(
        **{**ABOUT, "task_id": operator.task_id},
        id="id",
        map_index=map_index,
        pushed=pushed,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    return {"ti": ti, "task_instance": ti, "task": operator}


def answer(option, reason=None, by=ADMIN, **more):
    at = datetime.now(timezone.utc)
    params = {"reason": reason, **more} if reason or more else {}
    return {"chosen_options": [option], "params_input": params, "responded_at": at, "responded_by_user": by}


def parked(operator, context):
    """What the operator hands over to the process that resumes it."""
    with pytest.raises(approval._PARKED) as parked:
        operator.execute(context)
    assert parked.value.method_name == "execute_complete"
    return parked.value.kwargs


WRONG = [
    ({"asigned_users": ADMIN}, OptionsError, "no option 'asigned_users'; did you mean 'assigned_users'"),
    ({"timeout": timedelta(1)}, OptionsError, "no option 'timeout'; did you mean 'response_timeout'"),
    ({"options": ["Yes"]}, OptionsError, "no option 'options'"),
    ({"response_timeout": timedelta(0)}, OptionsError, "timedelta of more than 0, not datetime.timedelta"),
    ({"response_timeout": timedelta(-1)}, OptionsError, "more than 0"),
    ({"response_timeout": 60}, OptionsError, "not 60"),
    ({"assigned_users": "alice"}, OptionsError, "assigned_users takes .* not 'alice'"),
    ({"assigned_users": [{"id": "alice"}]}, OptionsError, "not {'id': 'alice'}"),
    ({"defaults": "Yes"}, OptionsError, '"Approve" or "Reject", not \'Yes\''),
    ({"partition": "eu"}, OptionsError, "partition without asset"),
    ({"asset": "a//b"}, AssetError, "no name of an asset"),
    ({"asset": "a", "partition": 7}, AssetError, "7 is of type int"),
    ({"asset": "a", "io_manager": "fiel"}, UnknownNameError, "did you mean 'file'"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_a_wrong_option_fails_when_the_dag_is_parsed(options, error, message):
    with DAG("d"), pytest.raises(error, match=message):
        approve("Sure?", **options)
    with pytest.raises(error, match=message):
        task.approval(**options)(lambda: None)
    with pytest.raises(error, match=message):
        task.approval(lambda: None).override(**options)


def test_a_field_of_the_form_is_there_already():
    with DAG("d"):
        with pytest.raises(OptionsError, match="a field 'reason': there is one already"):
            approve("Sure?", params={"reason": "why"})
        with pytest.raises(TypeError, match="subject"):
            approve()
    with pytest.raises(OptionsError, match=r"subject is no option of @task.approval: give it to wait_for_approval"):
        task.approval(subject="Sure?")(lambda: None)


def test_approve_is_one_task_with_a_form_and_the_asset_as_outlet():
    with DAG("d", params={"reason": "of the run"}) as dag:
        first = approve("Sure?", asset="report", params={"ticket": Param("", type="string")}, retries=3)
        first >> approve("{{ ds }}?", task_id="second", outlets=[Asset("mine")])
    made = dag.get_task("approve")
    assert isinstance(made, ApproveOperator)
    assert made.outlets == [airflow_asset("report")]
    assert (made.retries, made.downstream_task_ids) == (3, {"second"})
    assert made.serialized_params.keys() == {"reason", "ticket"}
    assert made.serialized_params["reason"]["value"] is None
    assert dag.get_task("second").outlets == [Asset("mine")]


@pytest.mark.airflow("3.2")
def test_params_of_the_dag_are_no_fields_of_the_form():
    with DAG("d", params={"n": 1}):
        assert approve("Sure?").operator.serialized_params.keys() == {"reason"}


def test_execution_timeout_is_no_limit_of_the_wait():
    with DAG("d", default_args={"execution_timeout": timedelta(minutes=5)}) as dag:
        approve("Sure?")
        task.approval(task_id="function")(lambda: None)()
    for name in ("approve", "function"):
        assert dag.get_task(name).execution_timeout == timedelta(minutes=5)
        assert dag.get_task(name).response_timeout is None


def test_a_decorated_function_is_one_task_or_is_mapped():
    with DAG("d") as dag:
        check = task.approval(lambda n, limit=1: n)
        check.override(task_id="one", asset="report")(n=3)
        check.override(task_id="bare")(3)
        check.override(task_id="mapped", asset="report", outlets=[Asset("mine")]).partial(limit=2).expand(n=[1, 2])
        check.override(task_id="pairs").expand_kwargs([{"n": 1}])
    assert isinstance(dag.get_task("one"), ApprovalTaskOperator)
    assert dag.get_task("one").outlets == [airflow_asset("report")]
    assert dag.get_task("bare").outlets == []
    assert dag.get_task("mapped").outlets == [Asset("mine"), airflow_asset("report")]
    assert dag.get_task("mapped").partial_kwargs["op_kwargs"] == {"limit": 2}


def test_the_answer_becomes_the_decision(told):
    with DAG("d"):
        operator = ApproveOperator(task_id="t", subject="Sure?", params={"ticket": Param("", type="string")})
    context = context_of(operator)
    kwargs = parked(operator, context)
    event = answer("Approve", "because", ticket="T-1")
    decision = operator.execute_complete(context, event=event, **kwargs)
    assert decision == {
        "approved": True,
        "by": ADMIN,
        "at": event["responded_at"].isoformat(),
        "reason": "because",
        "subject": "Sure?",
        "asset": None,
        "params": {"ticket": "T-1"},
    }
    asked, (name, measured, about) = told()
    assert asked == ("flowstone.approval.ask", {}, ABOUT)
    assert (name, about) == ("flowstone.approval.decide", {**ABOUT, "verdict": "approved"})
    assert 0 <= measured["seconds"] < 60


def test_who_answers_by_program_need_not_know_all_fields_nor_openlineage_s(told):
    with DAG("d"):
        operator = ApproveOperator(task_id="t", subject="Sure?", params={"ticket": Param("", type="string")})
    operator.params["_selective_enable_ol"] = True  # as OpenLineage's enable_lineage does
    assert operator.serialized_params.keys() == {"reason", "ticket"}
    context = context_of(operator)
    event = {**answer("Approve"), "params_input": {"ticket": "T-1"}}
    decision = operator.execute_complete(context, event=event, **parked(operator, context))
    assert (decision["reason"], decision["params"]) == (None, {"ticket": "T-1"})
    event = {**answer("Approve"), "params_input": {"reason": "so"}}
    decision = operator.execute_complete(context, event=event)
    assert (decision["reason"], decision["params"].keys()) == ("so", {"ticket"})
    with pytest.raises(ValueError, match="does not match"):
        operator.execute_complete(context, event={**event, "params_input": {"tickte": "T-1"}})


def test_a_rejection_leaves_its_decision_in_xcom_however_it_ends(told):
    with DAG("d"):
        plain = ApproveOperator(task_id="t", subject="Sure?")
        strict = ApproveOperator(task_id="strict", subject="Sure?", fail_on_reject=True)
    for operator, map_index, error in ((strict, -1, AirflowFailException), (plain, 0, AirflowSkipException)):
        context = context_of(operator, map_index)
        kwargs = parked(operator, context)
        with pytest.raises(error, match="'Sure\\?' was rejected by admin: no$"):
            operator.execute_complete(context, event=answer("Reject", "no"), **kwargs)
        assert context["ti"].pushed["return_value"]["approved"] is False
    context = context_of(plain)
    decision = plain.execute_complete(context, event=answer("Reject", by=None), **parked(plain, context))
    assert (decision["approved"], decision["by"]) == (False, None)
    assert [args[2].get("verdict") for args in told()] == [None, "rejected"] * 3


def test_that_nobody_answered_is_said_and_told(told):
    with DAG("d"):
        operator = ApproveOperator(task_id="t", subject="Sure?", response_timeout=timedelta(hours=1))
    context = context_of(operator)
    kwargs = parked(operator, context)
    with pytest.raises(AirflowFailException, match=r"nobody answered within 1:00:00; .* defaults=\"Approve\""):
        operator.execute_complete(context, event={"error": "…", "error_type": "timeout"}, **kwargs)
    assert told()[-1][2]["verdict"] == "unanswered"
    with pytest.raises(hitl.HITLTriggerEventError):
        operator.execute_complete(context, event={"error": "…", "error_type": "unknown"}, **kwargs)
    assert len(told()) == 2


def test_an_older_airflow_waits_in_the_triggerer(told, monkeypatch):
    monkeypatch.setattr(hitl, "AIRFLOW_V_3_3_PLUS", False, raising=False)
    with DAG("d"):
        operator = ApproveOperator(task_id="t", subject="Sure?")
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator))
    assert deferred.value.kwargs["request"]["subject"] == "Sure?"
    assert told()[0][0] == "flowstone.approval.ask"


def test_a_mapped_task_cannot_skip_everything_downstream(told):
    with DAG("d"):
        operator = ApproveOperator(task_id="t", subject="Sure?", ignore_downstream_trigger_rules=True)
    with pytest.raises(AirflowFailException, match="t is mapped: .* leave out ignore_downstream_trigger_rules"):
        operator.execute(context_of(operator, 0))
    assert told() == []


def test_waiting_outside_such_a_task_says_what_to_use():
    with pytest.raises(ApprovalError, match=r"called outside a task: .* add a task that always asks with approve\(…\)"):
        wait_for_approval("Sure?")


@pytest.mark.parametrize("subject", ["", "  ", None, 7])
def test_a_subject_must_say_something(subject, monkeypatch):
    with DAG("d") as dag:
        task.approval(task_id="t")(lambda: None)()
    monkeypatch.setattr(approval, "get_current_context", lambda: {"task": dag.get_task("t")})
    with pytest.raises(OptionsError, match="what is to be approved, in a line; not"):
        wait_for_approval(subject)
