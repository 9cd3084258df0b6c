"""``airflow flowstone convert-asl``, as typed, and without Airflow's command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from airflow.cli import cli_parser

from flowstone_provider.asl import MAX_BYTES
from tests.support.step_functions import MACHINES, converted


@pytest.fixture
def run(capsys):
    """Run a command as Airflow's parser finds it; gives its code, and what it printed."""
    parser = cli_parser.get_parser()

    def command(*words):
        code: object = 0
        try:
            args = parser.parse_args(["flowstone", "convert-asl", *map(str, words)])
            args.func(args)
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return command


def test_the_dag_goes_to_the_standard_output_and_the_report_beside_it(run):
    code, out, err = run(MACHINES / "choices.asl.json")
    assert code == 0
    assert out == converted("choices").source
    assert err.splitlines() == converted("choices").report.lines()


def test_names_and_places_are_chosen(run, tmp_path):
    target = tmp_path / "dag.py"
    code, out, err = run(
        MACHINES / "by_hand.asl.json", "--dag-id", "my-dag", "--output-file", target, "--report", "json"
    )
    assert (code, out) == (0, "")
    assert '@dag(dag_id="my-dag"' in target.read_text()
    report = json.loads(err)
    assert report.keys() == {"translated", "to_complete", "remarks"}
    assert {each["state"] for each in report["to_complete"]} == {"Filter", "Sum", "Retries?"}


def test_the_standard_input_is_read(run, monkeypatch):
    text = (MACHINES / "choices.asl.json").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, out, _ = run("-")
    assert code == 0
    assert '@dag(dag_id="state_machine"' in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the file is no JSON"),
        ('{"StartAt": "A", "States": {"B": {"Type": "Succeed"}}}', "starts at 'A', which is no state of it"),
        (" " * (2 << 20), f"more than {MAX_BYTES:,} bytes"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, tmp_path, text, message):
    (tmp_path / "machine.json").write_text(text)
    target = tmp_path / "dag.py"
    code, out, _ = run(tmp_path / "machine.json", "--output-file", target)
    assert message in str(code)
    assert str(code).startswith("airflow flowstone: ")
    assert out == ""
    assert not target.exists()


def test_files_that_cannot_be_read_or_written(run, tmp_path):
    code, *_ = run(tmp_path / "none.json")
    assert "none.json: No such file or directory" in str(code)
    code, *_ = run(MACHINES / "choices.asl.json", "--output-file", tmp_path / "none" / "dag.py")
    assert "--output-file" in str(code)


def test_it_runs_without_airflows_command_line(tmp_path):
    words = [sys.executable, "-m", "flowstone_provider.cli.asl", MACHINES / "choices.asl.json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == converted("choices").source
    (tmp_path / "machine.json").write_text("[]")
    done = subprocess.run([*words[:-1], tmp_path / "machine.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("convert-asl: the state machine must be a JSON object")
