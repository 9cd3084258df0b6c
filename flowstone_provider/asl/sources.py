"""The ItemReader of a Map as a source of ours."""

from __future__ import annotations

from typing import Any

from flowstone_provider.asl.model import ItemReader, Map, ReaderConfig
from flowstone_provider.asl.module import to_complete
from flowstone_provider.asl.payload import field, is_static, original
from flowstone_provider.asl.shaping import entering
from flowstone_provider.asl.tasks import Tasks, is_jinja

_DELIMITERS = ("COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB")
# What Step Functions calls the fields of a listing's item, and what the reader s3 does.
LISTED = {
    "Etag": "etag",
    "Key": "key",
    "LastModified": "last_modified",
    "Size": "size",
    "StorageClass": "storage_class",
}
_S3 = {"Bucket": "bucket", "Prefix": "prefix", "StartAfter": "start_after"}


def source_of(tasks: Tasks, name: str, id_: str, state: Map, given: str, before: list[str], ids: list[str]) -> str:
    """The items of a distributed Map, as Python.

    Args:
        tasks: Writes tasks.
        name: The state's name.
        id_: Its identifier.
        state: The state, with an ItemReader.
        given: The variable of its input.
        before: Takes the lines that must stand before the scatter.
        ids: Takes the ids of the tasks that those make.
    """
    assert state.item_reader is not None  # noqa: S101  (the caller looked)
    module, reader = tasks.module, state.item_reader
    config = reader.reader_config
    place = reader.arguments if state.query_language == "JSONata" else reader.parameters
    kind = _kind_of(config, reader.resource.rpartition(":")[2])
    if kind is None or not isinstance(place, dict) or not _complete(place, kind):
        return _by_hand(tasks, name, id_, reader, given, before, ids)
    words = _place(tasks, name, id_, state, place, kind, given, before, ids)
    words = [repr(kind), *words, *_reader_options(config, kind)]
    if config.max_items is not None and is_static(config.max_items, state.query_language):
        words.append(f"max_items={config.max_items!r}")
    elif config.max_items is not None or config.max_items_path is not None:
        module.remark(name, "its MaxItems is an expression: give max_items of the source another task's output")
    if any(key.startswith("VersionId") for key in place):
        module.remark(name, "VersionId: the reader reads the latest version, and fails when that changes meanwhile")
    return f"{module.use('source')}({', '.join(words)})"


def _by_hand(
    tasks: Tasks, name: str, id_: str, reader: ItemReader, given: str, before: list[str], ids: list[str]
) -> str:
    module = tasks.module
    function, value = module.name(id_, "items"), module.name(id_, "list")
    text = original(reader.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True))
    tasks.function(function, f"The items of state {name!r}.\n\n{text}", to_complete(function, name))
    module.add_by_hand(name, function, text, "no reader of ours reads this: return a list, or make it a source")
    before.append(f"{value} = {function}({given})")
    ids.append(f"{id_}.{function}")
    return value


def _place(
    tasks: Tasks,
    name: str,
    id_: str,
    state: Map,
    place: dict[str, Any],
    kind: str,
    given: str,
    before: list[str],
    ids: list[str],
) -> list[str]:
    """Where the items are, as options of the reader: constants, or what a task makes of the state's input."""
    module, language = tasks.module, state.query_language
    option = "manifest" if kind == "s3_inventory" else "path"
    place = {key: each for key, each in place.items() if key.removesuffix(".$") in (*_S3, "Key")}
    if is_static(place, language) and not is_jinja(place):
        if kind == "s3":
            return [f"{_S3[key]}={each!r}" for key, each in place.items() if key in _S3]
        return [f"{option}={'s3://{}/{}'.format(place['Bucket'], place['Key'])!r}", "conn_id='aws_default'"]
    lines, scope = entering(module, tasks.scope(name), state)
    python = {key.removesuffix(".$"): field(module, scope, language, key, each) for key, each in place.items()}
    function, value = module.name(id_, "place"), module.name(id_, "source")
    doc = f"Where the items of state {name!r} are."
    if kind == "s3":
        pairs = ", ".join(f"{_S3[key]!r}: {each}" for key, each in python.items() if key in _S3)
        decorator = "task(multiple_outputs=True)"
        tasks.function(function, doc, [*lines, f"return {{{pairs}}}"], decorator=decorator)
        words = [f"{_S3[key]}={value}[{_S3[key]!r}]" for key in python if key in _S3]
    else:
        url = f"'s3://{{}}/{{}}'.format({python['Bucket']}, {python['Key']})"
        tasks.function(function, doc, [*lines, f"return {url}"])
        words = [f"{option}={value}", "conn_id='aws_default'"]
    before.append(f"{value} = {function}({given})")
    ids.append(f"{id_}.{function}")
    return words


def _complete(place: dict[str, Any], kind: str) -> bool:
    """Whether bucket and key are there."""
    names = {key.removesuffix(".$") for key in place}
    return "Bucket" in names and (kind == "s3" or "Key" in names)


def _kind_of(config: ReaderConfig, action: str) -> str | None:
    """Our reader for what an ItemReader reads."""
    if action == "listObjectsV2":
        return "s3"
    if action != "getObject":
        return None
    if config.input_type == "MANIFEST":
        return "s3_inventory" if config.manifest_type in (None, "S3_INVENTORY") else None
    return (config.input_type or "JSON").lower()


def _reader_options(config: ReaderConfig, kind: str) -> list[str]:
    """ReaderConfig as options of our reader."""
    if kind == "s3" and config.transformation == "NONE":
        return []
    form = (config.input_type or "JSON").lower() if kind == "s3" else kind
    options: dict[str, Any] = {}
    if form == "csv":
        delimiter = config.csv_delimiter
        if delimiter not in (None, "COMMA"):
            options["delimiter"] = str(delimiter).lower() if delimiter in _DELIMITERS else delimiter
        if config.csv_header_location == "GIVEN" and config.csv_headers:
            options["headers"] = config.csv_headers
    if form == "json" and config.items_pointer:
        options["items_path"] = config.items_pointer
    if kind == "s3":
        return [f"contents={form!r}", *([f"contents_options={options!r}"] if options else [])]
    return [f"{key}={value!r}" for key, value in options.items()]
