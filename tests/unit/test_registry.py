from __future__ import annotations

import sys

import pytest

from flowstone_provider import registry, telemetry
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
    for _ in ("when the DAG is parsed", "when the task runs"):
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


def test_an_alias_of_nothing_is_named_and_told_the_nearest(readers, configure):
    configure("readers", '{"documents": {"use": "jsnol"}, "few": {"use": "documents"}}')
    expected = r"readers: the alias 'documents' uses 'jsnol', but there is no item reader 'jsnol'; did you mean 'jsonl'"
    for name in ("documents", "few"):
        with pytest.raises(UnknownNameError, match=expected):
            readers.resolve(name)
    assert readers.resolve("jsonl")


def test_aliases_that_go_in_a_circle_are_named(readers, configure):
    configure("readers", '{"a": {"use": "b"}, "b": {"use": "a"}, "self": {"use": "self"}}')
    with pytest.raises(UnknownNameError, match="aliases go in a circle: 'a' -> 'b' -> 'a'"):
        readers.resolve("a")
    with pytest.raises(UnknownNameError, match="aliases go in a circle: 'self' -> 'self'"):
        readers.resolve("self")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make an installed package of one module, whose entry points are readers."""

    def install(name, code, **entries):
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = "".join(f"{entry} = {name}:{cls}\n" for entry, cls in entries.items())
        (info / "entry_points.txt").write_text(f"[flowstone.readers]\n{lines}")
        (tmp_path / f"{name}.py").write_text(code)

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


GOOD = "from flowstone_provider.readers.sequence import SequenceReader\nclass Reader(SequenceReader): pass"


def test_an_alias_may_configure_a_strangers_reader(readers, configure, install):
    install("stranger", GOOD, theirs="Reader")
    configure("readers", '{"documents": {"use": "theirs", "items": [1]}}')
    resolved = readers.resolve("documents")
    assert (resolved.cls.__module__, resolved.options) == ("stranger", {"items": [1]})
    assert {"documents", "theirs"} <= set(readers.names())


def test_two_packages_with_one_name_are_both_named_when_it_is_asked_for(readers, configure, install):
    install("one", GOOD, x="Reader")
    install("two", GOOD, x="Reader", y="Reader")
    with pytest.raises(DuplicateNameError, match=r"(one|two) 1\.2 and (one|two) 1\.2; .*'(one|two):Reader'") as raised:
        readers.resolve("x")
    assert "one 1.2" in str(raised.value)
    assert "two 1.2" in str(raised.value)
    assert readers.resolve("y")
    assert readers.resolve("csv")
    configure("readers", '{"x": {"use": "two:Reader"}}')
    assert readers.resolve("x").cls.__module__ == "two"


def test_two_classes_registered_under_one_name_are_both_named(readers):
    class A(SequenceReader):
        pass

    class B(SequenceReader):
        pass

    readers.register("y", A)
    with pytest.raises(DuplicateNameError, match=r"test_registry.*A and .*B"):
        readers.register("y", B)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "AttributeError: module 'broken' has no attribute 'Reader'"),
        ("def (", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: "),
    ],
)
def test_a_broken_plugin_is_named_and_stops_no_other(readers, install, code, said):
    install("broken", code, broken="Reader")
    with pytest.raises(RegistryError, match=rf"'broken' of broken 1\.2 cannot be imported from broken:Reader: {said}"):
        readers.resolve("broken")
    assert "broken" in readers.names()
    assert readers.resolve("csv")
    with pytest.raises(UnknownNameError, match="did you mean 'broken'"):
        readers.resolve("brocken")


def test_a_package_for_another_major_version_is_refused(readers, install):
    install("old", GOOD.replace("pass", "contract_version = '0.9'"), old="Reader")
    with pytest.raises(ContractVersionError, match=r"'old' \(old:Reader\) was made for version 0\.9 .*1\.x") as raised:
        readers.resolve("old")
    assert (raised.value.theirs, raised.value.ours) == ("0.9", "1.0")


def test_a_plugin_for_another_major_version_is_refused(readers):
    class Old(SequenceReader):
        contract_version = "2.3"

    class Newer(SequenceReader):
        contract_version = "1.9"

    readers.register("newer", Newer)
    with pytest.raises(ContractVersionError, match=r"made for version 2\.3 of ItemReader; this package has 1\.0.*1\.x"):
        readers.register("old", Old)


def test_what_is_no_reader_is_refused(readers, install):
    with pytest.raises(RegistryError, match="which is no ItemReader"):
        readers.register("text", str)
    install("wrong", "Reader = 3", wrong="Reader")
    with pytest.raises(RegistryError, match="'wrong' is 3, which is no ItemReader"):
        readers.resolve("wrong")


def test_resolution_is_an_event(readers, mocker):
    emit = mocker.patch.object(telemetry, "emit")
    readers.resolve("sequence")
    emit.assert_called_once_with(
        "flowstone.registry.resolve",
        {},
        {"kind": "item reader", "name": "sequence", "class": "flowstone_provider.readers.sequence:SequenceReader"},
    )
