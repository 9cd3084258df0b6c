"""Starting a server on a free port, waiting for it, and ending it with all it started."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

_POLL_SECONDS = 0.1


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(
    check: Callable[[], T], *, timeout: float, what: str | Callable[[], str], poll: float = _POLL_SECONDS
) -> T:
    """Call ``check`` until it returns something true, and return that.

    Raises:
        TimeoutError: It did not within ``timeout`` seconds; the message says ``what`` was waited for.
    """
    end = time.monotonic() + timeout
    while not (value := check()):
        if time.monotonic() > end:
            raise TimeoutError(f"after {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(poll)
    return value


def accepts(port: int) -> bool:
    """Whether something listens on this port of the loopback interface."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Server:
    """A process of its own group, whose output goes to a file.

    Args:
        argv: The command.
        log: The file for its output, appended to.
        user: The user to run it as, where the tests run as root.
        name: What to call it in messages.
    """

    def __init__(
        self,
        argv: list[str],
        *,
        log: Path,
        env: dict[str, str] | None = None,
        user: str | None = None,
        name: str | None = None,
    ):
        self.name = name or Path(argv[0]).name
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(user),
            )

    def wait_ready(self, check: Callable[[], T], *, timeout: float) -> T:
        """Wait until ``check`` returns something true; fail at once when the process ends first."""

        def alive() -> T:
            if (code := self.process.poll()) is not None:
                raise RuntimeError(f"{self.name} ended with {code}:\n{self.tail()}")
            return check()

        return wait_until(alive, timeout=timeout, what=lambda: f"{self.name} is not ready:\n{self.tail()}")

    def tail(self, lines: int = 40, *, without: str | None = None) -> str:
        """The end of its output, less the lines that contain ``without``."""
        output = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in output if without is None or without not in line][-lines:])

    def stop(self, sig: int = signal.SIGTERM, *, timeout: float = 10) -> None:
        """End the process, and kill what it leaves behind."""
        children = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        with suppress(ProcessLookupError):
            self.process.send_signal(sig)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait()


def as_user(name: str | None) -> dict[str, Any]:
    """Arguments of ``subprocess`` functions that run a command as this user; none when already not root."""
    if name is None or os.getuid() != 0:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": [], "cwd": "/"}
