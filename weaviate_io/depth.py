"""How many requests one sender keeps open at once, found by what more of them bring.

Against a server that is busy, more than two bring nothing: each takes as much longer as there are more of them.
Against one that is far away, two are soon not enough: the answers come as late as before, however many are on their
way. So twice as many are tried. If more objects are acknowledged in the same time, they stay; if not, the next try
comes after a while, and after ever longer ones. Whatever speaks for fewer is looked at twice: a pause of the process,
as to collect garbage, makes all answers late at once.
"""

from __future__ import annotations

import statistics
import threading

LEAST = 2
"""One that the server works at, and one that is there when it has done with it."""

MOST = 32
"""Twice as many as a process may have in flight: of each, the objects are looked up before, in a round trip too."""

_GAIN = 1.3  # by which twice as many must raise the rate, where it scatters by as much
_SLOWER = 2.0  # by which the rate has fallen since it was last judged: the depth is not good any more
_FIRST_REST, _LONGEST_REST = 64, 1024  # answers until the next try


class Depth:
    """The number of open requests that suits the server; shared by the senders of a process.

    It learns from requests that were opened while more than half of what is allowed were: where fewer are open, the
    server is not what holds the sender up. Nor is it where all that is allowed never are, so then no try fails.

    >>> far = Depth()
    >>> for _ in range(31):
    ...     far.answered(far.limit, objects=1000, seconds=0.05)  # always as late
    >>> far.limit
    32
    >>> busy = Depth()
    >>> for _ in range(20):
    ...     busy.answered(busy.limit, objects=1000, seconds=0.5 * busy.limit)
    >>> busy.limit
    2
    """

    def __init__(self) -> None:
        self.limit = LEAST
        self._lock = threading.Lock()
        self._start_again()

    def answered(self, open_requests: int, objects: int, seconds: float) -> None:
        """Learn from a request.

        Args:
          open_requests: of its sender when it was opened, itself included.
          objects: of the request that were acknowledged, at least one.
          seconds: since it was opened.
        """
        with self._lock:
            if not self.limit // 2 < open_requests <= self.limit:
                return
            if self._rest > 0:
                self._rest -= 1
            self._rates.append(open_requests * objects / max(seconds, 1e-6))
            self._is_reached |= open_requests == self.limit
            if len(self._rates) < max(2, self.limit // 2):
                return
            rate, is_reached = statistics.median(self._rates), self._is_reached
            self._begin_window()
            self._judge(rate, is_reached)

    def reset(self) -> None:
        """Learn that the server pushes back."""
        with self._lock:
            self._start_again()

    def _start_again(self) -> None:
        self._next_rest = _FIRST_REST
        self._rest = 0
        self._found_good = 0.0  # the rate at the limit, 0 where it is not known
        self.limit = LEAST
        self._tried = 0  # whether more or fewer than before are being tried, 1 or -1, and the rate before
        self._rate_before = 0.0
        self._is_second_look = False
        self._begin_window()

    def _begin_window(self) -> None:
        self._rates: list[float] = []  # objects a second, by what each answer shows
        self._is_reached = False  # whether all were open that may be

    def _judge(self, rate: float, is_reached: bool) -> None:
        brings_nothing = self._tried > 0 and rate < _GAIN * self._rate_before
        has_slowed_down = self._tried == 0 and self.limit > LEAST and rate < self._found_good / _SLOWER
        if brings_nothing and not is_reached:
            return
        if (brings_nothing or has_slowed_down) and not self._is_second_look:
            self._is_second_look = True
            return
        self._is_second_look = False
        if brings_nothing:
            self._go_back(self.limit // 2)
        elif self._tried < 0 and rate < self._rate_before / _GAIN:
            self._go_back(2 * self.limit)
        elif has_slowed_down or (self._tried < 0 and self.limit > LEAST):
            self._try(-1, self.limit // 2, rate)
        else:
            self._tried = 0
            self._found_good = rate
            if self._rest <= 0 and self.limit < MOST:
                self._try(1, 2 * self.limit, rate)

    def _try(self, tried: int, limit: int, rate: float) -> None:
        self._tried, self.limit, self._rate_before = tried, limit, rate

    def _go_back(self, limit: int) -> None:
        self._tried, self.limit, self._found_good = 0, limit, 0.0
        self._rest = self._next_rest
        self._next_rest = min(_LONGEST_REST, 2 * self._next_rest)
