"""The services behind the fixtures answer, and Airflow reaches them."""

from __future__ import annotations

import psycopg2
import pytest
from airflow.sdk import ObjectStoragePath


@pytest.mark.s3
def test_airflow_reads_and_writes_the_bucket(s3):
    ObjectStoragePath(s3.url("a/b.txt")).write_text("written")
    assert s3.get("a/b.txt") == b"written"
    s3.put("a/c.txt", "put")
    assert sorted(path.name for path in ObjectStoragePath(s3.url("a/")).iterdir()) == ["b.txt", "c.txt"]
    assert s3.keys() == ["a/b.txt", "a/c.txt"]


def test_each_test_has_a_database_of_its_own(postgres_database):
    connection = psycopg2.connect(postgres_database)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE numbers AS SELECT generate_series(1, 3) AS n")
        cursor.execute("SELECT sum(n) FROM numbers")
        assert cursor.fetchone() == (6,)
    connection.close()


def test_dynamodb_answers(dynamodb_url, monkeypatch):
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_url,
        region_name="us-east-1",
        aws_access_key_id="flowstone",
        aws_secret_access_key="flowstone",
    )
    assert "TableNames" in client.list_tables()
