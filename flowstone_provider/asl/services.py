"""What the Resource of a Task state asks for, and the operator or the call of AWS that does it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    """A Resource, taken apart.

    Attributes:
        kind: ``lambda`` (a function's ARN), ``service``, ``activity``, or ``other``.
        service: Of ``service``: as in the ARN, ``glue``, or ``dynamodb`` of ``aws-sdk:dynamodb:getItem``.
        action: Of ``service``: as in the ARN, ``startJobRun``. Of ``lambda`` the function's name or ARN.
        pattern: ``""``, ``sync`` or ``waitForTaskToken``.
    """

    kind: str
    service: str = ""
    action: str = ""
    pattern: str = ""

    @property
    def full(self) -> str:
        """Service and action."""
        return f"{self.service}:{self.action}"


def parse_resource(arn: str) -> Resource:
    """Take a Resource apart."""
    if re.fullmatch(r"arn:[\w-]+:lambda:[\w-]*:\d*:function:[\w.:$-]+", arn):
        return Resource("lambda", "lambda", arn)
    if re.fullmatch(r"arn:[\w-]+:states:[\w-]*:\d*:activity:.+", arn):
        return Resource("activity")
    match = re.fullmatch(r"arn:[\w-]+:states:::(aws-sdk:)?([\w-]+):(\w+)(?:\.(sync|waitForTaskToken)(?::2)?)?", arn)
    if match is None:
        return Resource("other")
    return Resource("service", match[2], match[3], match[4] or "")


@dataclass(frozen=True)
class Operator:
    """An operator of the Amazon provider.

    Attributes:
        module: Within ``airflow.providers.amazon.aws.operators``.
        arguments: The name of a parameter in the Resource -> that of the operator's argument.
        json: Those that the operator wants as a text of JSON, where they are no texts.
        fixed: Further arguments, as Python source.
        result: How Step Functions' result is made of what the operator returns, as Python of ``result``.
        defaults: Arguments that the operator cannot do without and Step Functions can.
        needs: Those that it cannot do without and nobody else gives.
    """

    name: str
    module: str
    arguments: Mapping[str, str]
    json: tuple[str, ...] = ()
    fixed: Mapping[str, str] | None = None
    result: str = "result"
    defaults: Mapping[str, str] | None = None
    needs: tuple[str, ...] = ()


LAMBDA = Operator(
    "LambdaInvokeFunctionOperator",
    "lambda_function",
    {
        "FunctionName": "function_name",
        "Payload": "payload",
        "Qualifier": "qualifier",
        "InvocationType": "invocation_type",
    },
    json=("Payload",),
    needs=("function_name",),
    result="{'Payload': json.loads(result or 'null'), 'StatusCode': 200}",
)
_GLUE = Operator(
    "GlueJobOperator",
    "glue",
    {"JobName": "job_name", "Arguments": "script_args"},
    fixed={"wait_for_completion": "False"},
    result="{'JobRunId': result}",
    needs=("job_name",),
)
_ECS = Operator(
    "EcsRunTaskOperator",
    "ecs",
    {
        "Cluster": "cluster",
        "TaskDefinition": "task_definition",
        "LaunchType": "launch_type",
        "Overrides": "overrides",
        "NetworkConfiguration": "network_configuration",
        "PlatformVersion": "platform_version",
    },
    fixed={"wait_for_completion": "False"},
    needs=("task_definition",),
    defaults={"cluster": "'default'", "overrides": "{}"},
)
_BATCH = Operator(
    "BatchOperator",
    "batch",
    {
        "JobName": "job_name",
        "JobDefinition": "job_definition",
        "JobQueue": "job_queue",
        "ContainerOverrides": "container_overrides",
        "Parameters": "parameters",
    },
    fixed={"wait_for_completion": "False"},
    result="{'JobId': result}",
    needs=("job_name", "job_definition", "job_queue"),
)
_STATES = Operator(
    "StepFunctionStartExecutionOperator",
    "step_function",
    {"StateMachineArn": "state_machine_arn", "Input": "state_machine_input", "Name": "name"},
    result="{'ExecutionArn': result}",
    needs=("state_machine_arn",),
)
_OPERATORS: dict[str, Operator] = {
    "lambda:invoke": LAMBDA,
    "glue:startJobRun": _GLUE,
    "ecs:runTask": _ECS,
    "batch:submitJob": _BATCH,
    "states:startExecution": _STATES,
    "sns:publish": Operator(
        "SnsPublishOperator",
        "sns",
        {"TopicArn": "target_arn", "TargetArn": "target_arn", "Message": "message", "Subject": "subject"},
        json=("Message",),
        needs=("target_arn", "message"),
    ),
    "sqs:sendMessage": Operator(
        "SqsPublishOperator",
        "sqs",
        {
            "QueueUrl": "sqs_queue",
            "MessageBody": "message_content",
            "DelaySeconds": "delay_seconds",
            "MessageGroupId": "message_group_id",
            "MessageDeduplicationId": "message_deduplication_id",
        },
        json=("MessageBody",),
        needs=("sqs_queue", "message_content"),
    ),
    "events:putEvents": Operator(
        "EventBridgePutEventsOperator",
        "eventbridge",
        {"Entries": "entries"},
        result="{'Entries': [{'EventId': each} for each in result], 'FailedEntryCount': 0}",
        needs=("entries",),
    ),
    "athena:startQueryExecution": Operator(
        "AthenaOperator",
        "athena",
        {
            "QueryString": "query",
            "WorkGroup": "workgroup",
            "QueryExecutionContext": "query_execution_context",
            "ResultConfiguration": "result_configuration",
        },
        result="{'QueryExecutionId': result}",
        needs=("query",),
    ),
}
# These wait by themselves, or for which a flag says so.
_WAITING = {"glue:startJobRun", "ecs:runTask", "batch:submitJob", "athena:startQueryExecution"}
# In the SDKs of Java and Python some services have other names.
_CLIENTS = {
    "athena": "athena",
    "cloudwatch": "cloudwatch",
    "cloudwatchlogs": "logs",
    "cognitoidentityprovider": "cognito-idp",
    "databasemigration": "dms",
    "elasticloadbalancingv2": "elbv2",
    "eventbridge": "events",
    "redshiftdata": "redshift-data",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "elasticmapreduce": "emr",
}
# The clients whose parameters begin with a lower-case letter, all the way down.
_LOWER = ("ecs", "stepfunctions", "batch")


def operator_for(resource: Resource, parameters: object) -> Operator | None:
    """The operator that does what a Resource says, if one takes all of its parameters."""
    found = _OPERATORS.get(resource.full)
    if found is None or not isinstance(parameters, Mapping) or resource.pattern == "waitForTaskToken":
        return None
    names = {name.removesuffix(".$") for name in parameters}
    if not names <= found.arguments.keys() or not {*found.needs} <= {found.arguments[name] for name in names}:
        return None
    if resource.full == "athena:startQueryExecution" and resource.pattern != "sync":
        return None  # it waits in any case
    if resource.pattern == "sync" and resource.full not in _WAITING:
        return None
    return found


def call_of(resource: Resource) -> tuple[str, str]:
    """The boto3 client and its method: ``("dynamodb", "put_item")``."""
    client = _CLIENTS.get(resource.service, resource.service)
    method = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", resource.action).lower()
    return client, method


def callable_by_boto3(resource: Resource) -> bool:
    """Whether a plain call of boto3 does the same: not what waits for an end, nor HTTP."""
    return resource.kind == "service" and resource.pattern != "sync" and resource.service not in ("http", "apigateway")


def renamed(value: Any, client: str) -> Any:
    """The parameters as the boto3 client wants them."""
    if client not in _LOWER:
        return value
    if isinstance(value, Mapping):
        free = ("Parameters", "Tags", "Parameters.$", "Tags.$")
        return {
            name[:1].lower() + name[1:]: each if name in free else renamed(each, client) for name, each in value.items()
        }
    return [renamed(each, client) for each in value] if isinstance(value, list) else value
