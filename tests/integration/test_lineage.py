"""What Airflow's lineage is told of loads and stores, and what OpenLineage makes of it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from airflow.providers.openlineage.utils.utils import translate_airflow_asset
from airflow.sdk import Asset
from airflow.sdk.lineage import HookLineageCollector

from flowstone_provider import airflow_asset, lineage
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.errors import SourceAccessError
from flowstone_provider.hooks.file import FileIOManager
from flowstone_provider.readers.asset import AssetReader
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.registry import create_io_manager


@pytest.fixture
def collector(monkeypatch):
    """Airflow's, as it is where somebody reads the lineage."""
    collector = HookLineageCollector()
    monkeypatch.setattr("airflow.providers.common.compat.lineage.hook.get_hook_lineage_collector", lambda: collector)
    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", lambda: collector)
    return collector


@pytest.fixture
def folder(tmp_path, configure):
    configure("io_managers", json.dumps({"lake": {"use": "file", "path": f"file://{tmp_path}/lake"}}))
    return tmp_path / "lake"


def told(infos):
    return [(info.asset.uri, info.asset.extra) for info in infos]


def test_loads_and_stores_are_reported_and_nothing_else(collector, folder):
    lake = create_io_manager("lake")
    table = pa.table({"n": [1, 2], "text": ["a", "b"]})
    first = lake.store(AssetKey("numbers", "eu"), table)
    lake.store(AssetKey("about"), {"n": 1})
    lake.load(AssetKey("numbers", "eu"))
    lake.load_many([AssetKey("numbers", "eu")])
    found = collector.collected_assets
    numbers, about = told(found.outputs)
    assert numbers == (
        "flowstone://lake/numbers",
        {
            "asset": "numbers",
            "partition": "eu",
            "location": f"file://{folder}/numbers",
            "uri": first.uri,
            "rows": 2,
            "bytes": first.bytes,
            "checksum": first.checksum,
            "schema": {"n": "int64", "text": "string"},
        },
    )
    assert about[0] == "flowstone://lake/about"
    assert about[1]["schema"] is None
    assert told(found.inputs) == [numbers]
    assert [info.count for info in found.inputs] == [2]


def test_a_manager_without_a_name_is_known_by_its_kind(collector, tmp_path):
    FileIOManager(path=f"file://{tmp_path}").store(AssetKey("a"), 1)
    assert [uri for uri, _ in told(collector.collected_assets.outputs)] == ["flowstone://file/a"]


def test_a_load_that_fails_is_not_reported(collector, folder):
    with pytest.raises(LookupError):
        create_io_manager("lake").load(AssetKey("nothing"))
    assert not collector.has_collected


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("file:///data/assets/flights", "file", "/data/assets/flights"),
        ("s3://conn@lake/assets/flights/", "s3://lake", "assets/flights"),
        ("s3://lake/assets/flights", "s3://lake", "assets/flights"),
        ("gs://lake/flights", "gs://lake", "flights"),
        ("postgres://me:secret@db:5432/air/public/flights?partition=eu", "postgres://db:5432", "air.public.flights"),
        ("postgres://db:5432/air/public/flights%2Fall", "postgres://db:5432", "air.public.flights/all"),
        ("postgresql://db/air/public/flights", "postgres://db", "air.public.flights"),
        ("memory://1234/flights", "flowstone://lake", "flights/all"),
    ],
)
def test_openlineage_gets_the_dataset_where_the_values_lie(location, namespace, name):
    asset = Asset(
        name="flights/all",
        uri="flowstone://lake/flights/all",
        extra={"location": location, "schema": {"at": "timestamp[us, tz=UTC]"}},
    )
    dataset = translate_airflow_asset(asset, None)
    assert (dataset.namespace, dataset.name) == (namespace, name)
    assert [(field.name, field.type) for field in dataset.facets["schema"].fields] == [("at", "timestamp[us, tz=UTC]")]


def test_an_outlet_is_the_same_dataset_as_what_was_stored(folder):
    dataset = translate_airflow_asset(airflow_asset("flights/all", io_manager="lake"), None)
    assert (dataset.namespace, dataset.name, dataset.facets) == ("file", f"{folder}/flights/all", {})
    unknown = translate_airflow_asset(airflow_asset("flights/all", io_manager="elsewhere"), None)
    assert (unknown.namespace, unknown.name) == ("flowstone://elsewhere", "flights/all")


def test_a_connection_that_is_missing_is_named_and_fails_no_lineage(configure, airflow_db):
    configure("io_managers", json.dumps({"lake": {"use": "file", "flowstone_conn_id": "nowhere"}}))
    with pytest.raises(SourceAccessError, match="there is no Airflow connection 'nowhere': make it with"):
        create_io_manager("lake").store(AssetKey("a"), 1)
    dataset = translate_airflow_asset(airflow_asset("flights/all", io_manager="lake"), None)
    assert (dataset.namespace, dataset.name) == ("flowstone://lake", "flights/all")


def test_a_reader_of_an_alias_reports_the_alias(collector, folder):
    create_io_manager("lake").store(AssetKey("numbers"), pa.table({"n": [1, 2]}))
    options = AssetReader.options(asset="numbers", io_manager="lake")
    assert [item for page in AssetReader(options, LocalResources()).pages() for item in page.items] == [
        {"n": 1},
        {"n": 2},
    ]
    assert [uri for uri, _ in told(collector.collected_assets.inputs)] == ["flowstone://lake/numbers"]


def test_the_factory_that_airflow_calls():
    made = lineage.create_asset(asset="flights/all", io_manager="lake", extra={"n": 1})
    assert (made.name, made.uri, made.extra) == (*("flowstone://lake/flights/all",) * 2, {"n": 1})
