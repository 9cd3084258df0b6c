"""The reader passes the suite of flowstone_provider, and says what is wrong with a server."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from flowstone_reader_http import HttpReader

from flowstone_provider.errors import OptionsError, ReaderError, SourceAccessError, SourceNotFoundError
from flowstone_provider.errors import SourceUnavailableError as Unavailable
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.registry import readers
from flowstone_provider.testing.item_reader import ItemReaderContract


class Api(ThreadingHTTPServer):
    """A web API with items, and with answers that come before them."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/flights"
        self.items, self.faults, self.asked, self.tokens = [], [], [], set()
        self.retry_after = "0"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections, as real servers do
    disable_nagle_algorithm = True

    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.server.asked.append(query)
        self.server.tokens.add(self.headers.get("Authorization"))
        status, body = self.server.faults.pop(0) if self.server.faults else (200, self.page(query))
        self.send_response(status)
        self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def page(self, query):
        start, items = int(query.get("cursor", 0)), self.server.items
        end = start + int(query["limit"])
        return json.dumps({"items": items[start:end], "next": str(end) if end < len(items) else None})

    def log_message(self, *args):
        pass


@pytest.fixture
def api():
    with Api() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


# [START contract]
class TestHttp(ItemReaderContract):
    reader = HttpReader
    count = 100

    @pytest.fixture(autouse=True)
    def server(self, api):
        self.api = api

    def make_source(self, folder, count):
        self.api.items = [{"n": n, "text": f"flight {n}"} for n in range(count)]
        return {"url": self.api.url, "page_size": max(count // 10, 1)}, self.api.items


# [END contract]


def read(api, **options):
    reader = HttpReader(HttpReader.options(**{"url": api.url, **options}), Connections())
    return [item for page in reader.pages() for item in page.items]


class Connections(LocalResources):
    def connection(self, conn_id):
        return SimpleNamespace(password="s3cret\n")


# [START faults]
@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((401, ""), SourceAccessError, r"/v1/flights, after 0 items, answers 401: give conn_id="),
        ((403, ""), SourceAccessError, "answers 403"),
        ((404, ""), SourceNotFoundError, "answers 404: is the URL right"),
        ((302, ""), ReaderError, "answers 302 instead of 200"),
        ((200, "<html>"), ReaderError, "answers no JSON: Expecting value"),
        ((200, "[1]"), ReaderError, "answers without a list 'items'"),
        ((200, '{"items": null}'), ReaderError, "answers without a list 'items'"),
    ],
)
def test_a_wrong_answer_is_said_and_not_asked_for_again(api, answer, error, message):
    api.faults = [answer]
    with pytest.raises(error, match=message) as raised:
        read(api, conn_id="api")
    assert not raised.value.retryable
    assert "s3cret" not in str(raised.value)
    assert len(api.asked) == 1


def test_a_busy_server_is_asked_again(api):
    api.items = [1, 2, 3]
    api.faults = [(503, ""), (429, ""), (500, "")]
    assert read(api, page_size=2) == [1, 2, 3]
    api.faults = [(503, "")] * 4
    with pytest.raises(Unavailable, match="answers 503, also after some attempts") as raised:
        read(api)
    assert raised.value.retryable


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were not waited."""
    seconds = []
    monkeypatch.setattr("tenacity.nap.time.sleep", seconds.append)
    return seconds


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", [7, 7, 7]), ("3600", [60, 60, 60]), ("Fri, 31 Dec 2027 23:59:59 GMT", [1, 2, 4])],
)
def test_a_busy_server_says_how_long_it_wants_to_be_left_alone(api, waits, asked, waited):
    api.retry_after, api.faults = asked, [(429, "")] * 3
    assert read(api) == []
    assert waits == waited


def test_a_server_that_is_away_is_asked_again_and_worth_another_try(api, waits):
    api.shutdown()
    api.server_close()
    with pytest.raises(Unavailable, match="cannot be reached: ConnectError"):
        read(api)
    assert waits == [1, 2, 4]


# [END faults]


def test_the_token_is_the_password_of_the_connection(api):
    read(api)
    read(api, conn_id="api")
    assert api.tokens == {None, "Bearer s3cret"}


def test_pages_are_asked_for_by_cursor_and_not_more_than_needed(api):
    api.items = list(range(100))
    assert read(api, page_size=30, max_items=50) == list(range(50))
    assert api.asked == [{"limit": "30"}, {"limit": "30", "cursor": "30"}]


def test_a_cursor_that_leads_nowhere_does_not_read_forever(api):
    api.faults = [(200, '{"items": [1], "next": "a"}')] * 3
    with pytest.raises(ReaderError, match="after 2 items, gives the same cursor twice"):
        read(api)


@pytest.mark.parametrize("url", ["ftp://a", "https://me:word@a/b", "https://a/b?token=x"])
def test_a_wrong_url_fails_where_it_is_written(url):
    with pytest.raises(OptionsError, match="must "):
        HttpReader.options(url=url)
    assert HttpReader.options(url="{{ params.url }}").url == "{{ params.url }}"


def test_it_is_found_by_its_name():
    assert readers.resolve("http").cls is HttpReader
