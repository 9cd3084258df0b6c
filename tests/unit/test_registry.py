from __future__ import annotations

from datetime import date
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from flowstone_provider import registry, telemetry
from flowstone_provider.contracts.io_manager import AssetKey, IOManager, StoredAsset
from flowstone_provider.contracts.item_reader import ItemReader, ReaderSpec
from flowstone_provider.errors import (
    ContractVersionError,
    DuplicateNameError,
    OptionsError,
    RegistryError,
    UnknownNameError,
)
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.readers.sequence import SequenceReader


@pytest.fixture
def readers():
    return registry.Registry("item reader", "flowstone.readers", lambda: ItemReader, aliases="readers")


def points(*entries):
    return lambda group: [EntryPoint(name, value, group) for name, value in entries]


def test_our_own_readers_come_through_entry_points(readers):
    assert readers.resolve("sequence").cls is SequenceReader
    assert {"sequence", "function", "csv", "jsonl", "json", "parquet", "manifest"} <= set(readers.names())


def test_a_class_given_directly_and_a_path_need_no_name(readers):
    assert readers.resolve(SequenceReader).cls is SequenceReader
    assert readers.resolve("flowstone_provider.readers.sequence:SequenceReader").cls is SequenceReader
    with pytest.raises(UnknownNameError, match="'no.such:Reader' cannot be imported"):
        readers.resolve("no.such:Reader")


def test_a_registered_class_wins_and_can_be_taken_back(readers):
    class Mine(SequenceReader):
        pass

    readers.register("sequence", Mine)
    assert readers.resolve("sequence").cls is Mine
    readers.register("sequence", Mine)  # the same again is no conflict
    readers.unregister("sequence")
    assert readers.resolve("sequence").cls is SequenceReader


def test_an_unknown_name_says_the_nearest(readers):
    with pytest.raises(UnknownNameError, match="there is no item reader 'sequnce'; did you mean 'sequence'"):
        readers.resolve("sequnce")
    with pytest.raises(KeyError, match="there are: .*csv"):
        readers.resolve("zzzzzzz")


def test_an_alias_names_a_configured_source(readers, configure):
    configure(
        "readers", '{"documents": {"use": "sequence", "items": [1, 2]}, "few": {"use": "documents", "max_items": 1}}'
    )
    assert readers.resolve("few").options == {"items": [1, 2], "max_items": 1}
    reader = registry.create_reader(ReaderSpec(reader="few"), LocalResources())
    assert [item for page in reader.pages() for item in page.items] == [1]
    assert "documents" in readers.names()


def test_an_alias_may_configure_a_reader_under_its_own_name(readers, configure):
    configure("readers", '{"sequence": {"use": "sequence", "items": [7]}}')
    assert readers.resolve("sequence").options == {"items": [7]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"\[flowstone\] readers is not JSON"),
        ("[]", "must be a JSON object, not list"),
        ('{"a": {"path": "x"}}', "alias 'a' must be an object with 'use'"),
    ],
)
def test_a_broken_alias_says_where(readers, configure, text, message):
    configure("readers", text)
    with pytest.raises(OptionsError, match=message):
        readers.resolve("a")


def test_two_owners_of_a_name_are_both_named(readers, mocker):
    mocker.patch.object(registry, "entry_points", points(("x", "one:A"), ("x", "two:B")))
    with pytest.raises(DuplicateNameError, match="one:A and two:B"):
        readers.resolve("x")

    class A(SequenceReader):
        pass

    class B(SequenceReader):
        pass

    readers.register("y", A)
    with pytest.raises(DuplicateNameError, match=r"test_registry.*A and .*B"):
        readers.register("y", B)


def test_a_plugin_for_another_major_version_is_refused(readers):
    class Old(SequenceReader):
        contract_version = "2.3"

    class Newer(SequenceReader):
        contract_version = "1.9"

    readers.register("newer", Newer)
    with pytest.raises(ContractVersionError, match=r"made for version 2\.3 of ItemReader; this package has 1\.0.*1\.x"):
        readers.register("old", Old)


def test_what_is_no_reader_or_cannot_be_imported_is_refused(readers, mocker):
    with pytest.raises(RegistryError, match="which is no ItemReader"):
        readers.register("text", str)
    mocker.patch.object(registry, "entry_points", points(("x", "no_such_module:A")))
    with pytest.raises(RegistryError, match=r"'x' of no_such_module:A cannot be imported.*No module named"):
        readers.resolve("x")


def test_resolution_is_an_event(readers, mocker):
    emit = mocker.patch.object(telemetry, "emit")
    readers.resolve("sequence")
    emit.assert_called_once_with(
        "flowstone.registry.resolve",
        {},
        {"kind": "item reader", "name": "sequence", "class": "flowstone_provider.readers.sequence:SequenceReader"},
    )


def test_a_strangers_io_manager_has_a_place():
    class Kept(IOManager):
        values: ClassVar[dict[AssetKey, object]] = {}

        def load(self, key, as_type=None):
            return self.values[key]

        def store(self, key, value):
            self.values[key] = value
            return StoredAsset(self.uri(key), len(repr(value)), None, None, "none:")

        def exists(self, key):
            return key in self.values

        def delete(self, key):
            self.values.pop(key, None)

        def list_partitions(self, asset):
            return (key.partition for key in self.values if key.asset == asset)

        def uri(self, key):
            return f"kept:{key.asset}/{key.partition}"

    assert registry.io_managers.names() == []
    registry.io_managers.register("kept", Kept)
    try:
        manager = registry.io_managers.resolve("kept").cls()
    finally:
        registry.io_managers.unregister("kept")
    key = AssetKey("flights", ("EWR", date(2013, 1, 1)))
    assert manager.store(key, 3).uri == manager.uri(key)
    assert (manager.load(key), list(manager.list_partitions("flights"))) == (3, [key.partition])
    manager.delete(key)
    manager.delete(key)
    assert not manager.exists(key)
