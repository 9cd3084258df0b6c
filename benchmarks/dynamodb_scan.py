"""Reading a DynamoDB table in four segments at once, against the same scan with boto3 alone.

Of boto3 there are two: its client, whose answers name the type of every value (``{"N": "1"}``), and its resource, which
gives Python values as the reader does. The claim is about the first, the quicker one. They take turns, slice by slice
of the table and with four threads each, against DynamoDB Local: needs java and npm, or the folder of its jar in
FLOWSTONE_TEST_DYNAMODB_LOCAL.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from _bench import ROOT, Finding, main, scratch

SEGMENTS = 4
SLICES = 5
ROUNDS = 2


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
            whole = ReaderSpec(reader="dynamodb", options={"table": table})
            specs = registry.create_reader(whole, ServiceResources()).splits(SLICES * SEGMENTS)

            def ours(thread: int, segment: int) -> int:
                resources = ServiceResources(aws=lambda service: clients[thread])
                reader = registry.create_reader(specs[segment], resources)
                return sum(len(page.items) for page in reader.pages())

            def client(thread: int, segment: int) -> int:
                scan = clients[thread].get_paginator("scan")
                pages = scan.paginate(TableName=table, Segment=segment, TotalSegments=len(specs))
                return sum(len(page["Items"]) for page in pages)

            def resource(thread: int, segment: int) -> int:
                scan = tables[thread].Table(table).scan
                count, start = 0, {}
                while start is not None:
                    page = scan(Segment=segment, TotalSegments=len(specs), **start)
                    count += len(page["Items"])
                    last = page.get("LastEvaluatedKey")
                    start = {"ExclusiveStartKey": last} if last else None
                return count

            def read(how: Callable[[int, int], int], number: int) -> Counter[str]:
                began, used = time.perf_counter(), time.process_time()
                segments = range(number * SEGMENTS, (number + 1) * SEGMENTS)
                items = sum(pool.map(how, range(SEGMENTS), segments))
                return Counter(items=items, s=time.perf_counter() - began, cpu=time.process_time() - used)

            ways = [ours, client, resource]
            for how in ways:
                read(how, 0)
            sums = {how: Counter() for how in ways}
            for turn in range(ROUNDS * SLICES):
                for how in ways if turn % 2 else ways[::-1]:
                    sums[how] += read(how, turn % SLICES)
    if {total["items"] for total in sums.values()} != {ROUNDS * options.items}:
        raise RuntimeError(f"not every item was read once in a round: {sums}")
    yield Finding(
        f"items a second of a DynamoDB table, over boto3's client ({SEGMENTS} threads)",
        sums[client]["s"] / sums[ours]["s"],
        0.85,
        "×",
        at_least=True,
        details={
            "items": options.items,
            "per_second": sums[ours]["items"] / sums[ours]["s"],
            "boto3_client_per_second": sums[client]["items"] / sums[client]["s"],
            "boto3_resource_per_second": sums[resource]["items"] / sums[resource]["s"],
            "over_boto3_resource": sums[resource]["s"] / sums[ours]["s"],
            "over_boto3_client_by_processor_time": sums[client]["cpu"] / sums[ours]["cpu"],
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, items=20_000)
