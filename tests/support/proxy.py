"""A network that fails: a TCP proxy that cuts connections in the middle of an answer."""

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

    def __init__(self, target: tuple[str, int], cut_after_bytes: int, times: float) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.cut_after_bytes = cut_after_bytes
        self.times = times
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
            threading.Thread(target=_pump, args=(self.request, upstream), daemon=True).start()
            left = self.server.cut_after_bytes
            while chunk := upstream.recv(_CHUNK):
                if len(chunk) > left >= 0 and self.server.may_cut():
                    self.request.sendall(chunk[:left])
                    # Not only closed: the thread that reads from it would keep it open.
                    self.request.shutdown(socket.SHUT_RDWR)
                    return
                left -= len(chunk)
                self.request.sendall(chunk)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def cutting_proxy(target_url: str, cut_after_bytes: int, times: float = 1) -> Iterator[CuttingProxy]:
    """Forward connections to a server, and cut some of them in the middle of what it answers.

    Args:
        target_url: Of the server, ``http://host:port``.
        cut_after_bytes: Of the answers on one connection; a connection with fewer is left alone.
        times: How many connections are cut, ``math.inf`` for all.

    Yields:
        The proxy: its ``url``, and the number of ``cuts`` so far.
    """
    parts = urlsplit(target_url)
    with CuttingProxy((parts.hostname, parts.port or 80), cut_after_bytes, times) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
