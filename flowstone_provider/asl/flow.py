"""The body of the DAG: states in their order, joined by data, by routers, and by what catches errors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from flowstone_provider.asl.choice import condition
from flowstone_provider.asl.graph import Graph, catchers
from flowstone_provider.asl.maps import Maps
from flowstone_provider.asl.model import Catcher, Choice, Fail, Map, Parallel, State, Succeed, Task
from flowstone_provider.asl.module import Module, indented
from flowstone_provider.asl.payload import placed, template
from flowstone_provider.asl.shaping import (
    ANY_ERROR,
    assignment,
    changes_input,
    doc_of,
    entering,
    leaving,
    shapes_result,
    task_settings,
)
from flowstone_provider.asl.tasks import Tasks, Written, decorated, grouped
from flowstone_provider.asl.work import write_task


@dataclass(frozen=True)
class Edge:
    """A way from one state to another, or to the end.

    Attributes:
        value: The variable of what is handed on.
        after: The variable of what must come before, where the value is older than it.
    """

    value: str
    after: str | None = None


@dataclass(frozen=True)
class Way:
    """A way that a router or a catch may choose.

    Attributes:
        target: The state's name; ``None`` is the end.
        through: The function of a task on the way; ``None`` when the state itself stands behind the router.
        branch: The id of that task, or of the state: the branch's name.
    """

    target: str | None
    through: str | None
    branch: str


class Flow:
    """Writes the states of one machine into the DAG.

    Args:
        tasks: Writes single states.
        graph: The machine.
        groups: The ids of the task groups around it.
        inner: Whether it is a branch: its value is then that of one last task.
    """

    def __init__(self, tasks: Tasks, graph: Graph, groups: tuple[str, ...] = (), *, inner: bool = False) -> None:
        self.tasks = tasks
        self.module: Module = tasks.module
        self.graph = graph
        self.groups = groups
        self.inner = inner
        self.lines: list[str] = []
        self._edges: dict[str | None, list[Edge]] = {}
        self._failing: list[str] = []
        self._incoming = Counter(target for state in graph.states.values() for target in _ways_of(state))

    def write(self, given: str) -> str:
        """Write all states; gives the variable of the machine's output.

        Args:
            given: The variable of its input.
        """
        self._edges[self.graph.machine.start_at] = [Edge(given)]
        for name, state in self.graph.states.items():
            edge = self._entry(name, self.graph.ids[name], self._edges.pop(name))
            if isinstance(state, Choice):
                self._choice(name, state, edge)
                continue
            written = self._state(name, state, edge.value)
            self.lines += written.lines
            if edge.after is not None:
                self.lines.append(f"{edge.after} >> {written.head}")
            if isinstance(state, Fail):
                self._failing.append(written.head)
            elif catchers(state):
                self._catch(name, state, edge.value, written)
            else:
                self._lead(state.next, Edge(written.value, written.last))
        return self._end() if self.inner else given

    def _lead(self, target: str | None, edge: Edge) -> None:
        self._edges.setdefault(target, []).append(edge)

    def _entry(self, name: str, id_: str, edges: list[Edge]) -> Edge:
        """One edge of all that lead to a state: the output of the one that ran."""
        if len(edges) == 1:
            return edges[0]
        joined = self.module.name(id_, "input")
        values = [self._own(edge, id_) for edge in edges]
        self.lines.append(f"{joined} = {self.module.use('merge')}({', '.join(values)}, task_id={joined!r})")
        return Edge(joined)

    def _own(self, edge: Edge, target: str) -> str:
        """A variable of the edge's value that exists only if this way was gone."""
        if edge.after is None:
            return edge.value
        passed = self.module.name(edge.after, "to", target)
        self.lines.append(f"{passed} = {self.module.use('pass_on')}.override(task_id={passed!r})({edge.value})")
        self.lines.append(f"{edge.after} >> {passed}")
        return passed

    def _end(self) -> str:
        """One task that ends the branch, whichever way was gone."""
        edges = self._edges.get(None, [])
        if not edges:
            return self._failing[0]
        if len(edges) == 1 and edges[0].after is None and not self._failing:
            return edges[0].value
        ended = self.module.name(*self.groups[-1:], "end")
        values = [self._own(edge, "end") for edge in edges]
        self.lines.append(f"{ended} = {self.module.use('merge')}({', '.join(values)}, task_id={ended!r})")
        self.lines += [f"{failing} >> {ended}" for failing in self._failing]
        return ended

    def _state(self, name: str, state: State, given: str) -> Written:
        id_ = self.graph.ids[name]
        if isinstance(state, Parallel):
            return self._parallel(name, id_, state, given)
        if isinstance(state, Map):
            return Maps(self.tasks, self.graph.inner[name][0]).write(name, id_, state, given)
        if isinstance(state, Task):
            return write_task(self.tasks, name, id_, state, given)
        return self.tasks.write(name, id_, state, given)

    # What a router and a catch have in common: ways, each with a branch that stands directly behind.

    def _way(self, source: str, target: str | None, through: str | None = None) -> Way:
        """The way to a state: straight to it when no other leads there, else through a task of its own."""
        if target is not None and through is None and self._incoming[target] == 1:
            return Way(target, None, self.graph.ids[target])
        if target is None and not self.inner and through is None:
            return Way(None, None, "")
        branch = through or self.module.name(source, "to", self.graph.ids[target] if target else "end")
        return Way(target, through or self.module.use("pass_on"), branch)

    def _go(self, way: Way, router: str, value: str) -> None:
        if way.through is None:
            if way.target is not None:
                self._lead(way.target, Edge(value, router))
            return
        passed = self.module.name(way.branch, "output")
        call = way.through if way.through == way.branch else f"{way.through}.override(task_id={way.branch!r})"
        self.lines += [f"{passed} = {call}({value})", f"{router} >> {passed}"]
        self._lead(way.target, Edge(passed))

    def _choice(self, name: str, state: Choice, edge: Edge) -> None:
        module, id_ = self.module, self.graph.ids[name]
        scope = self.tasks.scope(name)
        lines, inner = entering(module, scope, state)
        ways: dict[Any, Way] = {}
        for rule in state.choices:
            own = {"output": rule.get("Output"), "assign": rule.get("Assign") or {}}
            way = self._rule_way(id_, name, state.model_copy(update=own), rule, ways)
            test = condition(module, inner, state.query_language, rule)
            lines += [f"if {test}:", f"    return {way.branch!r}"]
        if state.default is not None:
            default = {"Next": state.default, "Output": state.output, "Assign": state.assign or None}
            way = self._rule_way(id_, name, state, default, ways)
            lines.append(f"return {way.branch!r}")
        else:
            lines.append(f"raise {module.use('AirflowFailException')}('States.NoChoiceMatched')")
        branches = ", ".join(repr(way.branch) for way in ways.values())
        returns = f"{module.use('Literal')}[{branches}]"
        self.tasks.function(id_, doc_of(name, state), lines, decorator="task.route", returns=returns)
        router = module.name(id_, "route")
        self.lines.append(f"{router} = {id_}({edge.value})")
        if edge.after is not None:
            self.lines.append(f"{edge.after} >> {router}")
        for way in ways.values():
            self._go(way, router, edge.value)
        module.report.translated.append(f"{name} (Choice): @task.route")

    def _rule_way(self, id_: str, name: str, state: Choice, rule: dict[str, Any], ways: dict[Any, Way]) -> Way:
        """The way of a rule, with a task of its own where the rule says what it hands on."""
        key = _key(rule)
        if key not in ways:
            through = None
            if changes_input(state):
                through = self.module.name(id_, "to", self.graph.ids[rule["Next"]])
                scope = self.tasks.scope(name)
                lines, inner = entering(self.module, scope, state)
                ended = leaving(self.module, inner, state, inner.data, scope.data)
                body = [*lines, *ended.statements, self.tasks.handed_on(ended.value)]
                self.tasks.function(through, f"What state {name!r} hands to {rule['Next']!r}.", body)
            ways[key] = self._way(id_, rule["Next"], through)
        return ways[key]

    def _catch(self, name: str, state: State, given: str, written: Written) -> None:
        """A task behind the state that runs whatever became of it, and goes on to the next state or a catcher's."""
        module, id_ = self.module, self.graph.ids[name]
        prefix = "".join(f"{group}." for group in self.groups)
        straight = self._succeeded(name, id_, state, written, prefix)
        ids = ", ".join(repr(prefix + task) for task in written.tasks)
        answer = f"return {prefix + straight.branch!r}" if straight.branch else "return None"
        lines = [f"error = {module.use('error_of')}(ti, {ids})", "if error is None:", f"    {answer}"]
        ways = [straight]
        for number, catcher in enumerate(catchers(state)):
            if isinstance(state, Map | Parallel) and not set(ANY_ERROR) & set(catcher.error_equals):
                errors = ", ".join(catcher.error_equals)
                module.remark(name, f"its Catch of {errors} matches no error: here it is that of the whole state")
            way = self._way(id_, catcher.next, self._caught(name, id_, state, catcher, number, ids))
            ways.append(way)
            test = (
                ""
                if set(ANY_ERROR) & set(catcher.error_equals)
                else f"error['Error'] in {tuple(catcher.error_equals)!r}"
            )
            lines += (
                [f"if {test}:", f"    return {prefix + way.branch!r}"] if test else [f"return {prefix + way.branch!r}"]
            )
            if not test:
                break
        else:
            lines.append(f"raise {module.use('AirflowFailException')}(error['Cause'])")
        function = module.name(id_, "catch")
        module.use("task")
        doc = f"The Catch of state {name!r}: where to go after it."
        decorator = "task.branch(trigger_rule='none_skipped')"
        module.function(function, ["ti=None"], doc, lines, decorator=decorator)
        branch = module.name(id_, "way")
        self.lines += [f"{branch} = {function}()", f"{written.last or written.value} >> {branch}"]
        self._go(straight, branch, given if written.last is not None else "")
        for way in ways[1:]:
            self._go(way, branch, given)

    def _succeeded(self, name: str, id_: str, state: State, written: Written, prefix: str) -> Way:
        """The way on when nothing is caught.

        It leads through a task that comes behind the catch alone: what comes directly behind a failed task is
        `upstream_failed` at once, and not skipped.
        """
        if written.last is not None or (state.next is None and not self.inner):
            return self._way(f"{id_}_catch", state.next)
        function = self.module.name(id_, "succeeded")
        doc = f"The output of state {name!r}, which succeeded."
        body = [f"return ti.xcom_pull(task_ids={prefix + written.tasks[-1]!r})"]
        self.module.function(function, ["ti=None"], doc, body, decorator=self.module.use("task"))
        return Way(state.next, function, function)

    def _caught(self, name: str, id_: str, state: State, catcher: Catcher, number: int, ids: str) -> str:
        """Write the task that makes the input of a catcher's state: the state's own with the error in it."""
        module = self.module
        function = module.name(id_, "failed", str(number + 1) if number else "")
        scope = self.tasks.scope(name)
        lines = [f"error = {module.use('error_of')}(ti, {ids})"]
        if state.query_language == "JSONata":
            seen = scope.but(error="error")
            value = "error" if catcher.output is None else template(module, seen, "JSONata", catcher.output, "Output")
        else:
            seen = scope.but(data="error")
            value = placed(module, scope, catcher.result_path, "error", "data")
        if catcher.assign:
            lines += [f"output = {value}", assignment(module, seen, state, catcher.assign)]
            value = "output"
        doc = f"The input of {catcher.next!r} after state {name!r} failed."
        return self.tasks.function(function, doc, [*lines, self.tasks.handed_on(value)], ["ti=None"])

    def _parallel(self, name: str, id_: str, state: Parallel, given: str) -> Written:
        """A parallel group; within a group of its own, where something makes its input or its output."""
        module = self.module
        given_by = self.tasks.branch_input(name, id_, state)
        shaped = shapes_result(state) or self.tasks.variables
        group = module.name(id_, "branches") if given_by or shaped else id_
        shared = module.name(id_, "given") if given_by else given
        around = (*self.groups, id_) if group == id_ else (*self.groups, id_, group)
        inside: list[str] = []
        branches = [module.name(inner.start, "branch") for inner in self.graph.inner[name]]
        for branch, inner in zip(branches, self.graph.inner[name], strict=True):
            flow = Flow(self.tasks, inner, (*around, branch), inner=True)
            flow.write(shared)
            inside += [f"with {group}.branch({branch!r}):", *indented(flow.lines)]
        join = module.name(id_, "join")
        values = [f"outcomes[{branch!r}].value" + ("['data']" if self.tasks.variables else "") for branch in branches]
        inside += [
            f"@{decorated(f'{group}.join', task_settings(module, name, state))}",
            f"def {join}(outcomes):",
            *indented([repr(f"The outputs of the branches of state {name!r}."), f"return [{', '.join(values)}]"]),
        ]
        lines = [f"with {module.use('ParallelTaskGroup')}({group!r}) as {group}:", *indented(inside)]
        module.report.translated.append(f"{name} (Parallel): ParallelTaskGroup of {', '.join(branches)}")
        value = module.name(id_, "output")
        if group == id_:
            return Written([*lines, f"{value} = {group}.output"], value, id_, tasks=[f"{id_}.{join}"])
        if given_by:
            lines.insert(0, f"{shared} = {given_by}({given})")
        tasks = [f"{id_}.{group}.{join}"]
        end = f"{value} = {group}.output"
        if shaped:
            result = self.tasks.shaped(name, id_, state, "result")
            end = f"{value} = {result}({given}, {group}.output)"
            tasks.append(f"{id_}.{result}")
        return Written(grouped(module.use("TaskGroup"), id_, [*lines, end]), value, id_, tasks=tasks)


def _ways_of(state: State) -> list[str | None]:
    """The targets of a state, each once for a way that a router or a catch may choose."""
    if isinstance(state, Succeed | Fail):
        return []
    if not isinstance(state, Choice):
        return [state.next, *(catcher.next for catcher in catchers(state))]
    default = {"Next": state.default, "Output": state.output, "Assign": state.assign or None}
    rules = [*state.choices, *([default] if state.default is not None else [])]
    return [target for target, _ in dict.fromkeys(_key(rule) for rule in rules)]


def _key(rule: dict[str, Any]) -> tuple[str, str]:
    """Rules with equal keys go one way."""
    return rule["Next"], repr([rule.get("Output"), rule.get("Assign")])
