"""Reading from a DynamoDB server, through Airflow's connection: what it holds, and what it answers when it does not."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections import Counter
from decimal import Decimal

import pytest

from flowstone_provider.contracts.item_reader import ReaderSpec
from flowstone_provider.errors import (
    ReaderError,
    SourceAccessError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from flowstone_provider.hooks.resources import AirflowResources
from flowstone_provider.readers import dynamodb
from flowstone_provider.readers.dynamodb import DynamodbOptions, DynamodbReader
from flowstone_provider.scatter.options import Batching
from tests.services.dynamodb import connection, fresh_table, make_client, put
from tests.support.processes import free_port
from tests.support.proxy import cutting_proxy
from tests.support.scatters import Scatter

pytestmark = pytest.mark.dynamodb

CONN_ID = "flowstone_dynamodb"


class Resources(AirflowResources):
    """Airflow's, with an eye on the requests, and a hand in them.

    Args:
        answers: (status, error code, message) that come in place of the server's first answers; `None` is its own.
    """

    def __init__(self, answers=()):
        self.answers = iter(answers)
        self.requests = []

    def client(self, service, conn_id=None):
        client = super().client(service, conn_id)
        client.meta.events.register("before-send.dynamodb", self._before_send)
        return client

    def _before_send(self, request, **_):
        from botocore.awsrequest import AWSResponse

        self.requests.append(json.loads(request.body))
        answer = next(self.answers, None)
        if answer is None:
            return None
        status, code, message = answer
        body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, Raw(body.encode()))


class Raw(io.BytesIO):
    def stream(self):
        yield self.read()


@pytest.fixture
def client(dynamodb_url):
    return make_client(dynamodb_url)


@pytest.fixture
def connect(dynamodb_url, monkeypatch):
    """Set the connection, to another server or with other extras."""

    def connect(url=dynamodb_url, **extra):
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(url, **extra))

    connect(config_kwargs={"retries": {"mode": "standard", "total_max_attempts": 3}})
    return connect


@pytest.fixture
def reader(connect, monkeypatch):
    """Make readers with pages of a few items."""
    monkeypatch.setattr(dynamodb, "_PAGE_ITEMS", 5)

    def make(table, resources=None, **options):
        options = {"table": table, "conn_id": CONN_ID, **options}
        return DynamodbReader(DynamodbOptions(**options), resources or Resources())

    return make


@pytest.fixture
def numbers(client):
    """A table with twenty items: ``{"id": "00"}`` and so on."""
    with fresh_table(client, "id:S") as table:
        put(client, table, [{"id": f"{n:02}", "n": n, "status": "even" if n % 2 == 0 else "odd"} for n in range(20)])
        yield table


def items_of(reader, after=None):
    try:
        return [item for page in reader.pages(after) for item in page.items]
    finally:
        reader.close()


def ids(items):
    return sorted(item["id"] for item in items)


def test_every_type_becomes_what_holds_it(client, reader):
    exact = "1234567890123456789012345678901234567.8"
    item = {
        "id": "a",
        "empty": "",
        "null": None,
        "true": True,
        "bytes": b"\x00\xff",
        "integers": [0, -7, 2**63 - 1, -(2**63)],
        "floats": [Decimal("0.1"), Decimal("-19.99"), Decimal("1E+125"), Decimal("1E-130")],
        "decimals": [Decimal(exact), Decimal(2**63), Decimal(10**37 + 1)],
        "nested": {"list": [{"deep": [[], {}]}]},
        "texts": {"b", "a", ""} - {""},
        "number set": {Decimal(10), Decimal("2.5"), Decimal(exact)},
        "byte set": {b"b", b"a"},
    }
    with fresh_table(client, "id:S") as table:
        put(client, table, [item])
        (found,) = items_of(reader(table))
    expected = {
        **item,
        "integers": [0, -7, 2**63 - 1, -(2**63)],
        "floats": [0.1, -19.99, 1e125, 1e-130],
        "texts": ["a", "b"],
        "number set": [2.5, 10, Decimal(exact)],
        "byte set": [b"a", b"b"],
    }
    assert found == expected
    assert [type(number) for number in found["integers"]] == [int] * 4
    assert [type(number) for number in found["floats"]] == [float] * 4
    assert [type(number) for number in found["decimals"]] == [Decimal] * 3


def test_items_of_every_type_are_planned_as_json(client, connect, tmp_path):
    with fresh_table(client, "id:B") as table:
        put(client, table, [{"id": b"\xff", "large": Decimal("12345678901234567890.5"), "set": {Decimal(3)}}])
        spec = ReaderSpec(reader="dynamodb", options={"table": table, "conn_id": CONN_ID})
        scatter = Scatter(tmp_path, spec, batching=Batching(max_items=10))
        scatter.resources = AirflowResources()
        assert scatter.batches() == [[{"id": "/w==", "large": "12345678901234567890.5", "set": [3]}]]


def test_a_reading_goes_on_after_binary_keys(client, reader):
    with fresh_table(client, "id:B", "n:N") as table:
        put(client, table, [{"id": bytes([n]), "n": n} for n in range(12)])
        found, checkpoint = [], None
        while (page := next(reader(table).pages(checkpoint), None)) is not None:
            found += page.items
            checkpoint = json.loads(json.dumps(page.checkpoint))
    assert sorted(item["n"] for item in found) == list(range(12))


def test_a_query_reads_an_index_in_order(client, reader):
    with fresh_table(client, "id:S", index=("kind:S", "n:N")) as table:
        put(client, table, [{"id": str(n), "kind": "ab"[n % 2], "n": -n} for n in range(24)])
        put(client, table, [{"id": "in no index"}])
        options = {"index": "by_kind", "query": "kind = :kind AND n < :n", "values": {":kind": "a", ":n": -4}}
        found = items_of(reader(table, projection="#n, id", names={"#n": "n"}, **options))
        assert found == [{"id": str(n), "n": -n} for n in range(22, 4, -2)]
        latest = items_of(reader(table, forward=False, max_items=7, **options))
        assert [item["n"] for item in latest] == [-6, -8, -10, -12, -14, -16, -18]
        specs = reader(table, index="by_kind").splits(3)
        parts = [items_of(reader(**spec.options)) for spec in specs]
        assert sorted(item["n"] for part in parts for item in part) == list(range(-23, 1))


def test_a_limit_looks_at_no_more_items_than_it_gives(numbers, reader):
    resources = Resources()
    assert len(items_of(reader(numbers, resources, max_items=7))) == 7
    assert [request["Limit"] for request in resources.requests] == [5, 2]
    filtered = reader(numbers, max_items=7, filter="n >= :least", values={":least": 10})
    assert len(items_of(filtered)) == 7


def test_what_is_there_all_the_time_is_read_once_while_others_come_and_go(client, numbers, reader):
    seen, checkpoint = [], None
    for turn in itertools.count():
        page = next(reader(numbers).pages(checkpoint), None)
        if page is None:
            break
        seen += page.items
        # Also the item after which the reading goes on.
        for item in page.items[-2:]:
            client.delete_item(TableName=numbers, Key={"id": {"S": item["id"]}})
        put(client, numbers, [{"id": f"new {turn} {n}", "n": 0} for n in range(2)] if turn < 10 else [])
        checkpoint = page.checkpoint
    found = Counter(ids(seen))
    assert set(found.values()) == {1}
    assert {f"{n:02}" for n in range(20)} <= set(found)


def test_a_batch_keeps_the_items_that_it_found(client, numbers, connect, tmp_path):
    scatter = Scatter(tmp_path, ReaderSpec(reader="dynamodb", options={"table": numbers, "conn_id": CONN_ID}))
    scatter.resources = AirflowResources()
    plan = scatter.plan(limit=2)
    assert [(batch.items, batch.reader is None) for batch in plan.batches] == [(None, False)] * 2
    first = []

    def dies(item):
        if len(first) == 2:
            raise KeyboardInterrupt
        first.append(item)

    for batch in plan.batches:
        first.clear()
        with pytest.raises(KeyboardInterrupt):
            scatter.run(dies, batch.number)
    for n in range(0, 20, 3):
        client.delete_item(TableName=numbers, Key={"id": {"S": f"{n:02}"}})
    put(client, numbers, [{"id": "00", "n": "changed"}, {"id": "new"}])

    rest = []
    scatter.run_all(rest.append)
    assert len(rest) == 16
    assert all(isinstance(item["n"], int) for item in rest)
    assert scatter.gather()["counts"] == {"total": 20, "succeeded": 20, "failed": 0, "pending": 0}


def test_a_table_or_index_that_is_not_there_is_named(numbers, reader):
    with pytest.raises(SourceNotFoundError, match="the DynamoDB table no-such-table does not exist"):
        items_of(reader("no-such-table"))
    with pytest.raises(SourceNotFoundError, match=f"the DynamoDB table {numbers} has no index 'by_day'"):
        items_of(reader(numbers, index="by_day"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"filter": "status = :s", "values": {":s": "odd"}},
            r"reserved keyword: status; write #status in its place, with names={'#status': 'status'}",
        ),
        (
            {"query": "n = :n", "values": {":n": 1}},
            "`query` is the condition on the key of the table or index, any other condition belongs to `filter`",
        ),
        ({"filter": "n > > :n", "values": {":n": 1}}, "Scan says ValidationException: .*Filter ?Expression"),
    ],
)
def test_an_expression_that_dynamodb_refuses_is_explained(numbers, reader, options, message):
    with pytest.raises(ReaderError, match=message) as raised:
        items_of(reader(numbers, **options))
    assert f"the DynamoDB table {numbers}" in str(raised.value)
    assert not raised.value.retryable


REFUSED = [
    (SourceAccessError, 400, "AccessDeniedException", "no permission to read the DynamoDB table"),
    (SourceAccessError, 400, "UnrecognizedClientException", "check the connection's key and secret"),
    (SourceAccessError, 400, "InvalidSignatureException", "check the connection's key and secret"),
    (SourceUnavailableError, 400, "ExpiredTokenException", "the credentials have expired"),
    (SourceUnavailableError, 400, "ProvisionedThroughputExceededException", "throttled, also after several tries"),
    (SourceUnavailableError, 400, "ThrottlingException", "throttled, also after several tries"),
    (SourceUnavailableError, 500, "InternalServerError", "the service failed"),
]


@pytest.mark.parametrize(("error", "status", "code", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_a_refusal_is_explained(numbers, reader, error, status, code, message):
    always = itertools.repeat((status, code, "says the server"))
    with pytest.raises(error, match=message) as raised:
        items_of(reader(numbers, Resources(itertools.chain([None], always))))
    assert f"{code}: says the server" in str(raised.value)
    assert raised.value.data == {"table": numbers, "code": code}
    assert raised.value.retryable == (error is SourceUnavailableError)


def test_throttling_that_passes_is_waited_for(numbers, reader):
    throttled = (400, "ProvisionedThroughputExceededException", "slow down")
    resources = Resources([None, throttled, throttled, None, throttled])
    assert ids(items_of(reader(numbers, resources))) == [f"{n:02}" for n in range(20)]
    assert next(resources.answers, "all were given") == "all were given"


@pytest.fixture
def large_pages(reader, monkeypatch):
    """The first answer has all items, which take some 1,300 bytes, behind some 300 bytes of headers."""
    monkeypatch.setattr(dynamodb, "_PAGE_ITEMS", 1_000)


def test_an_answer_that_is_cut_is_asked_for_again(dynamodb_url, numbers, reader, connect, large_pages):
    with cutting_proxy(dynamodb_url, cut_after_bytes=1_000, times=2) as proxy:
        connect(proxy.url)
        assert ids(items_of(reader(numbers))) == [f"{n:02}" for n in range(20)]
        assert proxy.cuts == 2


def test_a_connection_that_is_always_cut_is_unavailable(dynamodb_url, numbers, reader, connect, large_pages):
    with cutting_proxy(dynamodb_url, cut_after_bytes=1_000, times=math.inf) as proxy:
        connect(proxy.url, config_kwargs={"retries": {"mode": "standard", "total_max_attempts": 3}})
        with pytest.raises(SourceUnavailableError, match=f"the DynamoDB table {numbers}: an answer was cut off"):
            items_of(reader(numbers))
        assert proxy.cuts == 3


def test_an_answer_that_is_cut_within_its_headers_is_no_empty_page(dynamodb_url, numbers, reader, connect):
    with cutting_proxy(dynamodb_url, cut_after_bytes=len("HTTP/1.1 200 OK\r\nDate: "), times=1) as proxy:
        connect(proxy.url)
        with pytest.raises(SourceUnavailableError, match=f"the DynamoDB table {numbers}: an answer was cut off"):
            items_of(reader(numbers))
        assert proxy.cuts == 1


def test_a_server_that_is_not_there_is_unavailable(reader, connect):
    connect(f"http://127.0.0.1:{free_port()}", config_kwargs={"retries": {"total_max_attempts": 1}})
    with pytest.raises(SourceUnavailableError, match="EndpointConnectionError"):
        items_of(reader("orders"))


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"region_name": "us-east-1"}, SourceAccessError, "there are no credentials"),
        ({}, ReaderError, "You must specify a region"),
    ],
)
def test_a_connection_that_lacks_something_is_told(reader, monkeypatch, no_credentials, extra, error, message):
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "aws", "extra": extra}))
    with pytest.raises(error, match=message):
        items_of(reader("orders"))
