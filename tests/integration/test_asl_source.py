"""What the converter writes, held against other tools: ruff, and an interpreter of the language that is not ours."""

from __future__ import annotations

import subprocess
import sys

from tests.support.step_functions import NAMES, converted, definition_of, executed, function_of

GIVEN = {
    "name": "Ada",
    "age": 36,
    "member": True,
    "json": '{"a": [1, 2]}',
    "nested": {"x": 1, "y": [2]},
    "other": {"y": 3, "z": None},
    "list": [1, 2, 3, 4, 5],
    "twice": [1, 2, 1],
    "path": "/a/b.c//d",
    "people": [{"name": "Ada"}, {"name": "Grace"}],
    "odd name": 1,
}


def test_what_is_written_is_formatted_and_has_no_unused_name(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(converted(name).source)
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--isolated", "--line-length", "120", str(tmp_path)]
    for words in (["format", "--diff"], ["check", "--select", "E,F,W,B"]):
        done = subprocess.run([*ruff, *words, *settings], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_intrinsic_functions_and_paths_give_what_step_functions_gives(tmp_path):
    """Compared with an interpreter that is not ours."""
    status, expected = executed(definition_of("intrinsics"), GIVEN)
    assert status == "SUCCEEDED"
    compute = function_of(definition_of("intrinsics"), "compute", tmp_path)
    assert compute(GIVEN) == expected


def test_input_and_output_processing(tmp_path):
    """InputPath, Parameters, ResultPath and OutputPath in their order, against the other interpreter."""
    state = {
        "Type": "Pass",
        "InputPath": "$.order",
        "Parameters": {"twice.$": "States.MathAdd($.n, $.n)"},
        "ResultPath": "$.kept.deep",
        "OutputPath": "$.kept",
        "End": True,
    }
    machine = {"StartAt": "A", "States": {"A": state}}
    given = {"order": {"n": 4}, "kept": {"here": 1}}
    assert executed(machine, given) == ("SUCCEEDED", {"here": 1, "deep": {"twice": 8}})
    assert function_of(machine, "a", tmp_path)(given) == {"here": 1, "deep": {"twice": 8}}
