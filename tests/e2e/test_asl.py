"""A converted state machine on a real Airflow: an error that is caught by its name, and a callback through SQS."""

from __future__ import annotations

import json

import boto3
import httpx

from flowstone_provider.asl import convert
from tests.e2e.cluster import Cluster
from tests.e2e.parked import wait_parked
from tests.support.processes import wait_until


def machine(queue_url: str) -> dict:
    return {
        "StartAt": "Look",
        "States": {
            "Look": {
                "Type": "Task",
                "Resource": "arn:aws:states:eu-central-1:123456789012:activity:look",
                "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1}],
                "Catch": [
                    {"ErrorEquals": ["Blind"], "Next": "Never"},
                    {"ErrorEquals": ["NotImplementedError"], "ResultPath": "$.error", "Next": "Ask"},
                ],
                "Next": "Never",
            },
            "Ask": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "Parameters": {
                    "QueueUrl": queue_url,
                    "MessageBody": {"error.$": "$.error.Error", "token.$": "$$.Task.Token"},
                },
                "TimeoutSeconds": 600,
                "ResultPath": "$.answer",
                "Next": "Approved?",
            },
            "Approved?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.answer.approved", "BooleanEquals": True, "Next": "Done"}],
                "Default": "Never",
            },
            "Never": {"Type": "Fail", "Error": "Never"},
            "Done": {"Type": "Succeed"},
        },
    }


def test_an_error_is_caught_by_name_and_a_callback_goes_on(airflow: Cluster, moto_url: str):
    sqs = boto3.client(
        "sqs",
        endpoint_url=moto_url,
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    queue_url = sqs.create_queue(QueueName="questions")["QueueUrl"]
    connection = {
        "connection_id": "aws_default",
        "conn_type": "aws",
        "login": "any",
        "password": "any",
        "extra": json.dumps({"endpoint_url": moto_url, "region_name": "eu-central-1"}),
    }
    airflow.api("POST", "connections", json=connection)
    dag_id = airflow.add_dag(convert(json.dumps(machine(queue_url)), "callback_machine").source)
    run_id = airflow.trigger(dag_id, conf={"order": 7})

    def received() -> dict | None:
        messages = sqs.receive_message(QueueUrl=queue_url).get("Messages", [])
        return json.loads(messages[0]["Body"]) if messages else None

    asked = wait_until(received, timeout=90, what="nothing was asked")
    assert asked["error"] == "NotImplementedError"
    wait_parked(airflow, dag_id, run_id, "ask.ask_gate")
    answer = httpx.post(asked["token"], json={"approved": True}, timeout=30, trust_env=False)
    assert answer.status_code == 200
    assert airflow.wait_run(dag_id, run_id) == "success"
    states = {ti["task_id"]: (ti["state"], ti["try_number"]) for ti in airflow.task_instances(dag_id, run_id)}
    assert states["look"] == ("failed", 2)
    assert states["look_catch"] == ("success", 1)
    assert states["never"][0] == states["never_input"][0] == "skipped"
    assert airflow.xcom(dag_id, run_id, "done") == {
        "order": 7,
        "error": {"Error": "NotImplementedError", "Cause": "look"},
        "answer": {"approved": True},
    }
