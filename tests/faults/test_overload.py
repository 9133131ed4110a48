"""A server that has room for few requests: how much more is sent than would be needed."""

from __future__ import annotations

import threading
from typing import Any

import grpc
import pytest

from tests.sender.harness import NO_PAUSE, Rig, made
from weaviate_io.flow import Places
from weaviate_io.sender import Sender
from weaviate_io.testing import Action, Delay, Fail, FakeWeaviate

Code = grpc.StatusCode
SENDERS, REQUESTS = 8, 90


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

        def send(sender: Sender, items: list[Any]) -> None:
            rig.outcomes.extend(sender.submit(rig.schema, items) + sender.drain())

        threads = [threading.Thread(target=send, args=pair) for pair in zip(senders, batches, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rig.check(most_sends=1000)
        assert not rig.failures()
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


def test_of_a_server_without_memory_one_request_asks_for_all(fake: FakeWeaviate) -> None:
    """Its refusals take no time, and would be many: 16 requests, each on its own, asked it 220 times in a minute."""
    refusal = Fail(Code.UNKNOWN, "batch objects: cannot process batch: not enough memory")
    fake.behave(lambda request, number: refusal if number < SENDERS + 12 else None)
    with Rig(fake, "no vectors") as rig:
        senders = [Sender(rig.client, batch_size=1, pause=lambda tries: 0.02) for _ in range(SENDERS)]
        batches = [rig.entries([made(n, "no vectors")]) for n in range(SENDERS)]

        def send(sender: Sender, items: list[Any]) -> None:
            rig.outcomes.extend(sender.submit(rig.schema, items) + sender.drain())

        threads = [threading.Thread(target=send, args=pair) for pair in zip(senders, batches, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rig.check(most_sends=30)
        assert not rig.failures()
        assert sum(sender.tally.throttled_seconds for sender in senders) > 0
        together = [
            one
            for one in fake.requests[SENDERS:-SENDERS]
            if any(other.start < one.start < (other.end or 0.0) for other in fake.requests[SENDERS:-SENDERS])
        ]
        assert not together, "several asked at once"
