"""How much is sent at once, how long a request may take, and whether anything gets through at all.

The state is shared by all senders of a process to one server, since the server feels their sum.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from weaviate_io.depth import LEAST, Depth

MAX_OBJECTS = 2000
"""Most objects in a request: of small ones it takes so many until a request costs nothing beside them. More put more in
doubt when one is lost."""

MAX_BYTES = 4_000_000
"""Most bytes in a request (one large object may exceed it). The server's own default limit is 104,858,000."""

_FIRST_OBJECTS_VECTORIZED = 100  # the server asks a model provider about each of them
_SHORTEST, _LONGEST = 1.0, 10.0  # seconds that a request should take
_DEADLINE_FACTOR = 5.0  # a deadline is this many times the slowest request seen
_LONGEST_DEADLINE = 300.0  # seconds; lest one stall of the server makes all later waits endless
_LONGEST_SETTLING = 30.0  # seconds
_LONGEST_TURN = 60.0  # seconds that a request lets others ask a server without memory for it
_FIRST_PLACES = 2
_SOON = 0.5  # seconds in which a server answers that is not busy
_PARTS = 16  # a server without memory is asked with so small a part of what it refused
_FEWEST_OBJECTS = 10  # in a request, once the server has memory again
_ANSWERS_FOR_A_PLACE = 40  # trying whether the server takes more costs a request or two each time


class Places:
    """How many requests may be in flight.

    Two at first, and one more with each answer until the server pushes back, or an answer takes half a second: then it
    is busy. From then on half as many after push-back, and one more after every 40 answers. All that was in flight
    together is pushed back together, and counts once.

    Args:
      most: places at most.

    >>> places = Places(16)
    >>> for _ in range(14):
    ...     places.answered(seconds=0.1)
    >>> places.limit
    16
    >>> places.pushed_back(sent_at=1.0, now=2.0)
    True
    >>> places.pushed_back(sent_at=1.5, now=2.0)  # sent before anyone knew
    False
    >>> places.limit
    8
    """

    def __init__(self, most: int) -> None:
        self.limit = min(_FIRST_PLACES, most)
        self._most = most
        self._is_new = True
        self._answers = 0
        self._lowered_at = 0.0

    @property
    def is_lowered(self) -> bool:
        """Whether the server pushed back, and does not have all places again."""
        return self._lowered_at > 0 and self.limit < self._most

    def answered(self, seconds: float) -> None:
        """Learn from a request that was answered in time."""
        self._is_new = self._is_new and seconds < _SOON
        self._answers += 1
        if self._is_new or self._answers >= _ANSWERS_FOR_A_PLACE:
            self._answers = 0
            self.limit = min(self._most, self.limit + 1)

    def pushed_back(self, sent_at: float, now: float) -> bool:
        """Learn from a request that the server had no room for, or took too long with; whether it was the first."""
        self._is_new = False
        self._answers = 0
        if sent_at < self._lowered_at:
            return False
        self.limit = max(1, self.limit // 2)
        self._lowered_at = now
        return True


class Memory:
    """How many objects of a request the server has memory for.

    After it refused some, a sixteenth of them is tried, or half of what was tried last. That doubles while it is taken,
    up to half of what was refused, and grows by a fortieth with each answer from then on.

    >>> memory = Memory()
    >>> memory.refused(200, now=2.0, pause=lambda rounds: 0.5)
    >>> memory.most, memory.is_short, memory.short_until
    (12, True, 2.5)
    >>> memory.answered(sent_at=1.0)  # before that
    >>> for _ in range(4):
    ...     memory.answered(sent_at=3.0)
    >>> memory.most, memory.is_short
    (100, False)
    """

    def __init__(self) -> None:
        self.most = MAX_OBJECTS
        self.short_until = 0.0
        self.taken_at = -1.0  # when it was sent
        self._enough = 0  # objects in a request, with which it is not short
        self._refused_at = 0.0
        self._rounds = 0

    @property
    def is_short(self) -> bool:
        """Whether nothing, or only a small part of a request, was taken since the last refusal."""
        return self.most < self._enough

    def refused(self, size: int, now: float, pause: Callable[[int], float]) -> None:
        """Learn from a request that there was no memory for.

        Args:
          size: objects that requests had.
          now: ``time.monotonic()``.
          pause: seconds to wait, of how often in a row the server was asked in vain before.
        """
        if self.is_short:
            self.most = max(1, self.most // 2)
        else:
            self._enough = max(_FEWEST_OBJECTS, size // 2)
            self.most = max(1, size // _PARTS)
        self.short_until = now + pause(self._rounds)
        self._refused_at = now
        self._rounds += 1

    def answered(self, sent_at: float) -> None:
        """Learn from a request that was answered."""
        if sent_at < self._refused_at or self.most == MAX_OBJECTS:
            return
        self.taken_at = sent_at
        self._rounds = 0
        if self.is_short:
            self.most = min(self._enough, 2 * self.most)
        else:
            self.most = min(MAX_OBJECTS, self.most + max(1, self._enough // _ANSWERS_FOR_A_PLACE))


class Flow:
    """Limits that adapt to what the server shows.

    Args:
      shortest_deadline: seconds; a deadline is never below it.
      max_in_flight: most requests in flight from this process; fewer while the server pushes back.

    >>> flow = Flow(90.0)
    >>> flow.request_size("Article", vectorized=False)
    2000
    >>> flow.finished("Article", objects=2000, seconds=20.0, vectorized=False)
    >>> flow.request_size("Article", vectorized=False)
    1000
    """

    def __init__(self, shortest_deadline: float, max_in_flight: int = 16) -> None:
        self._shortest_deadline = shortest_deadline
        self._slowest = 0.0
        self._slowest_lost = 0.0
        self._sizes: dict[str, int] = {}
        self._got_through: dict[str, float] = {}
        self._refused_before: Counter[str] = Counter()
        self._places = Places(max_in_flight)
        self._in_flight = 0
        self._memory = Memory()
        self._looking = 0
        self.depth = Depth()
        self._changed = threading.Condition()
        self.max_bytes = MAX_BYTES

    def request_size(self, collection: str, vectorized: bool) -> int:
        """Objects that the next request to the collection should have."""
        return min(self._size(collection, vectorized), self._memory.most)

    def _size(self, collection: str, vectorized: bool) -> int:
        return self._sizes.get(collection, _FIRST_OBJECTS_VECTORIZED if vectorized else MAX_OBJECTS)

    def deadline(self, vectorized: bool = False) -> float:
        """Seconds that the next request may take; where the server asks a model provider it waits for its rates."""
        if vectorized:
            return max(self._shortest_deadline, _LONGEST_DEADLINE)
        return max(self._shortest_deadline, min(_DEADLINE_FACTOR * self._slowest, _LONGEST_DEADLINE))

    def settling_time(self) -> float:
        """Seconds in which the server has done with a request that was given up, as far as requests have shown."""
        return min(max(self._slowest, self._slowest_lost), _LONGEST_SETTLING)

    def finished(self, collection: str, objects: int, seconds: float, vectorized: bool) -> None:
        """Learn from a request that was answered."""
        with self._changed:
            self._slowest = max(self._slowest, seconds)
            size = self._size(collection, vectorized)
            if seconds > _LONGEST:
                size = max(1, min(size, int(objects * _LONGEST / seconds)))
            elif seconds < _SHORTEST and objects >= size:
                size = min(MAX_OBJECTS, 2 * size)
            self._sizes[collection] = size
            if seconds > _LONGEST and not vectorized:
                self._push_back(seconds)
            else:
                self._places.answered(seconds)
                self._memory.answered(time.monotonic() - seconds)
            self._changed.notify_all()

    def pushed_back(self, seconds: float) -> None:
        """Learn from a request that the server had no room for, ``seconds`` after it was sent."""
        with self._changed:
            self._push_back(seconds)

    def full(self, size: int, seconds: float, pause: Callable[[int], float]) -> None:
        """Learn from a request that the server had no memory for: for a time, nobody asks it again.

        A refusal takes no time, so that a limit of requests in flight does not limit them. After the pause a small
        part of one request goes first, and the others when enough was taken.

        Args:
          size: objects that requests have now.
          seconds: since the request was sent.
          pause: seconds to wait, of how often in a row the server was asked in vain before.
        """
        with self._changed:
            if self._push_back(seconds):
                self._memory.refused(size, time.monotonic(), pause)

    def _push_back(self, seconds: float) -> bool:
        self.depth.reset()
        now = time.monotonic()
        return self._places.pushed_back(now - seconds, now)

    def had_memory(self, since: float) -> bool:
        """Whether the server took anything after a refusal, sent at ``time.monotonic()`` of ``since`` or later."""
        return self._memory.taken_at >= since

    def too_slow(self, collection: str, objects: int, seconds: float, vectorized: bool) -> None:
        """Learn from a request that ran into its deadline."""
        with self._changed:
            self.depth.reset()
            self._slowest_lost = max(self._slowest_lost, seconds)
            size = self.request_size(collection, vectorized)
            self._sizes[collection] = max(1, min(size, objects // 2))

    def got_through(self, collection: str) -> None:
        """Note that an object of the collection was written, and its vector made where the server makes it."""
        with self._changed:
            self._got_through[collection] = time.monotonic()

    def has_got_through(self, collection: str, since: float = 0.0) -> bool:
        """Whether an object got through at ``time.monotonic()`` of ``since`` or later."""
        return self._got_through.get(collection, -1.0) >= since

    def refused_before_any(self, collection: str) -> int:
        """Count a refused object; returns how many there are, 0 once an object of the collection got through."""
        with self._changed:
            self._refused_before[collection] += 1
            return 0 if self.has_got_through(collection) else self._refused_before[collection]

    def too_large(self, limit: int) -> None:
        """Learn that the server, or a balancer before it, takes no request of more than ``limit`` bytes."""
        with self._changed:
            self.max_bytes = max(1, min(self.max_bytes, limit))

    def sender_limit(self, open_requests: int) -> int:
        """Requests that a sender may have open, looked up or in flight.

        Each has two; beyond them the senders of a process share its places, and as many for what is looked up.

        Args:
          open_requests: of that sender.
        """
        free = 2 * self._places.limit - self._in_flight - self._looking
        return max(LEAST, min(self.depth.limit, open_requests + free))

    def look(self) -> None:
        """Count one more request whose objects are looked up as open."""
        with self._changed:
            self._looking += 1

    def looked(self) -> None:
        """Count one less."""
        with self._changed:
            self._looking -= 1

    def try_acquire(self) -> bool:
        """Take a place in flight if there is one at once."""
        with self._changed:
            is_free = not self._memory.is_short and self._in_flight < self._places.limit
            self._in_flight += is_free
            return is_free

    def acquire(self) -> float:
        """Take one of the places in flight; waits until a running request ends, which its deadline bounds.

        Returns the seconds waited because the server pushes back, 0 where it takes as much as it is given.
        """
        started = time.monotonic()
        with self._changed:
            is_throttled = self._memory.is_short or self._places.is_lowered
            while True:
                now = time.monotonic()
                one_goes_first = self._memory.is_short and now < started + _LONGEST_TURN
                if one_goes_first and now < self._memory.short_until:
                    self._changed.wait(self._memory.short_until - now)
                elif self._in_flight < (1 if one_goes_first else self._places.limit):
                    break
                else:
                    self._changed.wait(1.0 if one_goes_first else None)
            self._in_flight += 1
        return time.monotonic() - started if is_throttled else 0.0

    def release(self) -> None:
        """Give the place back."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is in flight; False when the time is up before."""
        with self._changed:
            return self._changed.wait_for(lambda: self._in_flight == 0, timeout)
