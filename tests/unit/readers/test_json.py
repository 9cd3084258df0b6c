import json
import tracemalloc

import pytest

from flowstone_provider.errors import BadRecordError, OptionsError
from flowstone_provider.readers.json import JsonOptions, JsonReader
from flowstone_provider.readers.resources import LocalResources


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    return write


VALUES = [1, -2.5, 1e300, "é\u2028\U0001f30a", None, True, [], {}, [[], [{}]], {"a": {"b": [1, {"c": None}]}}]

DOCUMENT = {
    "": {"empty": VALUES[:1]},
    "a/b": VALUES[:2],
    "m~n": VALUES[:3],
    "x.y": VALUES[:4],
    "x": {"y": VALUES[:5], "item": [[8], [9, {"k": VALUES[:6]}]]},
    "~1": VALUES[:7],
    "number": 3,
}


def test_the_document_is_the_array(read, file):
    assert read(JsonReader, path=file(VALUES)) == VALUES


def test_byte_order_mark_is_dropped(read, file):
    assert read(JsonReader, path=file("\ufeff[1]")) == [1]


def test_empty_arrays_have_no_items(read, file):
    assert read(JsonReader, path=file("[]")) == []
    assert read(JsonReader, path=file('{"a": {}}'), items_path="/a") == []


def test_objects_have_keys_and_values(read, file):
    document = {"a": {"k": 1, "l": {"m": [2]}, "n": []}}
    assert read(JsonReader, path=file(document), items_path="/a") == [
        {"key": "k", "value": 1},
        {"key": "l", "value": {"m": [2]}},
        {"key": "n", "value": []},
    ]


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("//empty", 1),
        ("/a~1b", 2),
        ("/m~0n", 3),
        ("/x.y", 4),
        ("/x/y", 5),
        ("/x/item/1/1/k", 6),
        ("/~01", 7),
    ],
)
def test_pointers(read, file, pointer, expected):
    assert read(JsonReader, path=file(DOCUMENT), items_path=pointer) == VALUES[:expected]


@pytest.mark.parametrize(
    ("pointer", "finds"),
    [
        ("/y", "nothing"),
        ("/x/z", "nothing"),
        ("/x/item/2", "nothing"),
        ("/x/item/01", "nothing"),
        ("/x/item/-", "nothing"),
        ("/number/x", "nothing"),
        ("/number", "3"),
    ],
)
def test_pointers_to_no_array(read, file, pointer, finds):
    path = file(DOCUMENT)
    with pytest.raises(BadRecordError, match=rf"a\.json: items_path='{pointer}' finds {finds}, no array"):
        read(JsonReader, path=path, items_path=pointer)


@pytest.mark.parametrize(("pointer", "problem"), [("a/b", "did you mean '/a/b'"), ("/a~2", "neither ~0")])
def test_malformed_pointers(pointer, problem):
    with pytest.raises(OptionsError, match=problem):
        JsonOptions(path="a", items_path=pointer)


@pytest.mark.parametrize(
    "content", ["[1, 2", "[1, 2}", '[1, "\n"]', "[1] [2]", "nothing", "  ", '{"a": [1]', "[01]", "[1,]"]
)
def test_malformed_documents(read, file, content):
    with pytest.raises(BadRecordError, match=r"a\.json: no JSON within its first"):
        read(JsonReader, path=file(content), items_path="/a" if content.startswith("{") else "")


def test_an_empty_file_is_no_document(read, file):
    with pytest.raises(BadRecordError, match=r"a\.json: an empty file is no JSON document"):
        read(JsonReader, path=file(""))


def test_damage_after_the_items(read, file):
    with pytest.raises(BadRecordError, match="no JSON within its first"):
        read(JsonReader, path=file('{"a": [1], "b": [2'), items_path="/a")


def test_nested_too_deeply(read, file):
    with pytest.raises(BadRecordError, match="nested too deeply"):
        read(JsonReader, path=file("[" * 5_000 + "]" * 5_000))


def test_memory_is_bounded(file):
    path = file({"skipped": ["x" * 1_000] * 20_000, "items": [{"n": n, "text": "y" * 1_000} for n in range(20_000)]})
    reader = JsonReader(JsonOptions(path=path, items_path="/items"), LocalResources())
    list(reader.pages())
    tracemalloc.start()
    count = sum(len(page.items) for page in reader.pages())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 8 << 20
