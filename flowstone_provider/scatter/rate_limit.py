"""Rate limit: evenly spaced starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Gives each caller the next free moment, so that no window of time holds more starts than the rate allows.

    Args:
        per_second: Starts per second.
        clock: Seconds, growing.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        # The first start waits too: the batch before on this worker may have started an item just now.
        self._next = clock() + self._interval
        self._lock = threading.Lock()

    def slower(self, items: int) -> Pace:
        """The pace for calls that take so many items at once."""
        return Pace(1.0 / (self._interval * items), self._clock)

    def delay(self) -> float:
        """Take the next moment; returns the seconds until then."""
        with self._lock:
            now = self._clock()
            moment = max(now, self._next)
            self._next = moment + self._interval
            return moment - now


def share(per_second: float, active: int) -> float:
    """What one batch may start per second when as many are active as can be.

    Args:
        per_second: Items per second over the whole scatter.
        active: How many batches can be active at once.
    """
    return per_second / max(1, active)
