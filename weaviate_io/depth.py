"""How many requests one sender keeps open at once, found by what more of them bring.

Against a server that is busy, more than two bring nothing: each takes as much longer as there are more of them.
Against one that is far away, two are soon not enough: the answers come as late as before, however many are on their
way. So twice as many are tried. If more objects are acknowledged in the same time, they stay, and so on; if not, the
next try comes after a while, and after ever longer ones. By turns it is one of half as many, lest chance lead upwards
only. That a try of more brings nothing is seen twice before it ends: a pause of the process, as to collect garbage,
makes all answers late at once.

A sender sees its own share only. Of a server that other processes keep busy it gets more with each request that it has
open, and so does each of them. But answers that take seconds are not late by their way. Where they take over one, no
more are tried; where they take over two, the depth is halved.
"""

from __future__ import annotations

import statistics
import threading

LEAST = 2
"""One that the server works at, and one that is there when it has done with it."""

MOST = 32
"""Twice as many as a process may have in flight: of each, the objects are looked up before, in a round trip too."""

_LATE = 2.0  # seconds; two round trips around the world take half a one
_GAIN = 1.3  # by which twice as many must raise the rate, where it scatters by as much
_LOSS = 1.1  # by which fewer may lower it
_FIRST_REST, _LONGEST_REST = 64, 1024  # answers until the next try


class Depth:
    """The number of open requests that suits the server; shared by the senders of a process.

    It learns from requests that were opened while more than half of what is allowed were: where fewer are open, the
    server is not what holds the sender up. Nor is it where all that is allowed never are, so then no try of more fails.

    >>> far = Depth()
    >>> for _ in range(31):
    ...     far.answered(far.limit, objects=1000, seconds=0.05)  # always as late
    >>> far.limit
    32
    >>> busy = Depth()
    >>> for _ in range(20):
    ...     busy.answered(busy.limit, objects=1000, seconds=0.2 * busy.limit)
    >>> busy.limit
    2
    """

    def __init__(self) -> None:
        self.limit = LEAST
        self._lock = threading.Lock()
        self._late = 0  # answers in a row
        self._rest = 0  # answers until the next try
        self._start_again()

    def answered(self, open_requests: int, objects: int, seconds: float) -> None:
        """Learn from a request.

        Args:
          open_requests: of its sender when it was opened, itself included.
          objects: of the request that were acknowledged, at least one.
          seconds: since it was opened.
        """
        with self._lock:
            self._late = self._late + 1 if seconds > _LATE else 0
            if self._late >= self.limit > LEAST:
                self._next_rest = _FIRST_REST  # it is another server than before
                self._settle(self.limit // 2, then=-1)
            if not self.limit // 2 < open_requests <= self.limit:
                return
            self._rest -= 1
            self._times.append(seconds)
            self._rates.append(open_requests * objects / max(seconds, 1e-6))
            self._is_reached |= open_requests == self.limit
            if len(self._rates) >= max(2, self.limit if self._tried < 0 else self.limit // 2):
                self._judge(statistics.median(self._rates))
                self._begin_window()

    def reset(self) -> None:
        """Learn that the server pushes back."""
        with self._lock:
            self._start_again()

    def _start_again(self) -> None:
        self._next_rest = 0
        self._settle(LEAST, then=1)
        self._next_rest = _FIRST_REST

    def _settle(self, limit: int, then: int) -> None:
        """Stay at a depth for a while, and then try more (1) or fewer (-1)."""
        self._tried, self._then, self.limit = 0, 1 if limit == LEAST else then, limit
        self._before = 0.0
        self._late = 0
        self._rest = self._next_rest
        self._next_rest = min(_LONGEST_REST, 2 * self._next_rest)
        self._begin_window()

    def _try(self, tried: int, limit: int, rate: float) -> None:
        self._tried, self.limit, self._before = tried, limit, rate
        self._is_second_look = False

    def _begin_window(self) -> None:
        self._times: list[float] = []
        self._rates: list[float] = []  # objects a second, by what each answer shows
        self._is_reached = False  # whether all were open that may be

    def _judge(self, rate: float) -> None:
        """Take the rate of a window for what the depth brings."""
        if self._tried > 0 and rate < _GAIN * self._before:
            if self._is_reached and self._is_second_look:
                self._settle(self.limit // 2, then=-1)
            self._is_second_look = self._is_reached
        elif self._tried < 0 and rate < self._before / _LOSS:
            self._settle(2 * self.limit, then=1)
        elif self._tried == 0 and self._rest > 0:
            self._before = rate
        else:
            self._go_on(rate)

    def _go_on(self, rate: float) -> None:
        """Try more or fewer, as it is the turn of, or as long as it is good."""
        # Not only the last rate: a pause of the process may have been in it, and steps down must not add up.
        best = max(rate, self._before)
        direction = self._tried or self._then
        is_soon = statistics.median(self._times) <= _LATE / 2
        if self.limit > LEAST and (direction < 0 or not is_soon):
            self._try(-1, self.limit // 2, best)
        elif direction < 0 or self.limit == MOST:
            self._settle(self.limit, then=-1)
        elif is_soon:
            self._try(1, 2 * self.limit, best)
        else:
            self._before = rate
