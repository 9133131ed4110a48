"""A server that has room for few requests, or no memory: how much more is sent than would be needed."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import grpc
import pytest

from tests.sender.harness import NO_PAUSE, Rig, made, uuid_of
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.errors import WeaviateError
from weaviate_io.flow import Memory, Places
from weaviate_io.request import Entry
from weaviate_io.sender import Sender
from weaviate_io.testing import Action, Delay, Errors, Fail, FakeWeaviate

Code = grpc.StatusCode
SENDERS, REQUESTS = 8, 90
NO_MEMORY = Fail(Code.UNKNOWN, "batch objects: cannot process batch: not enough memory")
NOT_INDEXED = (
    "insert to vector index: insert doc id 7 to vector index: add batch of 1 vectors: not enough memory"
)


def send_by_many(rig: Rig, senders: list[Sender], batches: list[list[Entry]]) -> None:
    """Send in as many threads as there are senders, and check what came of it."""

    def send(sender: Sender, entries: list[Entry]) -> None:
        for start in range(0, len(entries), 200):
            rig.outcomes.extend(sender.submit(rig.schema, entries[start : start + 200]))
        rig.outcomes.extend(sender.drain())

    threads = [threading.Thread(target=send, args=pair) for pair in zip(senders, batches, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.check(most_sends=1000)
    assert not rig.failures()


def sent_again(fake: FakeWeaviate, room: int, refusal: Fail) -> float:
    """The share of requests that were sent in vain, where nobody pauses after a refusal."""

    def choose(request: Any, number: int) -> Action:
        return refusal if fake.hanging >= room else Delay(0.004 * (1 + fake.hanging))  # slower with every one

    fake.behave(choose)
    with Rig(fake, "no vectors") as rig:
        senders = [Sender(rig.client, batch_size=1, **NO_PAUSE) for _ in range(SENDERS)]
        batches = [
            rig.entries(made(n, "no vectors") for n in range(start, start + REQUESTS))
            for start in range(0, SENDERS * REQUESTS, REQUESTS)
        ]
        send_by_many(rig, senders, batches)
        again = sum(sender.tally.retries for sender in senders) / (SENDERS * REQUESTS)
        print(f"room for {room}: {again:.1%} sent again")
        return again


@pytest.mark.parametrize(
    ("room", "refusal"),
    [(1, Fail(Code.RESOURCE_EXHAUSTED, "429")), (4, Fail(Code.UNAVAILABLE, "busy"))],
    ids=repr,
)
def test_a_server_that_takes_few_requests_at_once_is_not_flooded(
    fake: FakeWeaviate, room: int, refusal: Fail
) -> None:
    assert sent_again(fake, room, refusal) <= 0.10


def test_it_would_be_if_all_places_stayed_taken(fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(Places, "pushed_back", lambda *_, **__: None)
    assert sent_again(fake, 4, Fail(Code.UNAVAILABLE, "busy")) > 0.10


def objects_sent_in_vain(fake: FakeWeaviate, seconds: float) -> float:
    """The share of objects that a server refuses whose memory is full for some time after half of them."""
    each = 1600
    lock = threading.Lock()
    taken, full_since = 0, 0.0

    def choose(request: Any, number: int) -> Action | None:
        nonlocal taken, full_since
        with lock:
            if not full_since and taken >= SENDERS * each / 2:
                full_since = time.monotonic()
            if full_since and time.monotonic() < full_since + seconds:
                return NO_MEMORY
            taken += len(request.objects)
            return None

    fake.behave(choose)
    with Rig(fake, "no vectors") as rig:
        senders = [Sender(rig.client, batch_size=40, pause=lambda tries: 0.02) for _ in range(SENDERS)]
        numbers = [range(start, start + each) for start in range(0, SENDERS * each, each)]
        send_by_many(rig, senders, [rig.entries(made(n, "no vectors") for n in some) for some in numbers])
        again = sum(sum(sender.tally.batch_sizes) for sender in senders) / (SENDERS * each) - 1
        print(f"{again:.1%} of the objects sent in vain")
        return again


def test_a_server_that_is_out_of_memory_for_a_time_is_asked_with_few_objects(fake: FakeWeaviate) -> None:
    assert 0 < objects_sent_in_vain(fake, 0.3) <= 0.10


def test_it_would_be_asked_with_many_if_all_were_tried_again(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(Memory, "refused", lambda *_: None)
    assert objects_sent_in_vain(fake, 1.0) > 0.10


def test_only_what_there_was_no_memory_to_index_is_repaired(fake: FakeWeaviate) -> None:
    """The server stores all objects of a request, and its index refuses some of them, each by name."""
    fake.script(Errors(dict.fromkeys((1, 4), NOT_INDEXED), stored=True))
    with Rig(fake) as rig:
        rig.write(*range(9))
        rig.check_all_written(*range(9))
        assert rig.sends() == {uuid_of(n): 3 if n in (1, 4) else 1 for n in range(9)}
        assert rig.client.flow.request_size("Article", False) < 1000, "the next request is a smaller one"


def test_what_there_is_never_memory_to_index_fails_the_job_and_not_an_object(fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: Errors({0: NOT_INDEXED}, stored=True))
    with Rig(fake, budget=0.2, pause=lambda tries: 0.02) as rig:
        with pytest.raises(WeaviateError, match="not enough memory"):
            rig.write(*range(3))
        assert not rig.failures()


def test_a_server_that_takes_a_few_objects_now_and_then_is_given_them_for_longer_than_the_budget(
    fake: FakeWeaviate,
) -> None:
    fake.behave(lambda request, number: None if number % 2 else NO_MEMORY)
    with Rig(fake, budget=0.5, pause=lambda tries: 0.3, batch_size=60) as rig:
        rig.write(*range(60))
        rig.check_all_written(*range(60))
        assert len(fake.requests) >= 2 * 4, "more pauses than the budget has room for"


def test_what_there_is_never_memory_for_while_others_pass_fails_the_job_in_the_end(fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: NO_MEMORY if request.objects[0].uuid == uuid_of(0) else None)
    patience: dict[str, Any] = {"budget": 0.5, "longest_wait": 1.0, "pause": lambda tries: 0.02}
    with Rig(fake, "no vectors", **patience) as rig:
        encode = ObjectEncoder(rig.schema).encode
        others, is_done = Sender(rig.client, batch_size=1, pause=lambda tries: 0.02), threading.Event()

        def pass_by() -> None:
            numbers = itertools.count(1)
            while not is_done.wait(0.01):
                others.submit(rig.schema, [encode(made(next(numbers), "no vectors"))])
            others.drain()

        thread = threading.Thread(target=pass_by)
        thread.start()
        started = time.monotonic()
        try:
            rig.send(0)
            with pytest.raises(WeaviateError, match="not enough memory"):
                rig.drain()
        finally:
            is_done.set()
            thread.join()
        assert time.monotonic() - started >= 1.0, "it had its time"


def test_of_a_server_without_memory_one_request_asks_for_all(fake: FakeWeaviate) -> None:
    """Its refusals take no time, and would be many: 16 requests, each on its own, asked it 220 times in a minute."""
    fake.behave(lambda request, number: NO_MEMORY if number < SENDERS + 12 else None)
    with Rig(fake, "no vectors") as rig:
        senders = [Sender(rig.client, batch_size=1, pause=lambda tries: 0.02) for _ in range(SENDERS)]
        batches = [rig.entries([made(n, "no vectors")]) for n in range(SENDERS)]
        send_by_many(rig, senders, batches)
        assert sum(sender.tally.throttled_seconds for sender in senders) > 0
        together = [
            one
            for one in fake.requests[2:-SENDERS]
            if any(other.start < one.start < (other.end or 0.0) for other in fake.requests[2:-SENDERS])
        ]
        assert not together, "several asked at once"
