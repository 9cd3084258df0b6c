"""What the readers of S3 do before they ask a server: their options, and the cutting of a listing."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from flowstone_provider.errors import OptionsError
from flowstone_provider.readers import _s3_ranges
from flowstone_provider.readers._listing import SourceFile
from flowstone_provider.readers._s3_ranges import Tally, cut_keys
from flowstone_provider.readers.s3 import S3Options
from flowstone_provider.readers.s3_inventory import S3InventoryOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bucket": "s3://raw/2026/"}, r"the bucket is 'raw' and the prefix '2026/'"),
        ({"bucket": ""}, "no name of a bucket"),
        ({"bucket": "my_conn@raw"}, "`conn_id`"),
        ({"bucket": "raw--use1-az4--x-s3"}, "directory bucket"),
        ({"bucket": "raw", "contents": "xml"}, "'csv', 'json', 'jsonl' or 'parquet'"),
        ({"bucket": "raw", "concurrency": 8}, "`concurrency` has no effect without `contents`"),
        ({"bucket": "raw", "contents_options": {}}, "`contents_options` has no effect"),
        ({"bucket": "raw", "contents": "csv", "concurrency": 0}, "greater than or equal to 1"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"path": "x"}}, "cannot have 'path'"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"max_items": 1}}, "cannot have 'max_items'"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"conn_id": "x"}}, "cannot have 'conn_id'"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"part": None}}, "cannot have 'part'"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"delimeter": ";"}}, "did you mean 'delimiter'"),
        ({"bucket": "raw", "contents": "csv", "contents_options": {"delimiter": ";;"}}, "no single character"),
    ],
)
def test_a_wrong_option_is_refused_when_it_is_written(options, message):
    with pytest.raises(OptionsError, match=message):
        S3Options(**options)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("s3://inventories/daily/data/", r"form s3://bucket/…/manifest\.json"),
        ("manifest.json", r"form s3://bucket"),
        ("s3:///manifest.json", r"form s3://bucket"),
        ("s3://my_conn@inventories/manifest.json", "`conn_id`"),
    ],
)
def test_a_wrong_manifest_is_refused_when_it_is_written(manifest, message):
    with pytest.raises(OptionsError, match=message):
        S3InventoryOptions(manifest=manifest)


def test_templates_pass():
    S3Options(bucket="{{ params.bucket }}/x", contents="{{ params.form }}", contents_options={"anything": 1})
    options = S3Options(bucket="raw", contents="csv", contents_options={"delimiter": "{{ params.delimiter }}"})
    assert options.dump()["contents_options"] == {"delimiter": "{{ params.delimiter }}"}
    S3InventoryOptions(manifest="{{ params.manifest }}")


def files(sizes):
    return [SourceFile(url=f"s3://raw/{n:06}", size=size, etag=f"e{n}") for n, size in enumerate(sizes)]


def inside(part, listed):
    return [
        file
        for file in listed
        if (part.after is None or file.url > f"s3://raw/{part.after}") and file.url <= f"s3://raw/{part.last}"
    ]


@pytest.mark.parametrize("at_most", [1, 2, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 50, 2_000])
def test_ranges_have_every_object_once_and_about_the_same_bytes(at_most, count):
    chance = random.Random(count)
    listed = files([chance.randrange(1, 2_000_000) for _ in range(count)])
    parts = cut_keys(iter(listed), at_most, None)
    assert 1 <= len(parts) <= at_most
    assert [file for part in parts for file in inside(part, listed)] == listed
    for part in parts:
        tally = Tally()
        for file in inside(part, listed):
            tally.add(file)
        assert json.loads(json.dumps(part.tally)) == tally.dump()
    weights = [sum(file.size + _s3_ranges._REQUEST_BYTES for file in inside(part, listed)) for part in parts]
    if count >= 20 * at_most:
        assert len(parts) == at_most
        assert max(weights) < 2 * sum(weights) / at_most


def test_a_large_object_is_a_range_of_its_own():
    parts = cut_keys(files([1_000, 1_000, 10**10, 1_000, 1_000]), 3, None)
    assert [part.last for part in parts] == ["000001", "000002", "000004"]


def test_cutting_takes_no_more_memory_for_more_objects():
    def peak(count):
        tracemalloc.start()
        cut_keys((SourceFile(url=f"s3://raw/{n:06}", size=1, etag="e") for n in range(count)), 4, None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(10_000) < 1.5 * peak(1_000)


def test_an_object_that_is_another_is_noticed():
    one = files([3, 4, 5])
    (part,) = cut_keys(one, 1, None)
    for other in (files([3, 4]), files([3, 4, 6]), [*one[:2], one[2].model_copy(update={"etag": "x"})]):
        tally = Tally()
        for file in other:
            tally.add(file)
        assert tally.dump() != part.tally
