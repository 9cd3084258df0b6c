"""``docker-compose.yaml`` is what the compose specification and Airflow understand, and holds no secret."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from airflow.configuration import conf

from flowstone_provider.provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
# The Celery provider's own options, which are known only where that provider is installed.
CELERY = {("celery", "broker_url"), ("celery", "result_backend")}


def test_it_follows_the_specification():
    # The schema of the compose specification (Apache-2.0), as docker-compose 1.29.2 carries it.
    schema = json.loads((ROOT / "tests/support/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_every_part_of_airflow_is_there():
    parts = {"api-server", "scheduler", "dag-processor", "triggerer", "worker", "init"}
    assert SERVICES.keys() >= {f"airflow-{part}" for part in parts} | {"postgres", "redis", "s3"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_unless_it_ends(name):
    if SERVICES[name]["restart"] != "no":
        assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_it_depends_on(name):
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        ends = SERVICES[other]["restart"] == "no"
        assert wait["condition"] == ("service_completed_successfully" if ends else "service_healthy")


def test_no_secret_has_a_default():
    assert set(re.findall(r"(?<!\$)\$\{\w+([^}]*)\}", TEXT)) == {":?"}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY|AUTH$|CONN|BROKER|BACKEND", name):
                assert "${" in value, name


def test_airflow_knows_the_options():
    provider = get_provider_info()["config"]["flowstone"]["options"]
    core = {(s, o) for s, section in conf.configuration_description.items() for o in section["options"]}
    known = core | CELERY | {("flowstone", option) for option in provider}
    environment = SERVICES["airflow-init"]["environment"]
    options = {tuple(name.lower().split("__")[1:]) for name in environment if name.startswith("AIRFLOW__")}
    assert options - known == set()


def test_the_ledger_lies_in_the_store_that_the_connection_leads_to():
    environment = SERVICES["airflow-worker"]["environment"]
    assert environment["AIRFLOW__FLOWSTONE__STORAGE"].startswith("s3://flowstone_s3@")
    connection = json.loads(environment["AIRFLOW_CONN_FLOWSTONE_S3"])
    assert connection["extra"]["endpoint_url"] == "http://s3:8333"
