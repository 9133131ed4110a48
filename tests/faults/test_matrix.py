"""Faults that pass, and objects that are refused, in every way to make batches and for every kind of vector."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import grpc
import pytest

from tests.sender.harness import uuid_of
from weaviate_io.testing import Action, Disconnect, Errors, Fail, StoreThenFail

Code = grpc.StatusCode
SEEDS = (5, 23)
FAULTS = 6
REFUSAL = "invalid UUID length"
PASSING: dict[str, tuple[Action, ...]] = {
    "unavailable": (Fail(Code.UNAVAILABLE, "Socket closed"), Fail(Code.RESOURCE_EXHAUSTED, "429")),
    "interrupted": (Disconnect(stored=True), StoreThenFail(Code.DEADLINE_EXCEEDED)),
    "partial": (
        Errors({0: "cannot reach enough replicas"}, stored=True),
        Errors({0: "store is read-only"}, others_stored=False),
    ),
}
WAYS = {  # the keyword, and how many objects go in one run
    "bundle": ("bundle", 40),
    "group_into_batches": ("group_into_batches", 40),
    "bundles of one element": ("bundle", 1),
}


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("kind", ["unnamed", "named", "no vectors"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_outcome_is_true(trial: Any, fake: Any, fault: str, way: str, kind: str, seed: int) -> None:
    chosen = random.Random(seed)
    batching, size = WAYS[way]
    count = max(size, 4)
    culprits = set(chosen.sample(range(count), 2))
    refused = {uuid_of(number) for number in culprits}

    def choose(request: Any, number: int) -> Action:
        lasting = {index: REFUSAL for index, one in enumerate(request.objects) if one.uuid in refused}
        action = chosen.choice(PASSING[fault]) if number < FAULTS and chosen.random() < 0.7 else Errors(lasting)
        if isinstance(action, Errors):
            action = dataclasses.replace(action, errors={**action.errors, **lasting})
        return action

    fake.behave(choose)
    one = trial(kind, batching=batching, batch_size=7)
    for start in range(0, count, size):
        numbers = range(start, start + size)
        done = one.run(numbers)
        assert {failure.error for failure in done.failed} <= {REFUSAL}
    one.check(failed=culprits, most_sends=24)
    assert one.sends().total() > count  # something did fail
