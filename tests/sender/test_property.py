"""Random faults over random objects: whatever happens, every outcome is told once and is true."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sender.harness import COLLECTIONS, Rig, numbers_of, uuid_of
from weaviate_io.testing import FakeWeaviate, faults

Code = grpc.StatusCode
TEXTS = (
    "invalid UUID length: 0",
    "vector dimensions do not match the index dimensions",
    "request rate limit exceeded and will not refresh in time",
    "cannot reach enough replicas",
    "insert to vector index: context canceled",
    "something odd",
)
TAINTING = ("store is read-only", "failed to push record to queue", "shard shutdown in progress")
TOO_LARGE = "grpc: received message larger than max ({} vs. 500)"
CALLS = (
    (Code.UNAVAILABLE, "Socket closed"),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (Code.UNKNOWN, "panic occurred: x"),
    (Code.UNKNOWN, "local schema to catch up to version 3"),
    (Code.RESOURCE_EXHAUSTED, "quota"),
    (Code.RESOURCE_EXHAUSTED, TOO_LARGE.format(9)),
    (Code.INTERNAL, "Received RST_STREAM with error code 0"),
)
KINDS = ("ok", "partial", "taint", "call", "stored call", "malformed")


class Trouble:
    """Chooses a fault for each request from a seed, ends after some, and has lasting culprits."""

    def __init__(self, seed: int, length: int, culprits: dict[str, str], poison: str | None) -> None:
        self._random = random.Random(seed)
        self._left = length
        self._culprits = culprits
        self._poison = poison

    def __call__(self, request: Any, number: int) -> faults.Action | None:
        uuids = [message.uuid for message in request.objects]
        if self._poison in uuids:
            return faults.Fail(Code.UNKNOWN, "panic occurred: poison")
        lasting = {i: self._culprits[u] for i, u in enumerate(uuids) if u in self._culprits}
        if self._left <= 0:
            return faults.Errors(lasting)
        self._left -= 1
        chosen = self._random
        kind = chosen.choice(KINDS)
        stored = chosen.random() < 0.5
        texts = TEXTS[3:] if stored else TEXTS[2:]  # the first says that nothing was stored
        some = {i: chosen.choice(texts) for i in range(len(uuids)) if chosen.random() < 0.4}
        if kind == "partial":
            return faults.Errors(some | lasting, stored=stored)
        if kind == "taint":
            place = chosen.randrange(len(uuids))
            taint = {place: chosen.choice(TAINTING)}
            told = place not in lasting
            return faults.Errors(some | taint | lasting, others_stored=not told or chosen.random() < 0.5)
        if kind == "call":
            return faults.Fail(*chosen.choice(CALLS))
        if kind == "stored call":
            return faults.StoreThenFail(*chosen.choice(CALLS[:2]), indexed=chosen.random() < 0.3)
        if kind == "malformed":
            return faults.Malformed(b"\xff\xff", stored=chosen.random() < 0.5)
        return faults.Errors(lasting)


@pytest.fixture(scope="module")
def shared_fake() -> Iterator[FakeWeaviate]:
    with FakeWeaviate() as running:
        yield running


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(0, 12),
    kind=st.sampled_from(sorted(COLLECTIONS)),
    calls=st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=12), min_size=1, max_size=3),
    batch_size=st.sampled_from([None, 1, 3, 5]),
    in_flight=st.integers(1, 3),
    culprits=st.dictionaries(st.integers(0, 11), st.sampled_from(TEXTS[:2]), max_size=4),
    poison=st.one_of(st.none(), st.integers(0, 11)),
)
def test_whatever_happens_every_outcome_is_told_once_and_is_true(
    shared_fake: FakeWeaviate,
    seed: int,
    length: int,
    kind: str,
    calls: list[list[int]],
    batch_size: int | None,
    in_flight: int,
    culprits: dict[int, str],
    poison: int | None,
) -> None:
    fake = shared_fake
    fake.reset()
    lasting = {uuid_of(number): text for number, text in culprits.items()}
    with Rig(fake, kind, batch_size=batch_size, max_in_flight=in_flight) as rig:
        fake.behave(Trouble(seed, length, lasting, None if poison is None else uuid_of(poison)))
        seen: set[int] = set()
        for numbers in calls:
            rig.send(*(number for number in numbers if number not in seen))
            seen |= set(numbers)  # an id in two calls has no order: it is left out
        rig.drain()
        rig.check(most_sends=60)
        bad = (culprits.keys() | ({poison} if poison is not None else set())) & seen
        failed = numbers_of(rig.failures())
        assert bad <= failed
        for number in culprits.keys() & seen - {poison}:
            reason, text = rig.failures()[uuid_of(number)]
            assert text == culprits[number] or reason in ("too_large", "server_error")
        # Others fail only where the server kept saying odd things of them.
        for number in failed - bad:
            assert rig.failures()[uuid_of(number)][0] in ("server_error", "not_indexed", "too_large")
