"""Map states as scatters."""

from __future__ import annotations

import ast
from typing import Any

from flowstone_provider.asl.functions import Functions, item_of, items_of
from flowstone_provider.asl.graph import Graph
from flowstone_provider.asl.model import Map, Task, Worker
from flowstone_provider.asl.module import Module
from flowstone_provider.asl.payload import expression, is_static, template
from flowstone_provider.asl.scope import Scope
from flowstone_provider.asl.shaping import ANY_ERROR, entering, keeps_input, shapes_result, task_settings
from flowstone_provider.asl.sources import LISTED, source_of
from flowstone_provider.asl.tasks import Tasks, Written, grouped, is_jinja

# Of a Map that bounds only the items in flight: so many of them within one batch.
_WITHIN = 10


class Maps:
    """Writes a Map state.

    Args:
        tasks: Writes tasks.
        inner: The machine for an item.
    """

    def __init__(self, tasks: Tasks, inner: Graph) -> None:
        self.tasks = tasks
        self.module: Module = tasks.module
        self.inner = inner

    def write(self, name: str, id_: str, state: Map, given: str) -> Written:
        """The lines of the DAG: a scatter, with what makes its items and its output around it."""
        module = self.module
        before: list[str] = []
        ids: list[str] = []
        items = self._items(name, id_, state, given, before, ids)
        function, batch_input = self._function(name, id_, state)
        options = self._options(name, id_, state, given, before)
        decorator, scatter = module.name(id_, "scattered"), module.name(id_, "scatter")
        words = ", ".join([f"items={items}", "group_id='scatter'", *options])
        before += [
            f"{decorator} = {module.use('task')}.scatter({words})",
            f"{scatter} = {decorator}({function})({batch_input}{given if batch_input else ''})",
        ]
        ids.append(f"{id_}.scatter.gather")
        each = "batch" if state.item_batcher else "item"
        module.report.translated.append(f"{name} (Map): @task.scatter, {function}() for each {each}")
        self._remarks(name, state)
        group = module.use("TaskGroup")
        if keeps_input(state):
            return Written(grouped(group, id_, before), given, id_, last=id_, tasks=ids)
        if state.result_writer is not None and not shapes_result(state) and not self.tasks.variables:
            return Written(grouped(group, id_, before), scatter, id_, tasks=ids)
        result = self.tasks.shaped(name, id_, state, self._result(state))
        value = module.name(id_, "output")
        before.append(f"{value} = {result}({given}, {scatter})")
        ids.append(f"{id_}.{result}")
        return Written(grouped(group, id_, before), value, id_, tasks=ids)

    def _result(self, state: Map) -> str:
        """Step Functions' result of a Map, of the scatter's: the list of what the machines returned."""
        if state.result_writer is not None:
            return "result"
        load = self.module.use("load")
        if state.item_batcher is not None:
            return f"[each for each in {load}(result) if each is not None]"
        return f"list({load}(result))"

    def _scope(self, name: str, state: Map) -> tuple[list[str], Scope]:
        return entering(self.module, self.tasks.scope(name), state)

    def _items(self, name: str, id_: str, state: Map, given: str, before: list[str], ids: list[str]) -> str:
        if state.item_reader is not None:
            return source_of(self.tasks, name, id_, state, given, before, ids)
        if isinstance(state.items, list) and is_static(state.items, state.query_language) and not is_jinja(state.items):
            return repr(state.items)
        lines, scope = self._scope(name, state)
        function = self.module.name(id_, "items")
        self.tasks.function(
            function, f"The items of state {name!r}.", [*lines, f"return {items_of(self.module, scope, state)}"]
        )
        value = self.module.name(id_, "list")
        before.append(f"{value} = {function}({given})")
        ids.append(f"{id_}.{function}")
        return value

    def _function(self, name: str, id_: str, state: Map) -> tuple[str, str]:
        """Write the function of an item or a batch; gives its name, and how its batch input is given, if at all."""
        module = self.module
        lines, outer = self._scope(name, state)
        first = Functions(module, self.inner, variables=self.tasks.variables)
        start = first.write()
        batched = state.item_batcher
        scope = outer.but(item="item", index=None if batched else "item_context.index")
        item = item_of(module, scope, state)
        if batched is None:
            body = [*lines, f"return {first.call(start, item)}"]
            parameters, doc = ["item"], f"What state {name!r} does to an item."
        else:
            parts = ["'Items': " + ("items" if item == "item" else f"[{item} for item in items]")]
            if batched.batch_input is not None:
                made = template(module, outer, state.query_language, batched.batch_input, "batch input")
                parts.insert(0, f"'BatchInput': {made}")
            body = [*lines, f"result = {first.call(start, '{' + ', '.join(parts) + '}')}"]
            body += ["return [result, *[None] * (len(items) - 1)]"]
            parameters = ["items"]
            doc = f"What state {name!r} does to a batch. Its one result stands at the first item."
        if "given" not in _names_in(body[len(lines) :]):
            body = body[len(lines) :]
        names = _names_in(body)
        given = "flow" if self.tasks.variables else "data"
        needs = self.tasks.variables or "data" in names
        if "item_context" in names:
            parameters.append("item_context")
        if needs:
            parameters.append(given)
        if self.tasks.variables:
            body.insert(0, "data, variables = flow['data'], flow['variables']")
        function = module.function(module.name(id_, "batch" if batched else "item"), parameters, doc, body)
        return function, f"{given}=" if needs else ""

    def _options(self, name: str, id_: str, state: Map, given: str, before: list[str]) -> list[str]:
        module = self.module
        options: list[str] = []

        def value(number: Any, by_path: str | None, what: str) -> str | None:
            """A number, or another task's output that gives it."""
            if by_path is None and (number is None or is_static(number, state.query_language)):
                return None if number is None else repr(number)
            lines, scope = self._scope(name, state)
            function = module.name(id_, what)
            python = (
                expression(module, scope, "JSONPath", by_path, what)
                if by_path is not None
                else template(module, scope, state.query_language, number, what)
            )
            self.tasks.function(function, f"The {what} of state {name!r}.", [*lines, f"return {python}"])
            return f"{function}({given})"

        batcher = state.item_batcher
        if batcher is not None:
            bounds = {
                "max_items": value(batcher.max_items_per_batch, batcher.max_items_per_batch_path, "items per batch"),
                "max_bytes": value(
                    batcher.max_input_bytes_per_batch, batcher.max_input_bytes_per_batch_path, "bytes per batch"
                ),
            }
            words = ", ".join(f"{key}={each}" for key, each in bounds.items() if each is not None)
            options += [f"batching={module.use('Batching')}({words})", "per='batch'"]
        tolerance = {
            "count": value(state.tolerated_failure_count, state.tolerated_failure_count_path, "tolerated count"),
            "percent": value(
                state.tolerated_failure_percentage, state.tolerated_failure_percentage_path, "tolerated percentage"
            ),
        }
        if any(tolerance.values()):
            words = ", ".join(f"{key}={each}" for key, each in tolerance.items() if each is not None)
            options.append(f"tolerance={module.use('Tolerance')}({words})")
        options += self._concurrency(name, state)
        options += _item_retry(module, name, self.inner)
        writer = state.result_writer and state.result_writer.writer_config
        if writer and writer.transformation == "FLATTEN":
            options.append("flatten=True")
        settings = task_settings(module, name, state)
        return [*options, *settings]

    def _concurrency(self, name: str, state: Map) -> list[str]:
        most = state.max_concurrency
        if state.max_concurrency_path is not None or isinstance(most, str):
            self.module.remark(name, "its MaxConcurrency is an expression: set max_active_batches, which is a constant")
            return []
        if not most:
            return []
        if state.item_batcher is not None or most == 1:
            return [f"max_active_batches={most}"]
        within = min(int(most), _WITHIN)
        return [f"max_active_batches={max(1, int(most) // within)}", f"item_concurrency={within}"]

    def _remarks(self, name: str, state: Map) -> None:
        module = self.module
        if state.label is not None:
            module.remark(name, f"Label {state.label!r} is dropped: the scatter is named by its task group")
        if self.inner.machine.processor_config.get("ExecutionType") is not None:
            module.remark(
                name, "ExecutionType is dropped: items run within batches, and their outcomes are in the ledger"
            )
        if state.result_writer is not None:
            module.remark(
                name,
                "ResultWriter: the results stay in [flowstone] storage, and the state's output is the scatter's result "
                "reference, whose manifest names the files",
            )
            if state.result_writer.writer_config and state.result_writer.writer_config.output_type == "JSON":
                module.remark(name, "OutputType JSON: the files of results are JSON Lines")
        if (
            state.item_reader is not None
            and state.item_reader.resource.endswith(":listObjectsV2")
            and (state.item_reader.reader_config.transformation == "NONE")
        ):
            module.remark(
                name, f"items of the listing have the fields {', '.join(LISTED.values())}: see `select` of the scatter"
            )


def _names_in(lines: list[str]) -> set[str]:
    return {node.id for line in lines for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)}


def _item_retry(module: Module, name: str, inner: Graph) -> list[str]:
    """The Retry of the states within as that of an item, which is tried again from its first state."""
    workers = [(each, state) for each, state in inner.states.items() if isinstance(state, Worker) and state.retry]
    retriers = [retrier for _, state in workers for retrier in state.retry if retrier.max_attempts]
    if not retriers:
        return []
    if sum(isinstance(state, Task) for state in inner.states.values()) > 1:
        names = ", ".join(repr(each) for each, _ in workers)
        module.remark(name, f"the Retry of {names} tries the whole item again, from its first state")
    words = [
        f"attempts={max(each.max_attempts for each in retriers) + 1}",
        f"wait={max(each.interval_seconds for each in retriers)}",
    ]
    if delays := [each.max_delay_seconds for each in retriers if each.max_delay_seconds is not None]:
        words.append(f"max_wait={max(delays)}")
    errors = [error for each in retriers for error in each.error_equals]
    if not set(ANY_ERROR) & set(errors):
        on = tuple(
            dict.fromkeys("*Timeout*" if each == "States.Timeout" else each.rpartition(".")[2] for each in errors)
        )
        words.append(f"on={on!r}")
    return [f"retry={module.use('ItemRetry')}({', '.join(words)})"]
