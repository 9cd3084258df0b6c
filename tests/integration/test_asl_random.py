"""Random state machines: what the converter makes of them, against an interpreter of the language that is not ours."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from flowstone_provider.asl import convert
from tests.support.dags import run_dag, states
from tests.support.step_functions import dag_of, executed, module_of


def machine(random: Random, depth: int, prefix: str = "S") -> dict[str, Any]:
    """A machine of a few states, each of which leads to later ones; states within others have longer names."""
    names = [f"{prefix}{number}" for number in range(random.randint(1, 5))]
    found: dict[str, Any] = {}
    reached = {names[0]}
    for number, name in enumerate(names):
        later = names[number + 1 :]
        if name in reached:
            found[name] = state(random, depth, name, later)
            found[name] |= {"Next": later[0]} if later else {"End": True}
            if found[name]["Type"] in ("Choice", "Succeed", "Fail"):
                del found[name]["Next" if later else "End"]
            ways = [*found[name].get("Choices", []), *found[name].get("Catch", []), found[name]]
            reached |= {way[key] for way in ways for key in ("Next", "Default") if key in way}
    return {"StartAt": names[0], "States": found}


def state(random: Random, depth: int, name: str, later: list[str]) -> dict[str, Any]:
    kinds = ["Pass", "Pass", *(["Choice"] * 3 if later else ["Succeed"]), *(["Parallel", "Map"] if depth else [])]
    kind = random.choice(kinds if later or random.random() > 0.1 else ["Fail"])
    if kind == "Choice":
        rules = [{"Variable": "$.n", "NumericGreaterThan": random.randint(0, 6), "Next": random.choice(later)}]
        return {"Type": kind, "Choices": rules * random.randint(1, 2), "Default": later[0]}
    if kind == "Pass":
        computed = {"n.$": "States.MathAdd($.n, 1)", "items": [1, 5], "at": name}
        fixed = {"n": random.randint(0, 9), "items": [2, 4]}
        return {
            "Type": kind,
            **random.choice([{"Parameters": computed}, {"Result": name, "ResultPath": f"$.{name}"}, {"Result": fixed}]),
        }
    if kind in ("Succeed", "Fail"):
        return {"Type": kind} if kind == "Succeed" else {"Type": kind, "Error": "E"}
    inner = [machine(random, depth - 1, f"{name}b{each}x") for each in range(random.randint(1, 2))]
    found: dict[str, Any] = {"Type": kind, "ResultPath": random.choice(["$.r", None] if later else ["$.r"])}
    if kind == "Parallel":
        found["Branches"] = inner
    else:
        selector = {"n.$": "$$.Map.Item.Value", "items": [3]}
        found |= {"ItemsPath": "$.items", "ItemSelector": selector, "ItemProcessor": inner[0]}
    if later and random.random() < 0.5:
        found["Catch"] = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": random.choice(later)}]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_as_functions_of_a_map(tmp_path, seed):
    random = Random(seed)
    made, given = machine(random, 2), {"n": random.randint(0, 7), "items": [1, 2]}
    around = {"StartAt": "Outer", "States": {"Outer": {"Type": "Map", "ItemProcessor": made, "End": True}}}
    module = module_of(convert(json.dumps(around), "machine").source, tmp_path / "machine.py")
    try:
        found = ("SUCCEEDED", module.outer_item(given))
    except RuntimeError as error:
        found = ("FAILED", type(error).__name__)
    assert found == executed(made, given)


@pytest.mark.parametrize("seed", range(2))
def test_as_tasks(airflow_db, configure, tmp_path, seed):
    configure("storage", f"file://{tmp_path}/ledger")
    random = Random(100 + seed)
    made, given = machine(random, 2), {"n": random.randint(0, 7), "items": [1, 2]}
    dag = dag_of(convert(json.dumps(made), f"random_{seed}").source, tmp_path / "machine.py")
    run = run_dag(dag, given)
    status, output = executed(made, given)
    assert str(run.state) == ("success" if status == "SUCCEEDED" else "failed"), states(run)
    leaves = {leaf.task_id for leaf in dag.leaves}
    ended = [ti for ti in run.get_task_instances() if ti.task_id in leaves and str(ti.state) == "success"]
    assert [ti.xcom_pull(task_ids=ti.task_id) for ti in ended] == ([output] if status == "SUCCEEDED" else [])
