"""No more than so many requests a second, over all steps of a job in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_lock = threading.Lock()
_paces: dict[str, Pace] = {}


class Pace:
    """Spaces what is done evenly. Any thread may wait.

    Args:
      per_second: how often; None for no limit.
      clock, sleep: the time, for tests.

    >>> waited = []
    >>> pace = Pace(4, clock=lambda: 0.0, sleep=waited.append)
    >>> for _ in range(3):
    ...     pace.wait()
    >>> waited
    [0.25, 0.5]
    """

    def __init__(
        self,
        per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for the next turn."""
        if not self._interval:
            return
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)


def shared_pace(name: str, per_second: float | None) -> Pace:
    """The pace of this process that goes by a name."""
    with _lock:
        return _paces.setdefault(name, Pace(per_second))
