"""``airflow flowstone assets …``, as typed."""

from __future__ import annotations

import io
import json
import os
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest
from airflow.cli import cli_parser
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task
from airflow.utils.session import create_session

from flowstone_provider.cli.backfill import backfill
from flowstone_provider.contracts.io_manager import AssetKey
from flowstone_provider.contracts.partition import encode
from flowstone_provider.errors import OptionsError
from flowstone_provider.registry import create_io_manager
from tests.integration.test_cli import airflow, airflow_process, storage  # noqa: F401  (fixtures)
from tests.support.dags import make_known


@pytest.fixture
def assets(airflow, configure, tmp_path, capsys):  # noqa: F811
    """Run a command of the group, with an alias ``lake``; gives what it prints."""
    configure("io_managers", json.dumps({"lake": {"use": "file", "path": f"file://{tmp_path}/lake"}}))

    def run(*words, **how):
        capsys.readouterr()  # what the test itself made Airflow say
        return airflow("assets", *words, **how)

    return run


def store(asset, *partitions, value=None):
    for partition in partitions:
        create_io_manager("lake").store(AssetKey(asset, partition), value or {"partition": str(partition)})


LAKE = ("--io-manager", "lake")


def test_list_says_which_assets_there_are(assets):
    assert assets("list", *LAKE) == "the IO manager lake has no asset\n"
    store("a/settings", None, value=[1, 2, 3])
    store("flights", "2013-01-01", "2013-01-02")
    (settings, flights) = json.loads(assets("list", *LAKE, "-o", "json"))
    assert {**settings, "stored_at": None} == {
        "asset": "a/settings",
        "partitions": 0,
        "rows": None,
        "bytes": 7,
        "stored_at": None,
    }
    assert (flights["asset"], flights["partitions"]) == ("flights", 2)
    head, *lines = assets("list", *LAKE).splitlines()
    assert head.split() == ["asset", "partitions", "rows", "bytes", "stored_at"]
    assert [line.split()[:2] for line in lines] == [["a/settings", "0"], ["flights", "2"]]
    assert assets("list") == "the IO manager file has no asset\n", "by default it is the IO manager file"


def test_show_says_what_is_stored(assets):
    table = pa.table({"n": range(1_500), "text": ["x"] * 1_500})
    store("flights", "eu west", value=table)
    out = assets("show", "flights", "--partition", "eu~20west", *LAKE)
    assert "rows        1,500\n" in out
    assert "io_manager  lake\n" in out
    assert "checksum    sha256:" in out
    assert "\nschema\n  n: int64\n  text: string\n" in out
    shown = json.loads(assets("show", "flights", "--partition", "eu~20west", *LAKE, "-o", "json"))
    assert (shown["partition"], shown["rows"], shown["schema"]["n"]) == ("eu~20west", 1_500, "int64")
    assert "the IO manager lake has no value of flights; there are the partitions eu~20west" in assets(
        "show", "flights", *LAKE, code=1
    )
    assert "has no value of fligths, nor any partition of it" in assets("show", "fligths", *LAKE, code=1)
    assert "that of 'eu west' is 'eu~20west'" in assets("show", "flights", "--partition", "eu west", *LAKE, code=1)
    assert "did you mean 'lake'" in assets("show", "flights", "--io-manager", "lakes", code=1)


def test_partitions_says_which_there_are(assets):
    store("flights", None, "2013-01", ("eu", "2013-01-02"))
    lines = assets("partitions", "flights", *LAKE).splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [["2013-01", "json"], ["eu|2013-01-02", "json"]]
    found = json.loads(assets("partitions", "flights", *LAKE, "-o", "json"))
    assert [each["partition"] for each in found] == ["2013-01", "eu|2013-01-02"]
    assert "has no partition of planes" in assets("partitions", "planes", *LAKE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--from", "2012-11", "--to", "2013-02", "--every", "month"), ["2012-11", "2012-12", "2013-02"]),
        (("--from", "2012-12-30", "--to", "2013-01-01", "--every", "day"), ["2012-12-30", "2012-12-31"]),
        (("--from", "2011", "--to", "2013", "--every", "year"), ["2011", "2012"]),
        (
            ("--from", "2013-01-01T22:00", "--to", "2013-01-02T00:30", "--every", "hour"),
            ["2013-01-01T22:00:00", "2013-01-02T00:00:00"],
        ),
        (("--keys", "a, b,2013,a"), ["a", "b"]),
    ],
)
def test_missing_says_what_should_be_there(assets, words, expected):
    store("flights", "2013", "2013-01", "2013-01-01", datetime(2013, 1, 1, 23, tzinfo=timezone.utc))
    assert assets("missing", "flights", *words, *LAKE).split() == expected
    assert json.loads(assets("missing", "flights", *words, *LAKE, "-o", "json")) == expected


def test_keys_come_from_a_file_or_another_command(assets, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text("a\n\n b \n")
    assert assets("missing", "flights", "--keys", f"@{tmp_path}/keys", *LAKE).split() == ["a", "b"]
    monkeypatch.setattr("sys.stdin", io.StringIO("c\n"))
    assert assets("missing", "flights", "--keys", "@-", *LAKE).split() == ["c"]


def test_the_last_day_of_a_span_is_part_of_it(assets):
    span = ("--from", "2024-02", "--to", "2024-02")
    days = assets("missing", "flights", *span, "--every", "day", *LAKE).split()
    assert (days[0], days[-1], len(days)) == ("2024-02-01", "2024-02-29", 29)
    assert len(assets("missing", "flights", *span, "--every", "hour", *LAKE).split()) == 29 * 24


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say which partitions"),
        (("--from", "2013", "--to", "2014"), "say which partitions"),
        (("--keys", "a", "--from", "2013", "--to", "2014", "--every", "day"), "say which partitions"),
        (("--from", "2014", "--to", "2013", "--every", "day"), "is later than"),
        (("--from", "2013-02-30", "--to", "2014", "--every", "day"), "'2013-02-30' is no time"),
        (("--keys", "@/nowhere"), "No such file"),
        (("--keys", "a/b"), "that of 'a/b' is 'a~2Fb'"),
    ],
)
def test_what_is_not_clear_is_refused(assets, words, message):
    assert message in assets("missing", "flights", *words, *LAKE, code=1)


def test_clean_removes_what_dead_stores_left(assets, tmp_path):
    store("flights", "2013")
    folder = tmp_path / "lake" / "flights" / "p=2013"
    (folder / f"{'0' * 32}-00000.bin").write_bytes(b"x" * 1_234)
    assert assets("clean", "--older-than", "1d", *LAKE) == "removed 0 bytes\n"
    old = (datetime.now(timezone.utc) - timedelta(days=2)).timestamp()
    for path in folder.iterdir():
        os.utime(path, (old, old))
    assert assets("clean", "--older-than", "1d", *LAKE) == "removed 1,234 bytes\n"
    assert create_io_manager("lake").exists(AssetKey("flights", "2013"))
    assert "required" in assets("clean", *LAKE, code=1)


@pytest.fixture
def dag(airflow_db, request):
    """A DAG of the test's own that Airflow knows, paused; its id."""
    with DAG(request.node.originalname, schedule=getattr(request, "param", None)) as dag:

        @task
        def work(): ...

        work()
    make_known(dag)
    with create_session() as session:
        session.get(DagModel, dag.dag_id).is_paused = True
    return dag.dag_id


def runs(dag_id):
    return sorted(DagRun.find(dag_id=dag_id), key=lambda run: run.id)


def test_backfill_makes_a_run_for_each_partition(assets, dag):
    would = assets("backfill", dag, "--keys", "a,b", "--dry-run")
    assert would.splitlines() == ["a  flowstone__a  would be created", "b  flowstone__b  would be created"]
    assert runs(dag) == []
    assets("backfill", dag, "--keys", "a,b")
    assert [(run.run_id, run.conf, str(run.state)) for run in runs(dag)] == [
        ("flowstone__a", {"partition": "a"}, "queued"),
        ("flowstone__b", {"partition": "b"}, "queued"),
    ]


def test_backfill_makes_no_second_run_unless_told_to(assets, dag):
    assets("backfill", dag, "--keys", "a")
    out = assets("backfill", dag, "--keys", "a,b")
    assert out.splitlines() == ["a  flowstone__a  queued", "b  flowstone__b  created"]
    (again,) = json.loads(assets("backfill", dag, "--keys", "a", "--again", "-o", "json"))
    assert again["state"] == "created"
    assert again["run_id"].startswith("flowstone__a__")
    assert [run.conf["partition"] for run in runs(dag)] == ["a", "b", "a"]


def test_backfill_fills_what_an_asset_lacks(assets, dag):
    store("flights", "2013-02")
    span = ("--from", "2013-01", "--to", "2013-03", "--every", "month")
    assets("backfill", dag, *span, "--missing", "flights", *LAKE)
    assert [run.conf["partition"] for run in runs(dag)] == ["2013-01", "2013-03"]


def test_a_date_is_also_the_logical_date(assets, dag):
    assets("backfill", dag, "--keys", "2013-01-15,2013-01-15T09:30:00,text")
    dates = [run.logical_date for run in runs(dag)]
    assert dates == [
        datetime(2013, 1, 15, tzinfo=timezone.utc),
        datetime(2013, 1, 15, 9, 30, tzinfo=timezone.utc),
        None,
    ]


def test_a_date_that_has_a_run_already_gets_none(assets, dag):
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    at = datetime(2013, 1, 15, tzinfo=timezone.utc)
    trigger_dag(dag, triggered_by=DagRunTriggeredByType.CLI, run_id="mine", logical_date=at)
    assert assets("backfill", dag, "--keys", "2013-01-15") == "2013-01-15  mine  queued\n"
    (again,) = json.loads(assets("backfill", dag, "--keys", "2013-01-15", "--again", "-o", "json"))
    assert (again["state"], len(runs(dag))) == ("created", 2)


def test_two_partitions_of_one_moment_have_one_run(assets, dag):
    midnight = ("--keys", "2013-01-15,2013-01-15T00:00:00")
    made = json.loads(assets("backfill", dag, *midnight, "-o", "json"))
    assert [(each["run_id"], each["state"]) for each in made] == [
        ("flowstone__2013-01-15", "created"),
        ("flowstone__2013-01-15", "queued"),
    ]
    assert [run.run_id for run in runs(dag)] == ["flowstone__2013-01-15"]


def test_any_partition_has_a_run_id(assets, dag, tmp_path):
    partitions = ["a..b", ("eu/w", "2013-01-01"), "é" * 20, "x" * 250, "x" * 249]
    (tmp_path / "keys").write_text("\n".join(map(encode, partitions)))
    made = json.loads(assets("backfill", dag, "--keys", f"@{tmp_path}/keys", "-o", "json"))
    assert [each["state"] for each in made] == ["created"] * 5
    assert len({each["run_id"] for each in made}) == 5
    found = [run.conf["partition"] for run in runs(dag)]
    assert found == [list(each) if isinstance(each, tuple) else each for each in partitions], "as a template wants them"


@pytest.mark.airflow("3.3")
def test_a_partitioned_dag_gets_partition_keys(assets, airflow_db):
    from airflow.sdk import PartitionedAtRuntime

    with DAG("partitioned_backfill", schedule=PartitionedAtRuntime()) as dag:

        @task
        def work(): ...

        work()
    make_known(dag)
    assets("backfill", dag.dag_id, "--keys", "eu|2013-01-15")
    (run,) = runs(dag.dag_id)
    assert (run.partition_key, run.logical_date) == ("eu|2013-01-15", None)
    assert run.conf == {"partition": ["eu", "2013-01-15"]}
    assert assets("backfill", dag.dag_id, "--keys", "eu|2013-01-15").endswith("queued\n")


def test_a_backfill_in_a_process_of_its_own_prints_nothing_else(dag, tmp_path):
    words = ("assets", "backfill", dag, "--keys", "a")
    done = airflow_process(tmp_path, *words)
    assert done.stdout == "a  flowstone__a  created\n"
    assert f"1 runs of {dag} were created\n{dag} is paused: its runs wait until" in done.stderr
    again = airflow_process(tmp_path, *words)
    assert again.stdout == "a  flowstone__a  queued\n"
    assert f"0 runs of {dag} were created; 1 partitions have one" in again.stderr
    assert "paused" not in again.stderr


def test_a_dag_that_is_not_there_is_named(assets, airflow_db):
    assert "there is no DAG 'nothing'" in assets("backfill", "nothing", "--keys", "a", code=1)


def parser_words(*words):
    return cli_parser.get_parser().parse_args(["flowstone", "assets", "backfill", *words])


def test_a_run_that_airflow_refuses_is_named(assets, airflow_db, capsys):
    from airflow.sdk import Param

    with DAG("only_months", schedule=None, params={"partition": Param(type="string", pattern=r"^\d{4}-\d\d$")}) as dag:

        @task
        def work(): ...

        work()
    make_known(dag)
    said = assets("backfill", "only_months", "--keys", "2013-01,week", code=1)
    assert "only_months has no run for the partition week" in said
    assert [run.conf["partition"] for run in runs("only_months")] == ["2013-01"]
    with pytest.raises(OptionsError, match="for the partition week"):
        backfill(parser_words("only_months", "--keys", "2013-02,week", "-o", "json"))
    (made,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert made == {"partition": "2013-02", "run_id": "flowstone__2013-02", "state": "created"}
