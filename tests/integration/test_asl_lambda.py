"""A converted machine of Lambda functions, against a server that answers as Lambda and SNS do."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.dags import run_dag, states
from tests.support.step_functions import converted, dag_of

ANSWERS: dict[str, Any] = {
    "check-order": {"available": True, "total": 1500},
    "ask-for-credit": {"granted": True},
    "charge-card": {"errorType": "CardDeclined", "errorMessage": "no money"},
}


class Aws(ThreadingHTTPServer):
    """Notes what it is asked, and answers with `ANSWERS`; those with an errorType are failures of the function."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.invoked: list[tuple[str, Any]] = []
        self.published: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Aws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        if "/functions/" in self.path:
            name = self.path.split("/functions/")[1].partition("/")[0].rpartition("%3A")[2]
            self.server.invoked.append((name, json.loads(body)))
            if "errorType" in ANSWERS[name]:
                self.send_header("X-Amz-Function-Error", "Unhandled")
            answer = json.dumps(ANSWERS[name]).encode()
        else:
            self.server.published.append(parse_qs(body.decode())["Message"][0])
            answer = b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def aws(monkeypatch):
    server = Aws()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    extra = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "region_name": "eu-central-1"}
    connection = {"conn_type": "aws", "login": "any", "password": "any", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    yield server
    server.shutdown()
    server.server_close()


def test_operators_are_given_what_step_functions_gives_and_errors_are_caught_by_name(
    airflow_db, configure, aws, tmp_path
):
    configure("storage", f"file://{tmp_path}/flowstone")
    source = converted("order_processing").source.replace("retries=3", "retries=0")
    run = run_dag(dag_of(source, tmp_path / "orders.py"), {"order": 7, "customer": "Ada"})
    assert str(run.state) == "success", states(run)
    check = {"order": 7, "customer": "Ada", "check": ANSWERS["check-order"]}
    assert aws.invoked == [
        ("check-order", {"order": 7, "customer": "Ada"}),
        ("ask-for-credit", {"customer": "Ada", "amount": 1500}),
        ("charge-card", {**check, "credit": {"granted": True}}),
    ]
    (message,) = aws.published
    assert json.loads(message)["default"].startswith('Order 7 was declined: {"errorType": "CardDeclined"')
    found = states(run)
    assert found["charge_card.call"] == "failed"
    assert found["declined"] == "success"
    assert {found[name] for name in ("payment_failed", "out_of_stock", "shipped")} == {"skipped"}
