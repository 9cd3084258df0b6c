"""The reader of DynamoDB passes the suite that we give to plugin authors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flowstone_provider.readers import dynamodb
from flowstone_provider.readers.dynamodb import DynamodbReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.services.dynamodb import fresh_table, make_client, put
from tests.support.resources import ServiceResources

pytestmark = pytest.mark.dynamodb


@pytest.fixture(autouse=True, scope="class")
def server(request: pytest.FixtureRequest, dynamodb_url: str) -> Iterator[None]:
    """Tables are made once for all tests of a class: no test writes."""
    cls = request.cls
    cls.client = make_client(dynamodb_url)
    cls.resources = ServiceResources(aws=lambda service: cls.client)
    cls.sources = {}
    with ExitStack() as stack:
        cls.stack = stack
        yield


class OnDynamodb(ItemReaderContract):
    ordered = False

    count = 20
    many = 70

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dynamodb, "_PAGE_ITEMS", 5)

    def make_source(self, folder, count):
        if count not in self.sources:
            self.sources[count] = self.fill(count)
        return self.sources[count]

    def fill(self, count: int) -> tuple[dict[str, Any], list[Any]]:
        raise NotImplementedError

    def table(self, *key: str, **options: Any) -> str:
        return self.stack.enter_context(fresh_table(self.client, *key, **options))

    def in_order(self, table: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As the server scans them, which is by a hash that nobody knows."""
        by_id = {item["id"]: item for item in items}
        pages = self.client.get_paginator("scan").paginate(TableName=table)
        return [by_id[found["id"]["S"]] for page in pages for found in page["Items"] if found["id"]["S"] in by_id]


def an_item(number: int) -> dict[str, Any]:
    return {"id": f"{number:05}", "n": number, "text": "Grüße 🌍 " * 100, "tags": {"x": [number, None, True, ""]}}


class TestScan(OnDynamodb):
    reader = DynamodbReader
    splittable = True

    def fill(self, count):
        table = self.table("id:S")
        items = [an_item(number) for number in range(count)]
        put(self.client, table, items)
        return {"table": table, "consistent_read": True}, self.in_order(table, items)


class TestFilteredScan(OnDynamodb):
    reader = DynamodbReader
    splittable = True
    count = 12

    def fill(self, count):
        table = self.table("id:S")
        wanted = [{**an_item(number), "state": "open"} for number in range(count)]
        # So many others that the filter empties whole pages, in whatever order they come.
        others = [{"id": f"{number:05}", "state": "closed"} for number in range(count, 3 * count)]
        put(self.client, table, [*wanted, *others])
        options = {"filter": "#state = :state", "names": {"#state": "state"}, "values": {":state": "open"}}
        return {"table": table, **options}, self.in_order(table, wanted)

    def test_an_empty_page_does_not_end_the_reading(self, source):
        options, expected = source
        pages = [page.items for page in self.make_reader(options).pages()]
        assert [] in pages[:-1]
        assert sum(map(len, pages)) == len(expected)


class TestQuery(OnDynamodb):
    reader = DynamodbReader

    def fill(self, count):
        table = self.table("group:S", "n:N")
        items = [{**an_item(number), "group": "a"} for number in range(count)]
        others = [{**an_item(number), "group": group} for number in range(5) for group in "bc"]
        put(self.client, table, [*items, *others])
        names, values = {"#group": "group"}, {":group": "a"}
        return {"table": table, "query": "#group = :group", "names": names, "values": values}, items
