"""A network that cuts, swallows or crawls, between a whole pipeline and the server."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from weaviate_io.testing import FaultProxy

COUNT = 60


def reset_in_place_of_the_reply(proxy: FaultProxy, fake: Any) -> None:
    """Have nothing come back, and reset once a batch has arrived: of one that never left the outcome is known."""

    def batches() -> int:
        return sum(request.method == "BatchObjects" for request in fake.requests)

    def reset() -> None:
        with suppress(TimeoutError):
            fake.wait_until(lambda: batches() > arrived, 20)
        proxy.reset_all()

    proxy.swallow_replies = True
    arrived = batches()
    threading.Thread(target=reset).start()


def arm(proxy: FaultProxy, fault: str, fake: Any) -> None:
    if fault == "reset before the request":
        proxy.reset_all()
    elif fault == "reset mid-request":
        proxy.reset_after = 0
    elif fault == "reset in place of the reply":
        reset_in_place_of_the_reply(proxy, fake)
    elif fault == "reply swallowed":
        proxy.swallow_replies = True
    else:
        proxy.mode = "blackhole"


def mend(proxy: FaultProxy) -> None:
    proxy.mode = "pass"
    proxy.swallow_replies = False
    proxy.reset_after = None
    proxy.reset_all()


FAULTS = (
    "reset before the request",
    "reset mid-request",
    "reset in place of the reply",
    "reply swallowed",
    "black hole",
)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_what_the_network_breaks_is_written_once_it_is_well(
    trial: Any, fake: Any, sending: Any, before_batch: Any, shortest_deadline: Any, fault: str, batching: str
) -> None:
    shortest_deadline(1.0 if fault in ("reply swallowed", "black hole") else 30.0)
    with FaultProxy(fake.grpc_url) as proxy:
        mended = threading.Event()

        def pause(tries: int) -> float:
            if not mended.is_set():
                mended.set()
                mend(proxy)
            return 0.1  # gRPC itself connects again after a second only

        sending(pause=pause)
        before_batch(lambda number: arm(proxy, fault, fake) if number == 1 else None)
        one = trial(through=proxy.address, batching=batching, batch_size=20)
        done = one.run(range(COUNT))
        one.check(most_sends=30)
        if fault != "reset before the request":  # gRPC connects again before anyone notices
            assert mended.is_set() and done.counters["retries"]
        if fault in ("reset in place of the reply", "reply swallowed", "black hole"):
            assert done.counters["unknown_outcomes"]


def test_a_crawling_network_gets_smaller_requests(
    trial: Any, fake: Any, sending: Any, shortest_deadline: Any
) -> None:
    """Never the same megabytes into the same deadline, again and again."""
    shortest_deadline(0.5)
    sending(pause=lambda tries: 0.0)
    with FaultProxy(fake.grpc_url) as proxy:
        proxy.bandwidth = 400_000
        one = trial(through=proxy.address)
        large = [
            given._replace(properties={**given.properties, "title": "x" * 1000})
            for given in one.objects(range(200))
        ]
        done = one.run(large)
        one.check(most_sends=20)
    assert fake.requests[-1].size < max(request.size for request in fake.requests)
    assert done.counters["unknown_outcomes"]
