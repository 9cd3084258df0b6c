"""What the package promises as a whole: its names, its imports, its errors, its entry in Airflow."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

import flowstone_provider
from flowstone_provider import config, errors, provider_info, telemetry

ROOT = Path(flowstone_provider.__file__).parent
PUBLIC = [
    "ApproveOperator",
    "AssetExistsSensor",
    "Batching",
    "BranchOutcome",
    "Choice",
    "CopyAssetOperator",
    "DeleteAssetOperator",
    "Into",
    "ItemContext",
    "ItemRetry",
    "MaterializeOperator",
    "ParallelTaskGroup",
    "RateLimit",
    "RetryItem",
    "RouterOperator",
    "ScatterBatchOperator",
    "ScatterGatherOperator",
    "ScatterOptions",
    "ScatterPlanOperator",
    "SignalGateOperator",
    "Tolerance",
    "airflow_asset",
    "approve",
    "collect",
    "fallback",
    "load",
    "merge",
    "source",
    "wait_for_approval",
]


def test_the_public_names():
    assert flowstone_provider.__all__ == [*PUBLIC, "__version__"]
    for name in PUBLIC:
        assert getattr(flowstone_provider, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Scater'"):
        flowstone_provider.Scater  # noqa: B018


def every_error():
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.FlowstoneError)]


@pytest.mark.parametrize("cls", every_error())
def test_every_error_pickles_with_its_data_and_is_drawn_in_the_tree(cls):
    error = cls("what is wrong", after=3) if cls is errors.RetryItem else cls("what is wrong", place="here", after=3)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.data) == (cls, "what is wrong", error.data)
    assert again.after == 3
    assert cls.__name__ in errors.__doc__
    with pytest.raises(AttributeError):
        _ = again.nothing


def test_errors_are_the_built_in_ones_that_callers_expect():
    assert issubclass(errors.OptionsError, ValueError)
    assert issubclass(errors.UnknownNameError, KeyError)
    assert issubclass(errors.SourceNotFoundError, FileNotFoundError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert issubclass(errors.LedgerError, OSError)


def test_every_event_of_the_catalogue_is_emitted_and_no_other():
    code = "".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "telemetry.py")
    emitted = set(re.findall(r'telemetry\.emit\(\s*"([a-z._]+)"', code))
    assert emitted == set(telemetry.EVENTS)


def test_an_event_outside_the_catalogue_is_an_error():
    with pytest.raises(KeyError):
        telemetry.emit("flowstone.nothing", {}, {})
    with pytest.raises(KeyError, match="has no \\['colour'\\] in the catalogue"):
        telemetry.emit("flowstone.registry.resolve", {}, {"colour": "red"})


def test_airflow_finds_the_provider_its_decorator_and_its_configuration():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    manager.initialize_providers_list()
    assert "airflow-provider-flowstone" in manager.providers
    from airflow.sdk import task

    from flowstone_provider.decorators.scatter import scatter_task

    assert task.scatter is scatter_task
    section = provider_info.get_provider_info()["config"]["flowstone"]
    for option in section["options"].values():
        assert option["description"]
        assert option["version_added"]
    assert "airflow-provider-flowstone" in dict(manager.provider_configs)
    assert config.get("emitters") == "metrics"


def test_no_file_is_long():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path
