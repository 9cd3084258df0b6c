"""Tables on a DynamoDB server, which the tests' own keys open."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: Both emulators take any key; Amazon's takes only letters and digits.
KEY = SECRET = "flowstone"
REGION = "us-east-1"

# API reference, "BatchWriteItem".
_MOST_WRITES = 25


def make_client(url: str, **config: Any) -> Any:
    """A boto3 client for the server.

    Args:
        url: Of the server.
        **config: Of botocore's ``Config``, such as ``retries``.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(**config),
    )


def connection(url: str, **extra: Any) -> str:
    """The Airflow connection to the server, as JSON for ``AIRFLOW_CONN_…``."""
    extra = {"endpoint_url": url, "region_name": REGION, **extra}
    return json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET, "extra": extra})


@contextmanager
def fresh_table(client: Any, *key: str, index: tuple[str, ...] | None = None) -> Iterator[str]:
    """Make a table; yield its name; delete it.

    Args:
        client: Of the server.
        *key: The names of partition key and sort key, each with its type: ``"id:S"``.
        index: The same for a global index, which is then named ``by_`` and its partition key.
    """
    name = f"flowstone-{uuid.uuid4().hex[:12]}"
    types = dict(part.split(":") for part in [*key, *(index or ())])
    indexes = {}
    if index:
        schema = {"IndexName": f"by_{index[0].split(':')[0]}", "KeySchema": _schema(index)}
        indexes = {"GlobalSecondaryIndexes": [{**schema, "Projection": {"ProjectionType": "ALL"}}]}
    client.create_table(
        TableName=name,
        KeySchema=_schema(key),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        BillingMode="PAY_PER_REQUEST",
        **indexes,
    )
    try:
        client.get_waiter("table_exists").wait(TableName=name)
        yield name
    finally:
        client.delete_table(TableName=name)


def put(client: Any, table: str, items: Iterable[dict[str, Any]]) -> None:
    """Write items as boto3's own resource would."""
    from boto3.dynamodb.types import TypeSerializer

    serialize = TypeSerializer().serialize
    requests = [{"PutRequest": {"Item": serialize(item)["M"]}} for item in items]
    for start in range(0, len(requests), _MOST_WRITES):
        left = {table: requests[start : start + _MOST_WRITES]}
        while left:
            left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]


def _schema(key: Iterable[str]) -> list[dict[str, str]]:
    kinds = ("HASH", "RANGE")
    return [{"AttributeName": part.split(":")[0], "KeyType": kind} for part, kind in zip(key, kinds, strict=False)]
