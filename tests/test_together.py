"""Questions that are asked at the same time."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from weaviate_io.together import AT_ONCE, ask_all, at_once


def test_answers_come_in_the_order_of_the_questions() -> None:
    later = threading.Event()

    def ask(number: int) -> int:
        if number:
            later.set()
        else:
            assert later.wait(10)
        return number * number

    assert at_once(ask, range(5)) == [0, 1, 4, 9, 16]


def test_as_many_are_asked_at_once_as_are_allowed_and_no_more() -> None:
    together = threading.Barrier(3)
    asking: list[int] = []
    counts: list[int] = []

    def ask(number: int) -> None:
        asking.append(number)
        counts.append(len(asking))
        together.wait(10)
        asking.remove(number)
        together.wait(10)

    at_once(ask, range(12), most=3)
    assert max(counts) == 3


@pytest.mark.parametrize("things", [[], ["one"]])
def test_for_one_question_there_is_no_thread(things: Sequence[str]) -> None:
    asked_by: list[threading.Thread] = []
    at_once(lambda thing: asked_by.append(threading.current_thread()), things)
    assert asked_by == [threading.current_thread()] * len(things)


def test_after_an_error_nothing_more_is_asked_and_nobody_waits() -> None:
    caller = threading.current_thread()
    asked: list[int] = []
    in_time: list[bool] = []
    begun, end = threading.Event(), threading.Event()

    def ask(number: int) -> None:
        asked.append(number)
        if threading.current_thread() is caller:
            assert begun.wait(10)
            raise ValueError("one is too many")
        begun.set()
        in_time.append(end.wait(10))

    threads = set(threading.enumerate())
    with pytest.raises(ValueError, match="one is too many"):
        at_once(ask, range(100), most=2)
    end.set()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)
    assert in_time == [True] and sorted(asked) == [0, 1]


def test_an_error_of_another_thread_is_raised_too() -> None:
    caller = threading.current_thread()
    asked: list[int] = []
    failed = threading.Event()

    def ask(number: int) -> None:
        asked.append(number)
        if threading.current_thread() is caller:
            assert failed.wait(10)
            while threading.active_count() > threads:
                time.sleep(0.001)
        else:
            failed.set()
            raise ValueError("one is too many")

    threads = threading.active_count()
    with pytest.raises(ValueError, match="one is too many"):
        at_once(ask, range(100), most=2)
    assert len(asked) <= 2


@pytest.mark.parametrize("most", [0, 1])
def test_where_the_system_has_no_more_threads_fewer_do(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_some(thread: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    assert at_once(str, range(5)) == ["0", "1", "2", "3", "4"]
    assert len(started) == most


class _Calls:
    """Futures that are answered by the test."""

    def __init__(self) -> None:
        self.open: dict[int, Future[bool]] = {}
        self.ended: list[bool] = []

    def start(self, number: int) -> Future[bool]:
        return self.open.setdefault(number, Future())

    def ask(self, count: int) -> None:
        ask_all(self.start, range(count), lambda call: call.result(), self.ended.append)

    def answer(self, answer: bool = True) -> None:
        """Answer the oldest call that is open."""
        self.open.pop(min(self.open)).set_result(answer)


def test_the_next_question_is_asked_when_one_is_answered() -> None:
    calls = _Calls()
    calls.ask(AT_ONCE + 2)
    assert list(calls.open) == list(range(AT_ONCE))
    calls.answer()
    assert list(calls.open) == list(range(1, AT_ONCE + 1))
    while calls.open:
        assert not calls.ended
        calls.answer()
    assert calls.ended == [True]


@pytest.mark.parametrize("count", [1, 3, AT_ONCE + 5])
def test_an_answer_that_is_not_hoped_for_ends_it_once_and_nothing_more_is_asked(count: int) -> None:
    calls = _Calls()
    calls.ask(count)
    calls.answer(False)
    assert calls.ended == [False]
    asked = list(calls.open)
    for _ in asked:
        calls.answer(False)
    assert calls.ended == [False] and not calls.open


def test_an_error_is_no_answer_that_is_hoped_for() -> None:
    calls = _Calls()
    calls.ask(2)
    calls.open.pop(0).set_exception(ValueError("no reply"))
    calls.answer()
    assert calls.ended == [False]


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.usefixtures("no_garbage_collector")
def test_nothing_is_kept_once_all_is_answered(answer: bool) -> None:
    class Held:
        def ended(self, all_hoped: bool) -> None:
            pass

    calls, held = _Calls(), Held()
    kept = weakref.ref(held)
    ask_all(calls.start, range(3), lambda call: call.result(), held.ended)
    del held
    assert kept() is not None
    while calls.open:
        calls.answer(answer)
    assert kept() is None


def test_what_cannot_be_asked_ends_it() -> None:
    ended: list[bool] = []

    def start(number: int) -> Future[bool]:
        raise ValueError("the channel is closed")

    ask_all(start, range(100), lambda call: True, ended.append)
    assert ended == [False]
