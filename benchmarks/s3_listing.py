"""Listing the objects of a bucket, against boto3's own paginator.

The peer makes nothing of what it gets. Ours makes an item of each object, and pages with checkpoints. They take turns:
each lists the whole bucket, and which of the two begins alternates.

Needs a real S3 server, Ceph's: ``apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from _bench import Finding, main
from _s3 import BUCKET, CephResources, running_ceph

_TURNS = 5


def bare(client: Any) -> int:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return sum(len(page.get("Contents", [])) for page in pages)


def ours(resources: CephResources) -> int:
    from flowstone_provider.readers.s3 import S3Options, S3Reader

    reader = S3Reader(S3Options(bucket=BUCKET), resources)
    listed = sum(len(page.items) for page in reader.pages())
    reader.close()
    return listed


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    with running_ceph() as resources:
        client = resources.client()
        with ThreadPoolExecutor(8) as pool:
            put = lambda n: client.put_object(Bucket=BUCKET, Key=f"2026/{n % 12:02}/part-{n:07}.csv", Body=b"x")  # noqa: E731
            list(pool.map(put, range(options.keys)))
        contenders = {"peer": lambda: bare(client), "ours": lambda: ours(resources)}
        seconds = dict.fromkeys(contenders, 0.0)
        for turn in range(-1, _TURNS):
            for name in sorted(contenders, reverse=turn % 2 == 0):
                began = time.perf_counter()
                if contenders[name]() != options.keys:
                    raise RuntimeError(f"{name} did not list {options.keys} keys")
                # The first turn warms up.
                if turn >= 0:
                    seconds[name] += time.perf_counter() - began
    yield Finding(
        "listing objects of S3, as a part of the rate of boto3's paginator",
        seconds["peer"] / seconds["ours"],
        0.85,
        "×",
        at_least=True,
        details={
            "keys": options.keys,
            "turns": _TURNS,
            "ours_s": seconds["ours"] / _TURNS,
            "peer_s": seconds["peer"] / _TURNS,
            "keys_per_s": options.keys * _TURNS / seconds["ours"],
        },
    )


if __name__ == "__main__":
    main(measure, __doc__, keys=20_000)
