"""The recorder: collects outcomes of a batch and keeps them part by part."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from flowstone_provider.contracts.scatter import ScatterCoordinator

log = logging.getLogger(__name__)

# A part is written when it is this old, in seconds, or this large, in bytes (per thread that adds).
FLUSH_SECONDS = 3.0
FLUSH_BYTES = 8 * 1024 * 1024


class Recorder:
    """Takes outcome lines from any thread; a thread of its own writes them every few seconds.

    A killed process loses at most what is not written yet. What storage refuses comes back as an exception at `close`,
    and sets ``stop`` at once.

    Args:
        coordinator: Keeps the outcomes.
        number: The batch.
        on_flush: Called after each write with (outcomes so far, failed so far); may set ``stop``.
        flush_seconds: Seconds between writes.
    """

    def __init__(
        self,
        coordinator: ScatterCoordinator,
        number: int,
        on_flush: Callable[[int, int], None] = lambda done, failed: None,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self.stop = threading.Event()
        self.done = 0
        self.failed = 0
        self._coordinator = coordinator
        self._number = number
        self._on_flush = on_flush
        self._every = flush_seconds
        self.generation = coordinator.begin(number)
        self._lines: deque[bytes] = deque()  # append and popleft need no lock
        self.add = self._lines.append
        """Take the outcome line of an item that succeeded. Whoever adds a lot calls `flush` now and then."""
        self._failures = 0
        self._counting = threading.Lock()
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"outcomes of batch {number}", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._closing.set()
        self._thread.join()
        if self._error is None:
            self.flush()
        elif error is None:
            raise self._error

    def add_failed(self, line: bytes) -> None:
        """Take the outcome of an item that failed."""
        with self._counting:
            self._failures += 1
        self.add(line)

    def flush(self) -> None:
        """Write what was taken so far.

        Raises:
            LedgerError: Storage refused; what was taken is kept for another attempt.
        """
        with self._writing:
            taken = [self._lines.popleft() for _ in range(len(self._lines))]
            # Read last: a failure is counted before its line is added, so none of those taken is missed.
            failed = self._failures
            if taken:
                try:
                    self._coordinator.record(self._number, self.generation, taken, failed)
                except BaseException:
                    self._lines.extendleft(reversed(taken))
                    raise
                self.done += len(taken)
                self.failed = failed
        self._on_flush(self.done, self.failed)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            started = time.monotonic()
            try:
                self.flush()
            except BaseException as error:  # noqa: BLE001  (handed to the thread that closes)
                log.error("outcomes of batch %s cannot be kept: %s", self._number, error)
                self._error = error
                self.stop.set()
                return
            log.debug("a part of batch %s took %.2f s", self._number, time.monotonic() - started)
