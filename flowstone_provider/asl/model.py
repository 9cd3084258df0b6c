"""The Amazon States Language as pydantic models: what a state machine may say. Errors name the state and the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from flowstone_provider.contracts.options import nearest
from flowstone_provider.errors import StateMachineError

Language = Literal["JSONPath", "JSONata"]
# In JSONata any number or text may be an expression: "{% … %}".
Number = int | float | str
Model = TypeVar("Model", bound="Fields")


class Fields(BaseModel):
    """A JSON object of the language; a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_pascal, strict=True)


class Retrier(Fields):
    """An element of `Retry`."""

    error_equals: list[str]
    interval_seconds: int = 1
    max_attempts: int = 3
    backoff_rate: float = 2.0
    max_delay_seconds: int | None = None
    jitter_strategy: Literal["FULL", "NONE"] = "NONE"
    comment: str | None = None


class Catcher(Fields):
    """An element of `Catch`."""

    error_equals: list[str]
    next: str
    result_path: str | None = "$"
    output: Any = None
    assign: dict[str, Any] = {}
    comment: str | None = None


class State(Fields):
    """What all states have."""

    type: str
    comment: str | None = None
    query_language: Language | None = None
    next: str | None = None
    end: bool = False
    input_path: str | None = "$"
    output_path: str | None = "$"
    output: Any = None
    assign: dict[str, Any] = {}

    # The fields of one query language that are errors in the other.
    json_path: ClassVar[frozenset[str]] = frozenset(
        ("input_path", "output_path", "parameters", "result_selector", "result_path", "items_path")
    )
    jsonata: ClassVar[frozenset[str]] = frozenset(("output", "arguments", "items"))

    def has(self, field: str) -> bool:
        """Whether the state says something about a field, null included."""
        return field in self.model_fields_set


class Worker(State):
    """Task, Map and Parallel: what does something, and may fail."""

    parameters: Any = None
    arguments: Any = None
    result_selector: dict[str, Any] | None = None
    result_path: str | None = "$"
    retry: list[Retrier] = []
    catch: list[Catcher] = []


class Pass(State):
    """Gives its input, or a value."""

    type: Literal["Pass"]
    result: Any = None
    parameters: Any = None
    result_path: str | None = "$"


class Task(Worker):
    """One piece of work."""

    type: Literal["Task"]
    resource: str
    credentials: Any = None
    timeout_seconds: Number | None = None
    timeout_seconds_path: str | None = None
    heartbeat_seconds: Number | None = None
    heartbeat_seconds_path: str | None = None


class Choice(State):
    """Picks the next state. Rules are kept as they stand: `choice.py` reads them."""

    type: Literal["Choice"]
    choices: list[dict[str, Any]] = Field(min_length=1)
    default: str | None = None


class Wait(State):
    """Waits for a time."""

    type: Literal["Wait"]
    seconds: Number | None = None
    seconds_path: str | None = None
    timestamp: str | None = None
    timestamp_path: str | None = None

    @property
    def until(self) -> list[str]:
        """The fields that say how long; there must be one."""
        return [
            name
            for name in ("seconds", "seconds_path", "timestamp", "timestamp_path")
            if getattr(self, name) is not None
        ]


class Succeed(State):
    """The end of the machine."""

    type: Literal["Succeed"]


class Fail(State):
    """The end of the machine, as a failure."""

    type: Literal["Fail"]
    error: str | None = None
    error_path: str | None = None
    cause: str | None = None
    cause_path: str | None = None


class Machine(Fields):
    """A state machine, or one within a Parallel or Map state."""

    start_at: str
    states: dict[str, Any]
    comment: str | None = None
    version: str | None = None
    query_language: Language | None = None
    timeout_seconds: int | None = None
    processor_config: dict[str, str] = {}


class Parallel(Worker):
    """Several machines at the same time."""

    type: Literal["Parallel"]
    branches: list[Any] = Field(min_length=1)


class ReaderConfig(Fields):
    """How a Map state reads S3."""

    input_type: Literal["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"] | None = None
    transformation: Literal["NONE", "LOAD_AND_FLATTEN"] = "NONE"
    manifest_type: Literal["ATHENA_DATA", "S3_INVENTORY"] | None = None
    csv_delimiter: str | None = Field(default=None, alias="CSVDelimiter")
    csv_header_location: Literal["FIRST_ROW", "GIVEN"] = Field(default="FIRST_ROW", alias="CSVHeaderLocation")
    csv_headers: list[str] | None = Field(default=None, alias="CSVHeaders")
    items_pointer: str | None = None
    max_items: Number | None = None
    max_items_path: str | None = None


class ItemReader(Fields):
    """Where the items of a distributed Map are."""

    resource: str
    reader_config: ReaderConfig = ReaderConfig()
    parameters: dict[str, Any] = {}
    arguments: Any = None


class ItemBatcher(Fields):
    """How the items of a distributed Map are grouped."""

    max_items_per_batch: Number | None = None
    max_items_per_batch_path: str | None = None
    max_input_bytes_per_batch: Number | None = None
    max_input_bytes_per_batch_path: str | None = None
    batch_input: Any = None


class WriterConfig(Fields):
    """How the results of a distributed Map are written."""

    transformation: Literal["NONE", "COMPACT", "FLATTEN"] = "NONE"
    output_type: Literal["JSON", "JSONL"] = "JSON"


class ResultWriter(Fields):
    """Where the results of a distributed Map go."""

    resource: str | None = None
    writer_config: WriterConfig | None = None
    parameters: Any = None
    arguments: Any = None


class Map(Worker):
    """A machine for each item."""

    type: Literal["Map"]
    item_processor: Any = None
    iterator: Any = None
    items_path: str = "$"
    items: Any = None
    item_reader: ItemReader | None = None
    item_selector: Any = None
    item_batcher: ItemBatcher | None = None
    result_writer: ResultWriter | None = None
    max_concurrency: Number = 0
    max_concurrency_path: str | None = None
    tolerated_failure_count: Number | None = None
    tolerated_failure_count_path: str | None = None
    tolerated_failure_percentage: Number | None = None
    tolerated_failure_percentage_path: str | None = None
    label: str | None = None

    @property
    def processor(self) -> Any:
        """The machine for an item, by its new or its old name."""
        return self.item_processor if self.item_processor is not None else self.iterator


_TYPES: dict[str, type[State]] = {
    each.__name__: each for each in (Task, Pass, Choice, Wait, Succeed, Fail, Parallel, Map)
}


def read_machine(value: Any, place: str) -> Machine:
    """A machine from parsed JSON; its states are read by `read_state`.

    Raises:
        StateMachineError: It is none.
    """
    if not isinstance(value, dict):
        raise StateMachineError(f"{place} must be a JSON object with StartAt and States, not {type(value).__name__}")
    machine = _checked(Machine, value, place)
    if not machine.states:
        raise StateMachineError(f"{place} has no states")
    return machine


def read_state(name: str, value: Any, language: Language) -> State:
    """One state, with the query language that holds for it.

    Raises:
        StateMachineError: It is none, or has fields of the other query language.
    """
    place = f"state {name!r}"
    if not isinstance(value, dict):
        raise StateMachineError(f"{place} must be a JSON object, not {type(value).__name__}")
    kind = value.get("Type")
    if not isinstance(kind, str) or kind not in _TYPES:
        hint = nearest(kind, list(_TYPES)) if isinstance(kind, str) else f"; there are: {', '.join(_TYPES)}"
        raise StateMachineError(f"{place} has the Type {kind!r}, which is none{hint}")
    state = _checked(_TYPES[kind], value, place)
    language = state.query_language or language
    wrong = sorted(state.model_fields_set & (state.json_path if language == "JSONata" else state.jsonata))
    if wrong:
        other = "JSONPath" if language == "JSONata" else "JSONata"
        raise StateMachineError(
            f"{place} has the field {to_pascal(wrong[0])}, which is for {other}, and its QueryLanguage is {language}"
        )
    return state.model_copy(update={"query_language": language})


def inner_machines(name: str, state: State) -> Iterator[tuple[str, Any]]:
    """The machines within a state, each with what to call its place in messages."""
    if isinstance(state, Parallel):
        for number, branch in enumerate(state.branches):
            yield f"branch {number} of state {name!r}", branch
    if isinstance(state, Map):
        yield f"the ItemProcessor of state {name!r}", state.processor


def _checked(model: type[Model], value: dict[str, Any], place: str) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise StateMachineError("; ".join(_problems(model, error, place))) from None


def _problems(model: type[Fields], error: ValidationError, place: str) -> Iterator[str]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    for detail in error.errors(include_url=False):
        where = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            hint = nearest(where, names) if len(detail["loc"]) == 1 else ""
            yield f"{place} has the field {where}, which is none of its kind{hint}"
        elif detail["type"] == "missing":
            yield f"{place} needs the field {where}"
        else:
            yield f"{place}, field {where}: {detail['msg']}"
