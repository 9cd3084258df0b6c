"""Reading a DynamoDB table in four segments at once, against the same scan with boto3 alone.

Of boto3 there are two: its client, whose answers name the type of every value (``{"N": "1"}``), and its resource, which
gives Python values as the reader does. The claim is about the first, the quicker one. They take turns, four threads
each, against DynamoDB Local: needs java and npm, or the folder of its jar in FLOWSTONE_TEST_DYNAMODB_LOCAL.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from _bench import ROOT, Finding, main, scratch

SEGMENTS = 4
ROUNDS = 5


def an_order(number: int) -> dict[str, Any]:
    """An item of ten attributes, some 500 bytes."""
    return {
        "id": f"order-{number:08}",
        "created": f"2026-03-{number % 28 + 1:02}T12:{number % 60:02}:00Z",
        "status": ("new", "paid", "sent")[number % 3],
        "total": Decimal(number % 100_000) / 100,
        "quantity": number % 7,
        "customer": {"id": number % 5_000, "name": f"Customer {number % 5_000}", "vip": number % 9 == 0},
        "address": {
            "street": f"{number % 200} Long Street",
            "city": "Zürich",
            "geo": [Decimal("47.37"), Decimal("8.54")],
        },
        "lines": [
            {"sku": f"sku-{number % 97 + line}", "price": Decimal("19.99"), "count": line + 1} for line in range(2)
        ],
        "tags": {"online", f"campaign-{number % 12}"},
        "note": None,
    }


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    sys.path.insert(0, str(ROOT))
    import boto3

    from flowstone_provider import registry
    from flowstone_provider.contracts.item_reader import ReaderSpec
    from tests.services.dynamodb import KEY, REGION, SECRET, fresh_table, make_client, put
    from tests.services.dynamodb_local import running_dynamodb_local
    from tests.support.resources import ServiceResources

    with scratch() as folder, running_dynamodb_local(folder) as url:
        # One for each thread, made beforehand: making a client takes longer than a page.
        clients = [make_client(url) for _ in range(SEGMENTS)]
        account = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
        tables = [boto3.resource("dynamodb", endpoint_url=url, **account) for _ in range(SEGMENTS)]
        with fresh_table(clients[0], "id:S") as table, ThreadPoolExecutor(SEGMENTS) as pool:
            list(pool.map(lambda n: put(clients[n], table, map(an_order, range(n, options.items, SEGMENTS))), range(4)))
            specs = registry.create_reader(
                ReaderSpec(reader="dynamodb", options={"table": table}), ServiceResources()
            ).splits(SEGMENTS)

            def ours(segment: int) -> int:
                resources = ServiceResources(aws=lambda service: clients[segment])
                reader = registry.create_reader(specs[segment], resources)
                return sum(len(page.items) for page in reader.pages())

            def client(segment: int) -> int:
                pages = (
                    clients[segment]
                    .get_paginator("scan")
                    .paginate(TableName=table, Segment=segment, TotalSegments=SEGMENTS)
                )
                return sum(len(page["Items"]) for page in pages)

            def resource(segment: int) -> int:
                count, start = 0, {}
                while start is not None:
                    page = tables[segment].Table(table).scan(Segment=segment, TotalSegments=SEGMENTS, **start)
                    count += len(page["Items"])
                    last = page.get("LastEvaluatedKey")
                    start = {"ExclusiveStartKey": last} if last else None
                return count

            def rate(read: Callable[[int], int]) -> float:
                began = time.perf_counter()
                count = sum(pool.map(read, range(SEGMENTS)))
                if count != options.items:
                    raise RuntimeError(f"{count} items of {options.items}")
                return count / (time.perf_counter() - began)

            readings = [ours, client, resource]
            for read in readings:
                rate(read)
            rounds = [[rate(read) for read in readings] for _ in range(ROUNDS)]
    rates = [statistics.median(column) for column in zip(*rounds, strict=True)]
    yield Finding(
        f"items a second of a DynamoDB table, over boto3's client ({SEGMENTS} segments)",
        statistics.median(own / bare for own, bare, _ in rounds),
        0.85,
        "×",
        at_least=True,
        details={
            "items": options.items,
            "per_second": rates[0],
            "boto3_client_per_second": rates[1],
            "boto3_resource_per_second": rates[2],
            "over_boto3_resource": rates[0] / rates[2],
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, items=20_000)
