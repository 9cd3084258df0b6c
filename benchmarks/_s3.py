"""A real S3 server for the benchmarks: Ceph's object gateway."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _bench import ROOT

BUCKET = "benchmark"

_CEPH = ROOT / "tests" / "services" / "ceph-rgw"
_INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common"


class CephResources:
    """What a reader asks for, leading to the server.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def client(self, service: str = "s3", conn_id: str | None = None) -> Any:
        """A boto3 client, with boto3's own settings."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self._url,
            aws_access_key_id="flowstone",
            aws_secret_access_key="flowstone-secret",
            region_name="us-east-1",
        )


@contextmanager
def running_ceph() -> Iterator[CephResources]:
    """Start a server on a free port, with an empty bucket in memory; stop it."""
    if shutil.which("radosgw") is None:
        sys.exit(f"this benchmark needs a real S3 server, Ceph's radosgw: {_INSTALL}")
    # Its processes write while they end, so the folder goes when it can.
    with tempfile.TemporaryDirectory(prefix="flowstone-ceph-", ignore_cleanup_errors=True) as folder:
        state = Path(folder) / "ceph"
        try:
            command = [_CEPH, "start", state, str(_free_port())]
            url = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            resources = CephResources(url)
            resources.client().create_bucket(Bucket=BUCKET)
            yield resources
        finally:
            subprocess.run([_CEPH, "stop", state], check=True)


def _free_port() -> int:
    # The script also takes the two ports behind it.
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
