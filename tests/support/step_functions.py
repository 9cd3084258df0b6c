"""State machines to convert, and what Step Functions makes of them: moto interprets the language on its own."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from flowstone_provider.asl import Converted, convert
from tests.support.processes import wait_until

MACHINES = Path(__file__).parent / "machines"
NAMES = sorted(path.name.removesuffix(".asl.json") for path in MACHINES.glob("*.asl.json"))


def definition_of(name: str) -> str:
    return (MACHINES / f"{name}.asl.json").read_text()


def converted(name: str) -> Converted:
    return convert(definition_of(name), name)


def module_of(source: str, path: Path) -> Any:
    """The generated file as a module."""
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dag_of(source: str, path: Path) -> Any:
    """The DAG of a generated file."""
    from airflow.sdk import DAG

    calls = [line for line in source.splitlines() if line.endswith("()") and line[0].isalpha()]
    module = module_of(source.removesuffix(calls[-1] + "\n") + f"generated = {calls[-1]}\n", path)
    assert isinstance(module.generated, DAG)
    return module.generated


def function_of(machine: str | dict[str, Any], name: str, folder: Path) -> Any:
    """The Python function of a state."""
    text = machine if isinstance(machine, str) else json.dumps(machine)
    module = module_of(convert(text, "machine").source, folder / "machine.py")
    return getattr(module, name).function


def executed(definition: str | dict[str, Any], given: Any) -> tuple[str, Any]:
    """The status and the output of an execution of a state machine that asks no service for anything."""
    import boto3
    from moto import mock_aws

    text = definition if isinstance(definition, str) else json.dumps(definition)
    keys = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        client = boto3.client("stepfunctions", **keys)
        role = "arn:aws:iam::123456789012:role/any"
        machine = client.create_state_machine(name="machine", definition=text, roleArn=role)["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]

        def ended() -> Any:
            described = client.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        found = wait_until(ended, timeout=30, what="the execution did not end")
    return found["status"], json.loads(found["output"]) if found["status"] == "SUCCEEDED" else found.get("error")
