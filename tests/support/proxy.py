"""A network that fails: a TCP proxy that cuts connections in the middle of an answer, or of a request."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class CuttingProxy(socketserver.ThreadingTCPServer):
    """See `cutting_proxy`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: tuple[str, int], cut_after_bytes: int, times: float, of_requests: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.cut_after_bytes = cut_after_bytes
        self.times = times
        self.of_requests = of_requests
        self.cuts = 0
        """How many connections were cut so far."""
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where to connect to."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def may_cut(self) -> bool:
        """Whether one more connection is to be cut; if so, it counts."""
        with self._lock:
            if self.cuts < self.times:
                self.cuts += 1
                return True
            return False


class _Connection(socketserver.BaseRequestHandler):
    server: CuttingProxy
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as upstream, suppress(OSError):
            asked = threading.Thread(
                target=self.pump, args=(self.request, upstream, self.server.of_requests), daemon=True
            )
            asked.start()
            self.pump(upstream, self.request, not self.server.of_requests)

    def pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        left = self.server.cut_after_bytes
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if counted and len(chunk) > left >= 0 and self.server.may_cut():
                    sink.sendall(chunk[:left])
                    # Not only closed: the thread that reads from one would keep it open.
                    source.shutdown(socket.SHUT_RDWR)
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                left -= len(chunk)
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def cutting_proxy(
    target_url: str, cut_after_bytes: int, times: float = 1, *, of_requests: bool = False
) -> Iterator[CuttingProxy]:
    """Forward connections to a server, and cut some of them in the middle of what it answers.

    Args:
        target_url: Of the server, ``http://host:port``.
        cut_after_bytes: Of the answers on one connection; a connection with fewer is left alone.
        times: How many connections are cut, ``math.inf`` for all.
        of_requests: Count and cut what the server is asked, and not what it answers.

    Yields:
        The proxy: its ``url``, and the number of ``cuts`` so far.
    """
    parts = urlsplit(target_url)
    with CuttingProxy((parts.hostname, parts.port or 80), cut_after_bytes, times, of_requests) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
