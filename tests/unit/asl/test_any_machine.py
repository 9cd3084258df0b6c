"""Machines of any shape: what is written of them compiles, is a DAG, and its routers have the branches they name."""

from __future__ import annotations

import ast
import json
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone_provider.asl import convert
from tests.support.step_functions import dag_of

RULE = {"Variable": "$.n", "NumericGreaterThan": 3}
CATCH = [{"ErrorEquals": ["Broken"], "ResultPath": "$.error"}, {"ErrorEquals": ["States.ALL"], "ResultPath": None}]
LOOK = "arn:aws:states:eu-central-1:123456789012:activity:look"


@st.composite
def machines(draw, depth: int = 2):
    """A machine: each state leads to any of those behind it, so there is no circle; all are reached."""
    names = draw(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique=True))
    states = {}
    for number, name in enumerate(names):
        later = names[number + 1 :]
        kinds = ["Pass", "Wait", "Task"] + (["Choice"] * 2 if later else ["Succeed", "Fail"])
        kind = draw(st.sampled_from(kinds + (["Parallel", "Map"] if depth else [])))
        state: dict = {"Type": kind}
        target = st.sampled_from(later) if later else st.none()
        if kind == "Choice":
            state["Choices"] = [{**RULE, "Next": draw(target)} for _ in range(draw(st.integers(1, 3)))]
            # The next one, so that all are reached.
            state["Default"] = later[0]
        elif kind not in ("Succeed", "Fail"):
            state |= {"Next": later[0]} if later else {"End": True}
        if kind == "Task":
            state["Resource"] = LOOK
        if kind == "Wait":
            state |= draw(st.sampled_from([{"Seconds": 1}, {"TimestampPath": "$.at"}]))
        if kind == "Parallel":
            state["Branches"] = draw(st.lists(machines(depth - 1), min_size=1, max_size=2))
        if kind == "Map":
            state["ItemProcessor"] = draw(machines(depth - 1))
        if kind in ("Task", "Parallel", "Map"):
            state |= draw(st.sampled_from([{}, {"ResultPath": "$.r"}, {"ResultPath": None}]))
            if later and draw(st.booleans()):
                state["Catch"] = [{**catcher, "Next": draw(target)} for catcher in CATCH]
        if kind in ("Pass", "Task", "Map") and draw(st.integers(0, 9)) == 0:
            state["Assign"] = {"x.$": "$.n"}
        states[name] = state
    return {"StartAt": names[0], "States": states}


numbers = count()


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(machines())
def test_any_machine_becomes_a_dag(tmp_path_factory, machine):
    done = convert(json.dumps(machine), "machine")
    ast.parse(done.source)
    dag = dag_of(done.source, tmp_path_factory.getbasetemp() / f"machine_{next(numbers)}.py")
    # What Airflow does when it has read the file: routers then compare their names with their branches.
    dag.resolve_template_files()
    dag.check_cycle()
    assert len(done.report.translated) == counted(machine)


def counted(machine) -> int:
    """How many states a machine has, with those within."""
    inner = [each for state in machine["States"].values() for each in state.get("Branches", [])]
    inner += [state["ItemProcessor"] for state in machine["States"].values() if "ItemProcessor" in state]
    return len(machine["States"]) + sum(map(counted, inner))
