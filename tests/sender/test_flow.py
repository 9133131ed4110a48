"""How requests grow, shrink and wait for each other."""

from __future__ import annotations

import threading
import time

import pytest

from weaviate_io.flow import MAX_BYTES, MAX_OBJECTS, Flow, Memory, Places


def size(flow: Flow, vectorized: bool = False) -> int:
    return flow.request_size("C", vectorized)


def test_requests_start_smaller_where_the_server_makes_vectors() -> None:
    flow = Flow(90.0)
    assert (size(flow), size(flow, True)) == (MAX_OBJECTS, 100)


FINISHED = [  # objects, seconds, size before, size after
    (200, 0.1, 200, 400),
    (200, 0.99, 200, 400),
    (199, 0.1, 200, 200),  # not a full one: it does not show what a full one takes
    (200, 1.0, 200, 200),
    (200, 10.0, 200, 200),
    (200, 20.0, 200, 100),
    (1000, 0.1, 1000, MAX_OBJECTS),
    (1200, 0.1, 1200, MAX_OBJECTS),
    (1, 300.0, 1, 1),
    (200, 1e6, 200, 1),
    (1000, 20.0, 200, 200),  # an older, larger one: its half is no growth
]


@pytest.mark.parametrize(("objects", "seconds", "before", "after"), FINISHED)
def test_the_size_adapts_to_the_time_a_request_takes(
    objects: int, seconds: float, before: int, after: int
) -> None:
    flow = Flow(90.0)
    flow._sizes["C"] = before
    flow.finished("C", objects, seconds, False)
    assert size(flow) == after
    assert flow.request_size("Other", False) == MAX_OBJECTS


def test_a_request_that_ran_into_its_deadline_halves_the_size_once() -> None:
    flow = Flow(90.0)
    flow._sizes["C"] = 200
    flow.too_slow("C", 200, 90.0, False)
    flow.too_slow("C", 200, 90.0, False)  # the other one in flight, of the same size
    assert size(flow) == 100
    flow.too_slow("C", 1, 90.0, False)
    assert size(flow) == 1


def test_deadlines_follow_the_slowest_request_within_bounds() -> None:
    flow = Flow(90.0)
    assert flow.deadline() == 90.0
    flow.finished("C", 200, 30.0, False)
    flow.finished("C", 200, 1.0, False)
    assert flow.deadline() == 150.0
    flow.finished("C", 200, 1000.0, False)  # the server stood still once
    assert flow.deadline() == 300.0
    assert Flow(600.0).deadline() == 600.0


def test_where_the_server_makes_vectors_a_request_may_wait_for_the_rates_of_its_provider() -> None:
    assert Flow(90.0).deadline(vectorized=True) == 300.0
    assert Flow(600.0).deadline(vectorized=True) == 600.0


def test_what_got_through_is_known_by_collection_and_time() -> None:
    flow = Flow(90.0)
    assert not flow.has_got_through("C")
    before = time.monotonic()
    flow.got_through("C")
    assert flow.has_got_through("C") and flow.has_got_through("C", since=before)
    assert not flow.has_got_through("C", since=time.monotonic() + 1) and not flow.has_got_through("Other")


def test_refused_objects_are_counted_until_one_gets_through() -> None:
    flow = Flow(90.0)
    assert [flow.refused_before_any("C") for _ in range(3)] == [1, 2, 3]
    flow.got_through("C")
    assert (flow.refused_before_any("C"), flow.refused_before_any("Other")) == (0, 1)


def test_what_was_given_up_gets_as_long_to_end_as_the_slowest_request_took() -> None:
    flow = Flow(90.0)
    assert flow.settling_time() == 0.0
    flow.finished("C", 200, 4.0, False)
    assert flow.settling_time() == 4.0
    flow.too_slow("C", 200, 90.0, False)
    assert flow.settling_time() == 30.0


def test_the_byte_limit_only_falls() -> None:
    flow = Flow(90.0)
    limits = [flow.max_bytes]
    for limit in (5_000_000, 1000, 2000, 0):
        flow.too_large(limit)
        limits.append(flow.max_bytes)
    assert limits == [MAX_BYTES, MAX_BYTES, 1000, 1000, 1]


def test_places_in_flight() -> None:
    flow = Flow(90.0, max_in_flight=1)
    flow.acquire()
    assert not flow.wait_idle(0)
    got = threading.Event()

    def wait() -> None:
        flow.acquire()
        got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.is_set()
    flow.release()
    assert got.wait(30)
    waiting.join()
    flow.release()
    assert flow.wait_idle(0)


def full_grown(most: int) -> Places:
    places = Places(most)
    for _ in range(most):
        places.answered(0.0)
    assert places.limit == most
    return places


def test_places_double_each_round_at_first() -> None:
    """With 50 ms of latency there are all of them after 0.15 seconds."""
    places = Places(16)
    limits = []
    for _ in range(4):
        limits.append(places.limit)
        for _ in range(places.limit):
            places.answered(0.05)
    assert limits == [2, 4, 8, 16] and places.limit == 16
    assert Places(1).limit == 1


@pytest.mark.parametrize("is_slow", [True, False], ids=["slow", "pushed back"])
def test_places_grow_slowly_once_the_server_is_busy(is_slow: bool) -> None:
    places = Places(16)
    if is_slow:
        places.answered(0.5)
    else:
        places.pushed_back(1.0, 2.0)
    before = places.limit
    for _ in range(39 - is_slow):
        places.answered(0.05)
    assert places.limit == before
    places.answered(0.05)
    assert places.limit == before + 1


def test_places_are_not_lowered_before_the_server_pushes_back() -> None:
    places = Places(16)
    assert not places.is_lowered
    places.pushed_back(1.0, 2.0)
    assert places.is_lowered


def test_places_halve_once_a_round_and_come_back_one_by_one() -> None:
    places = full_grown(16)
    limits = []
    for sent_at, now in [(1.0, 2.0), (1.9, 2.5), (2.0, 3.0), (3.5, 4.0), (4.0, 5.0), (5.0, 6.0)]:
        places.pushed_back(sent_at, now)
        limits.append(places.limit)
    assert limits == [8, 8, 4, 2, 1, 1]
    for _ in range(39):
        places.answered(9.0)
    assert places.limit == 1
    places.answered(9.0)
    assert places.limit == 2
    for _ in range(20 * 40):
        places.answered(9.0)
    assert places.limit == 16


def test_answers_before_a_push_back_do_not_count() -> None:
    places = full_grown(4)
    for _ in range(39):
        places.answered(9.0)
    places.pushed_back(1.0, 2.0)
    places.answered(9.0)
    assert places.limit == 2


@pytest.mark.parametrize(
    ("seconds", "vectorized", "free"), [(1.0, False, 2), (11.0, False, 1), (11.0, True, 2)]
)
def test_answers_that_take_too_long_push_back(seconds: float, vectorized: bool, free: int) -> None:
    """Not where a model provider is asked: its rates are waited for, and the server has room."""
    flow = Flow(90.0, max_in_flight=2)
    flow.finished("C", 200, seconds, vectorized)
    assert flow._places.limit == free


def test_what_there_is_no_memory_for_is_tried_in_small_parts_that_grow() -> None:
    memory = Memory()
    sizes = []
    for _ in range(7):
        memory.refused(200, 1.0, lambda rounds: 0.0)
        sizes.append(memory.most)
    for _ in range(7):
        memory.answered(2.0)
        sizes.append(memory.most)
    assert sizes == [12, 6, 3, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 100]
    assert not memory.is_short
    for answers in range(1, 50):
        memory.answered(2.0)
        assert memory.most == 100 + 2 * answers


def test_requests_have_some_objects_however_often_there_was_no_memory() -> None:
    memory = Memory()
    for now in range(1, 30):
        memory.refused(memory.most, float(now), lambda rounds: 0.0)
        while memory.is_short:
            memory.answered(now + 0.5)
    assert memory.most == 10
    for _ in range(MAX_OBJECTS):
        memory.answered(40.0)
    assert memory.most == MAX_OBJECTS


def test_the_answer_to_what_was_sent_before_a_refusal_tells_nothing_of_the_memory() -> None:
    memory = Memory()
    memory.refused(200, 5.0, lambda rounds: 0.0)
    memory.answered(4.9)
    assert memory.most == 12


def test_where_the_server_has_no_memory_one_request_goes_first_after_a_growing_pause() -> None:
    flow = Flow(90.0, max_in_flight=8)
    pauses = []

    def pause(rounds: int) -> float:
        pauses.append(rounds)
        return 0.0

    assert [flow.acquire(), flow.acquire()] == [0.0, 0.0]
    flow.full(200, 0.0, pause)
    flow.full(200, 9.0, pause)  # sent before anyone knew
    assert size(flow) == 12
    flow.release()
    flow.release()
    flow.acquire()
    got = threading.Event()
    waiting = threading.Thread(target=lambda: (flow.acquire(), got.set()))
    waiting.start()
    assert not got.is_set()
    flow.full(12, 0.0, pause)
    assert pauses == [0, 1]
    for _ in range(5):
        flow.finished("C", size(flow), 0.0, False)
    assert size(flow) == 100
    flow.release()
    waiting.join()
    assert got.is_set()


def test_a_wait_counts_as_throttled_only_where_the_server_pushes_back() -> None:
    flow = Flow(90.0, max_in_flight=2)
    assert flow.acquire() == 0.0
    flow.pushed_back(0.0)
    timer = threading.Timer(0.02, flow.release)
    timer.start()
    assert flow.acquire() > 0.0
    timer.join()
