"""How many requests a sender keeps open: as many as bring something."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from tests.sender.harness import Rig, made, told, uuid_of
from weaviate_io.client import Client
from weaviate_io.depth import LEAST, MOST, Depth
from weaviate_io.errors import SearchRefused
from weaviate_io.flow import Flow
from weaviate_io.objects import WeaviateObject
from weaviate_io.outcome import Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Block, Request
from weaviate_io.testing import FakeWeaviate
from weaviate_io.together import AT_ONCE, at_once


def served(depth: Depth, requests: int, *, away: float = 0.0, work: float = 0.0) -> list[int]:
    """The limit after each of some requests of a sender that has always as many open as it may.

    Args:
      away: seconds that an answer takes, however many there are.
      work: seconds that the server is busy with one, and with one after the other.
    """
    limits = []
    for _ in range(requests):
        depth.answered(depth.limit, 1000, max(away + work, work * depth.limit))
        limits.append(depth.limit)
    return limits


def test_far_from_the_server_the_depth_doubles_with_each_round() -> None:
    limits = served(Depth(), 40, away=0.05)
    assert limits[:8] == [2, 4, 4, 8, 8, 8, 8, 16]
    assert limits[-1] == MOST


def test_a_busy_server_is_rarely_given_more_than_two() -> None:
    limits = served(Depth(), 1000, work=0.2)
    assert limits[-1] == LEAST
    assert sum(limit > LEAST for limit in limits) <= 24
    assert max(limits) == 2 * LEAST


def test_answers_that_take_over_a_second_bring_no_try() -> None:
    assert set(served(Depth(), 1000, work=0.51)) == {LEAST}
    assert max(served(Depth(), 100, away=1.0)) == MOST


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_that_share_a_busy_server_queue_little_there(processes: int) -> None:
    random = Random(processes)
    depths = [Depth() for _ in range(processes)]
    for work in (0.02, 0.1):
        for _ in range(4000):
            of_all = sum(depth.limit for depth in depths)
            depth = random.choice(depths)
            depth.answered(depth.limit, 1000, work * of_all * random.uniform(0.9, 1.1))
        assert work * sum(depth.limit for depth in depths) <= 2.5


def test_answers_of_a_busy_server_that_scatter_do_not_deepen_it() -> None:
    random = Random(7)
    limits = []
    for _ in range(10):
        depth = Depth()
        for _ in range(6000):
            depth.answered(depth.limit, 1000, 0.1 * depth.limit * random.uniform(0.7, 1.3))
            limits.append(depth.limit)
    assert sum(limit > LEAST for limit in limits) <= 0.2 * len(limits)
    assert sum(limit > 2 * LEAST for limit in limits) <= 0.01 * len(limits)


def test_a_pause_of_the_process_neither_ends_a_try_nor_shrinks_the_depth() -> None:
    depth = Depth()
    limits = [LEAST]
    while limits[-1] < MOST:
        is_first_window = limits.count(8) < 4
        limits += served(depth, 1, away=0.15 if limits[-1] == 8 and is_first_window else 0.05)
    assert len(limits) < 50
    served(depth, MOST // 2, away=0.05)
    served(depth, MOST // 2, away=0.15)
    assert served(depth, MOST // 2, away=0.05) == [MOST] * (MOST // 2)


def test_a_server_that_stays_slow_ends_a_try_and_shrinks_the_depth() -> None:
    depth = Depth()
    served(depth, 8, away=0.05)
    assert depth.limit == 16
    assert served(depth, 16, away=0.15)[-1] == 8
    deep = Depth()
    served(deep, 100, away=0.05)
    assert min(served(deep, 2 * MOST, work=0.5)) < MOST


def test_a_sender_that_is_slower_than_the_server_fails_no_try() -> None:
    depth = Depth()
    for _ in range(200):
        depth.answered(min(depth.limit, 18), 1000, 0.1)
    assert depth.limit == MOST


def test_what_was_opened_before_the_depth_shrank_says_nothing_of_it() -> None:
    depth = Depth()
    for _ in range(100):
        depth.answered(LEAST + 1, 1000, 0.05)
    assert depth.limit == LEAST


@pytest.mark.parametrize("requests", [6, 10])
def test_between_them_it_grows_until_the_server_is_busy(requests: int) -> None:
    limits = served(Depth(), 200, away=0.01 * requests, work=0.01)
    assert requests / 2 <= limits[-1] <= 2 * requests


def test_it_shrinks_again_once_the_server_is_busy() -> None:
    depth = Depth()
    served(depth, 100, away=0.05)
    assert served(depth, 200, work=0.5)[-1] == LEAST


def test_a_slowly_growing_index_does_not_deepen_it() -> None:
    depth = Depth()
    deepest = [max(served(depth, 10, work=0.1 * 1.02**step)) for step in range(200)]
    assert max(deepest) == 2 * LEAST


def test_nothing_is_learned_where_the_sender_has_less_to_send() -> None:
    depth = Depth()
    for _ in range(100):
        depth.answered(1, 1000, 0.05)
    assert depth.limit == LEAST


def test_push_back_and_lost_requests_begin_anew() -> None:
    flow = Flow(90.0)
    served(flow.depth, 100, away=0.05)
    flow.pushed_back(1.0)
    assert flow.depth.limit == LEAST
    served(flow.depth, 100, away=0.05)
    flow.too_slow("C", 1000, 90.0, vectorized=False)
    assert flow.depth.limit == LEAST


def test_senders_share_what_is_beyond_two_requests_each() -> None:
    flow = Flow(90.0, max_in_flight=4)
    served(flow.depth, 100, away=0.05)
    for _ in range(4):
        flow.finished("C", 1, 0.05, vectorized=False)  # the server takes more than the first two
    limit_alone = flow.sender_limit(0)
    for _ in range(4):
        flow.acquire()
    for _ in range(2):
        flow.look()
    assert (limit_alone, flow.sender_limit(6), flow.sender_limit(0)) == (8, 8, LEAST)


def test_what_is_answered_is_not_open_any_more(fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig(fake, batch_size=1) as rig:
        learned: list[int] = []
        monkeypatch.setattr(
            rig.client.flow.depth, "answered", lambda company, objects, seconds: learned.append(company)
        )
        for number in range(3):
            rig.send(number)
            while rig.sender._answers.empty() and len(told(rig.outcomes)) <= number:
                time.sleep(0.001)
        rig.drain()
    assert learned == [1, 1, 1]


class Meeting(BatchObjects):
    """Look-ups that end only once so many of them are going on."""

    def __init__(self, parties: int) -> None:
        super().__init__("existing")
        self._barrier = threading.Barrier(parties)

    def prepare(self, *arguments: Any) -> list[Any]:
        self._barrier.wait(30)
        return super().prepare(*arguments)


def test_look_ups_of_several_requests_go_on_at_once(fake: FakeWeaviate) -> None:
    with Rig(fake, batch_size=1, method=Meeting(2), max_in_flight=None) as rig:
        rig.send(*range(4))
        assert [one.failure for one in told([*rig.outcomes, *rig.drain()])] == [None] * 4


class Broken(BatchObjects):
    """Look-ups that fail."""

    def prepare(self, *arguments: Any) -> list[Any]:
        raise ValueError("no look-up")


def test_what_goes_wrong_in_a_look_up_is_raised_to_the_owner_and_keeps_no_place(fake: FakeWeaviate) -> None:
    with Rig(fake, batch_size=1, method=Broken("existing"), max_in_flight=None) as rig:
        with pytest.raises(ValueError, match="no look-up"):
            rig.write(*range(4))
        assert rig.client.flow.wait_idle(30)


class Counting(BatchObjects):
    """Counts the objects that are looked up."""

    def __init__(self) -> None:
        super().__init__("existing")
        self.looked_up = 0

    def prepare(self, search: Any, request: Any, tally: Any) -> list[Any]:
        self.looked_up += len(request)
        return super().prepare(search, request, tally)


def test_what_is_cut_off_after_its_look_up_is_not_looked_up_again(fake: FakeWeaviate) -> None:
    method = Counting()
    with Rig(fake, method=method) as rig:
        whole = rig.client.flow.acquire

        def shrinking() -> float:
            rig.client.flow._sizes["Article"] = 4  # requests turned out too slow meanwhile
            return whole()

        rig.client.flow.acquire = shrinking  # type: ignore[method-assign]
        rig.write(*range(10))
    assert method.looked_up == 10
    sent = [len(request.uuids) for request in fake.requests if request.method == "BatchObjects"]
    assert sorted(sent) == [2, 4, 4]


def block(rig: Rig, *numbers: int) -> Block:
    """Objects that nobody asked for one by one."""
    return block_of(rig, map(made, numbers))


def block_of(rig: Rig, given: Iterable[WeaviateObject]) -> Block:
    gathered = Block()
    for entry in rig.entries(given):
        gathered.append(entry)
    return gathered


def test_what_was_looked_up_is_sent_though_the_owner_of_the_sender_is_busy(fake: FakeWeaviate) -> None:
    with Rig(fake, method=BatchObjects("existing")) as rig:
        already = rig.sender.submit(rig.schema, block(rig, *range(10)))
        fake.wait_until(lambda: len(fake.objects) == 10)
        (outcome,) = [*already, *rig.sender.drain()]
    assert [one.failure for one in told([outcome])] == [None] * 10
    assert [request.method for request in fake.requests] == ["Search", "BatchObjects"]
    assert (rig.sender.tally.requests, rig.sender.tally.batch_sizes) == (1, [10])


def test_it_waits_for_its_owner_where_it_is_to_be_cut(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rig(fake, method=BatchObjects("existing")) as rig:
        client = rig.client
        start_search = client.start_search

        def start(question: Any) -> Any:
            client.flow._sizes["Article"] = 4  # requests turned out too slow since it was made
            return start_search(question)

        monkeypatch.setattr(client, "start_search", start)
        already = rig.sender.submit(rig.schema, block(rig, *range(10)))
        outcomes = told([*already, *rig.sender.drain()])
    assert [one.failure for one in outcomes] == [None] * 10
    sent = [len(request.uuids) for request in fake.requests if request.method == "BatchObjects"]
    assert 4 in sent and sum(sent) == 10


def test_it_waits_for_its_owner_where_it_has_no_place(fake: FakeWeaviate) -> None:
    with Rig(fake, method=BatchObjects("existing")) as rig:
        flow = rig.client.flow
        taken = [flow.acquire() for _ in range(2)]

        def give_back() -> None:
            fake.wait_until(lambda: any(request.method == "Search" for request in fake.requests))
            time.sleep(0.1)  # for the answer to get there
            for _ in taken:
                flow.release()

        # The owner waits for a place itself if the answer comes while it is still in submit.
        with ThreadPoolExecutor(1) as pool:
            given_back = pool.submit(give_back)
            already = rig.sender.submit(rig.schema, block(rig, *range(10)))
            given_back.result()
        outcomes = told([*already, *rig.sender.drain()])
    assert [one.failure for one in outcomes] == [None] * 10
    assert len(fake.objects) == 10


def test_objects_that_are_stored_are_looked_for_in_the_index_as_before(fake: FakeWeaviate) -> None:
    with Rig(fake, method=BatchObjects("existing")) as rig:
        rig.write(*range(5))
        fake.unindexed.add(("Article", "", uuid_of(3)))
        already = rig.sender.submit(rig.schema, block(rig, *range(10)))
        outcomes = told([*already, *rig.sender.drain()])
        assert [one.failure for one in outcomes] == [None] * 10
        assert (rig.sender.tally.verified, rig.sender.tally.unindexed) == (5, 1)
        assert not fake.unindexed


def test_of_many_tenants_some_are_looked_up_at_the_same_time(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(AT_ONCE)
    select = fake._store.select

    def select_together(*asked: Any) -> Any:
        together.wait(10)
        return select(*asked)

    monkeypatch.setattr(fake._store, "select", select_together)
    given = [made(number)._replace(tenant=f"tenant{number}") for number in range(2 * AT_ONCE)]
    with Rig(fake, "tenants", method=BatchObjects("existing")) as rig:
        already = rig.sender.submit(rig.schema, block_of(rig, given))
        outcomes = told([*already, *rig.sender.drain()])
    assert [one.failure for one in outcomes] == [None] * len(given)
    methods = [request.method for request in fake.requests]
    assert methods == ["Search"] * len(given) + ["BatchObjects"]


class _Stale(Client):
    """A client whose secrets run out as soon as something was asked."""

    starts_at_once = False


@pytest.mark.parametrize("tenants", [1, AT_ONCE, AT_ONCE + 8])
def test_what_is_answered_counts_though_the_secrets_ran_out(fake: FakeWeaviate, tenants: int) -> None:
    """The thread of gRPC waits for no new ones: what is still to be asked is asked in another one."""
    given = [made(number)._replace(tenant=f"tenant{number}") for number in range(tenants)]
    with Rig(fake, "tenants", method=BatchObjects("existing")) as rig:
        rig.client.__class__ = _Stale
        already = rig.sender.submit(rig.schema, block_of(rig, given))
        outcomes = told([*already, *rig.sender.drain()])
    assert [one.failure for one in outcomes] == [None] * tenants
    *looked, sent = [request.method for request in fake.requests]
    assert set(looked) == {"Search"} and sent == "BatchObjects"
    # The owner goes on to ask itself where an answer is there before it listens for it, which all may be.
    assert (len(looked) == tenants) if tenants <= AT_ONCE else (tenants <= len(looked) < 2 * tenants)


def test_what_threads_wait_at_the_same_time_counts_once(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4)
    tally = Tally()

    def wait_together(client: Any, number: int, until: float, pause: Any, waited: Any) -> int:
        together.wait(10)
        waited(0.5)
        waited(1.0 * number)
        return number

    monkeypatch.setattr("weaviate_io.sender.search_until", wait_together)
    with Rig(fake) as rig, rig.sender._searching(tally) as search:
        assert at_once(search, range(4)) == [0, 1, 2, 3]
    assert tally.throttled_seconds == 3.5


def test_a_search_that_nobody_waits_for_any_more_is_not_tried_again(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Callable[[float], None]] = []
    monkeypatch.setattr("weaviate_io.sender.search_until", lambda *given: later.append(given[-1]))
    with Rig(fake) as rig, rig.sender._searching(Tally()) as search:
        search("anything")
        later[0](0.5)
    with pytest.raises(SearchRefused, match="another search of the request failed"):
        later[0](0.5)


def kept_of(rig: Rig) -> list[Request]:
    """The requests of a rig that somebody still holds."""
    return [one for one in gc.get_objects() if type(one) is Request and one.schema is rig.schema]


@pytest.mark.parametrize("kind", ["unnamed", "tenants"])
@pytest.mark.usefixtures("no_garbage_collector")
def test_requests_are_let_go_once_they_are_answered(fake: FakeWeaviate, kind: str) -> None:
    """The garbage collector, which would free their bytes too, comes by when some hundreds of them are kept."""
    with Rig(fake, kind, method=BatchObjects("existing")) as rig:
        for _ in range(2):  # new, and then found by the look-ups
            for first in range(0, 400, 10):
                objects = [made(number, kind) for number in range(first, first + 10)]
                rig.sender.submit(rig.schema, block_of(rig, objects))
            rig.sender.drain()
            give_up = time.monotonic() + 10
            while kept_of(rig):  # until gRPC's thread has left the last callback
                assert time.monotonic() < give_up
                time.sleep(0.01)
