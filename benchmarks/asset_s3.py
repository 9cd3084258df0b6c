"""Storing and loading a file of 256 MB through the IO manager ``s3``, against boto3's transfer manager.

Both sides move the same bytes from a file and into one: the peer is `upload_file` and `download_file`, ours are
``store`` of a path and ``load`` as an iterator whose chunks are written. Ours also hashes every byte, asks for the
receipt that is there, writes one, and compares the hash on load. They take turns, and which begins alternates. What was
stored is deleted outside the measured time.

Needs a real S3 server, Ceph's: ``apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common``.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _bench import Finding, main, scratch
from _s3 import BUCKET, CephResources, running_ceph

ROUNDS = 10


def measure(options: argparse.Namespace) -> Iterator[Finding]:
    with running_ceph() as resources, scratch() as folder:
        yield from compare(resources, folder, options.megabytes)


def compare(resources: CephResources, folder: Path, megabytes: int) -> Iterator[Finding]:
    from flowstone_provider.contracts.io_manager import AssetKey
    from flowstone_provider.hooks.resources import AirflowResources
    from flowstone_provider.hooks.s3 import S3IOManager

    logging.disable(logging.INFO)
    client = resources.client()
    # The same client for both, in the place of Airflow's connection.
    AirflowResources.client = lambda self, service, conn_id=None: client  # type: ignore[method-assign]
    manager, key = S3IOManager(bucket=BUCKET, prefix="assets"), AssetKey("blob")
    given, got = folder / "given", folder / "got"
    with given.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))

    def load() -> None:
        with got.open("wb") as file:
            file.writelines(manager.load(key, Iterator[bytes]))

    def forget() -> None:
        manager.delete(key)
        client.delete_object(Bucket=BUCKET, Key="peer")

    store = lambda: manager.store(key, given)  # noqa: E731
    upload = lambda: client.upload_file(str(given), BUCKET, "peer")  # noqa: E731
    download = lambda: client.download_file(BUCKET, "peer", str(got))  # noqa: E731
    seconds: dict[Any, list[float]] = {store: [], upload: [], load: [], download: []}
    for number in range(-1, ROUNDS):
        for pair in ((store, upload), (load, download)):
            for what in pair if number % 2 else pair[::-1]:
                took = timed(what)
                # The first round warms up.
                if number >= 0:
                    seconds[what].append(took)
                if pair[0] is load and given.read_bytes() != got.read_bytes():
                    raise RuntimeError("other bytes came back")
        forget()
    yield finding("storing", seconds[store], seconds[upload], megabytes)
    yield finding("loading", seconds[load], seconds[download], megabytes)


def timed(do: Callable[[], Any]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def finding(what: str, ours: list[float], theirs: list[float], megabytes: int) -> Finding:
    return Finding(
        f"{what} {megabytes} MB through s3, as a part of the rate of boto3's transfer manager",
        sum(theirs) / sum(ours),
        0.9,
        "×",
        at_least=True,
        details={"peer_s": sum(theirs), "ours_s": sum(ours), "rounds": len(ours)},
    )


if __name__ == "__main__":
    main(measure, __doc__, megabytes=256)
