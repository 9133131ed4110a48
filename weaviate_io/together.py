"""Questions to the server that need not wait for each other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")

AT_ONCE = 32
"""Most questions about one request that are asked at the same time."""


def at_once(ask: Callable[[_Thing], _Answer], things: Iterable[_Thing], most: int = AT_ONCE) -> list[_Answer]:
    """What ``ask`` returns for each thing, in their order; asked by the caller and other threads, ``most`` in all.

    After an error nothing more is asked, and it is raised. The other threads end with the process, so that nobody waits
    for what they are at.

    >>> at_once(len, ["one", "three"])
    [3, 5]
    """
    places = list(enumerate(things))
    left = iter(places)  # to take the next one is one step
    answered: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()

    def ask_on() -> None:
        for place, thing in left:
            try:
                answered.put((place, ask(thing), None))
            except BaseException as error:
                _use_up(left)
                answered.put((place, None, error))

    answers: dict[int, _Answer] = {}
    try:
        for _ in range(min(most, len(places)) - 1):
            try:
                threading.Thread(target=ask_on, name="weaviate-io-ask", daemon=True).start()
            except RuntimeError:  # the system has no more of them
                break
        ask_on()
        while len(answers) < len(places):
            place, answer, error = answered.get()
            if error is not None:
                raise error
            answers[place] = answer
    finally:
        _use_up(left)
    return [answers[place] for place, _ in places]


def _use_up(left: Iterator[Any]) -> None:
    for _ in left:
        pass


def ask_all(
    start: Callable[[_Thing], Any],
    things: Sequence[_Thing],
    is_hoped: Callable[[Any], bool],
    ended: Callable[[bool], None],
) -> None:
    """Ask for things by futures, ``AT_ONCE`` at the same time, as long as each answer is as hoped for.

    That takes less of the CPU than threads, and nobody has to wait.

    Args:
      start: starts a call, and returns its future.
      things: what to ask for, at least one.
      is_hoped: whether a call that is done gave the answer to go on with; an error of it, or of ``start``, means no.
      ended: called once, with whether all answers were.

    The first calls are started by the caller, all others as answers come: by gRPC's thread, or by the caller where an
    answer is there at once.
    """
    asking = _Asking(start, things, is_hoped, ended)
    for thing in asking.first:
        asking.ask(thing)


class _Asking:
    """What is left to be asked. It knows no call and no method of its own.

    What it would know in a circle, requests and all their bytes, would stay until the garbage collector comes by.
    """

    def __init__(
        self,
        start: Callable[[Any], Any],
        things: Sequence[Any],
        is_hoped: Callable[[Any], bool],
        ended: Callable[[bool], None],
    ) -> None:
        self._start = start
        self._is_hoped = is_hoped
        self._ended = ended
        self.first, self._later = iter(things[:AT_ONCE]), iter(things[AT_ONCE:])  # to take the next is one step
        self._unanswered = iter(range(len(things))[::-1])
        self._untold = iter([ended])  # whoever takes it, tells

    def ask(self, thing: Any) -> None:
        try:
            call = self._start(thing)
        except Exception:
            self._stop()
        else:
            call.add_done_callback(self._answered)

    def _answered(self, call: Any) -> None:
        try:
            goes_on = self._is_hoped(call)
        except Exception:
            goes_on = False
        if not goes_on:
            self._stop()
        elif next(self._unanswered):
            for thing in islice(self._later, 1):
                self.ask(thing)
        else:
            self._ended(True)

    def _stop(self) -> None:
        _use_up(self.first)
        _use_up(self._later)
        for tell in self._untold:
            tell(False)
