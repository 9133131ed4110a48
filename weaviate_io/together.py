"""Questions to the server that need not wait for each other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")

AT_ONCE = 32
"""Most questions about one request that are asked at the same time."""


def at_once(ask: Callable[[_Thing], _Answer], things: Iterable[_Thing], most: int = AT_ONCE) -> list[_Answer]:
    """What ``ask`` returns for each thing, in their order; asked in threads, ``most`` at the same time.

    The first error is raised at once, and nothing more is asked. What is asked already goes on in threads that end with
    the process, so that nobody waits for a server that does not answer.

    >>> at_once(len, ["one", "three"])
    [3, 5]
    """
    places = list(enumerate(things))
    if len(places) < 2:
        return [ask(thing) for _, thing in places]
    left = iter(places)  # to take the next one is one step
    answered: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()

    def ask_on() -> None:
        for place, thing in left:
            try:
                answered.put((place, ask(thing), None))
            except BaseException as error:
                answered.put((place, None, error))

    answers: dict[int, _Answer] = {}
    try:
        for _ in range(min(most, len(places))):
            threading.Thread(target=ask_on, name="weaviate-io-ask", daemon=True).start()
        while len(answers) < len(places):
            place, answer, error = answered.get()
            if error is not None:
                raise error
            answers[place] = answer
    finally:
        for _ in left:
            pass
    return [answers[place] for place, _ in places]


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
      ended: called once, with whether all answers were. This and the two before are called by gRPC, in its threads.
    """
    left = iter(things)  # to take the next one is one step
    unanswered = iter(range(len(things))[::-1])
    untold = iter([ended])  # whoever takes it, tells

    def answered(call: Any) -> None:
        try:
            goes_on = is_hoped(call)
        except Exception:
            goes_on = False
        if not goes_on:
            stop()
        elif next(unanswered):
            ask_next()
        else:
            ended(True)

    def ask_next() -> None:
        for thing in left:
            try:
                call = start(thing)
            except Exception:
                stop()
            else:
                call.add_done_callback(answered)
            return

    def stop() -> None:
        for _ in left:
            pass
        for tell in untold:
            tell(False)

    for _ in range(min(AT_ONCE, len(things))):
        ask_next()
