"""Reading what objects of S3 hold, JSON Lines of 1 MB each, against get_object and orjson in one thread.

The peer lists the keys, gets one object after the other as a whole, splits it at the line ends and parses the lines.
Ours does so with ``concurrency=1``, and with the default, where the next objects are fetched while one is parsed. They
take turns: each reads a tenth of the objects, and the order alternates.

Needs a real S3 server, Ceph's: ``apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import orjson
from _bench import Finding, main, weather
from _s3 import BUCKET, CephResources, running_ceph

_FOLDERS = 10
_BYTES = 1 << 20


def body() -> bytes:
    lines = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in weather(26_000))
    size, some = 0, []
    for line in lines:
        size += len(line)
        if size > _BYTES:
            break
        some.append(line)
    return b"".join(some)


def bare(client: Any, folder: str) -> int:
    items = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder):
        for entry in page["Contents"]:
            text = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            items += len([orjson.loads(line) for line in text.splitlines()])
    return items


def ours(resources: CephResources, folder: str, **options: Any) -> int:
    from flowstone_provider.readers.s3 import S3Options, S3Reader

    reader = S3Reader(S3Options(bucket=BUCKET, prefix=folder, contents="jsonl", **options), resources)
    items = sum(len(page.items) for page in reader.pages())
    reader.close()
    return items


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    with running_ceph() as resources:
        client, text = resources.client(), body()
        folders = [f"{number}/" for number in range(_FOLDERS)]
        each = options.objects // _FOLDERS
        with ThreadPoolExecutor(4) as pool:
            put = lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=text)  # noqa: E731
            list(pool.map(put, (f"{folder}{number:04}.jsonl" for folder in folders for number in range(each))))
        contenders = {
            "peer": lambda folder: bare(client, folder),
            "one": lambda folder: ours(resources, folder, concurrency=1),
            "default": lambda folder: ours(resources, folder),
        }
        seconds = dict.fromkeys(contenders, 0.0)
        expected = each * text.count(b"\n")
        for turn, folder in enumerate([folders[0], *folders]):
            names = list(contenders)
            for name in islice(names * 2, turn % 3, turn % 3 + 3):
                began = time.perf_counter()
                if contenders[name](folder) != expected:
                    raise RuntimeError(f"{name} did not read {expected} items")
                # The first turn warms up.
                if turn > 0:
                    seconds[name] += time.perf_counter() - began
    about = {"objects": each * _FOLDERS, "items": expected * _FOLDERS, "peer_s": seconds["peer"]}
    yield Finding(
        "reading the contents of S3 objects with concurrency=1, as a part of the rate of a bare loop",
        seconds["peer"] / seconds["one"],
        0.8,
        "×",
        at_least=True,
        details={**about, "ours_s": seconds["one"]},
    )
    yield Finding(
        "the same with the default concurrency",
        seconds["peer"] / seconds["default"],
        1.0,
        "×",
        at_least=True,
        details={**about, "ours_s": seconds["default"]},
    )


if __name__ == "__main__":
    main(measure, __doc__, objects=200)
