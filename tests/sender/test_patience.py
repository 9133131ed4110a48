"""How long is tried, above all where a model provider makes the vectors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.sender.harness import COLLECTIONS, Rig, uuid_of
from weaviate_io.errors import WeaviateError
from weaviate_io.patience import hinted_seconds, wait_after
from weaviate_io.schema import CollectionSchema
from weaviate_io.testing import FakeWeaviate, faults

FOR_EVER = 1e9
LIMIT = "failed with status: 429 error: Rate limit reached. Please try again in 20ms."
DOWN = "failed with status: 503 error: overloaded"
LOCKED = "failed with status: 401 error: Incorrect API key provided"


def rig_of(fake: FakeWeaviate, **options: Any) -> Rig:
    """A sender for objects without vectors, that the server makes."""
    rig = Rig(fake, "no vectors", **options)
    rig.schema = CollectionSchema.from_rest({**COLLECTIONS["no vectors"], "vectorizer": "text2vec-openai"})
    return rig


@pytest.fixture
def rig(fake: FakeWeaviate) -> Iterator[Rig]:
    with rig_of(fake) as made_rig:
        yield made_rig


def tries_until(last: int) -> Callable[[int], float]:
    """Pauses that take no time, until the one after so many tries, that takes more than there is."""
    return lambda tries: 0.0 if tries < last else FOR_EVER


def for_one(number: int, text: str) -> faults.ErrorsWhere:
    return faults.ErrorsWhere(lambda message: text if message.uuid == uuid_of(number) else None)


def for_all(text: str) -> faults.ErrorsWhere:
    return faults.ErrorsWhere(lambda message: text)


# How long to wait at a rate limit


HINTS = {
    "Rate limit reached ... Limit 3, Used 3, Requested 1. Please try again in 20s. Visit": 20.0,
    "Please try again in 20ms.": 0.02,
    "Please try again in 1m30s.": 90.0,
    "Please try again in 7h12m0s.": 25_920.0,
    "Please try again in 1.5s": 1.5,
    "Please retry after 26 seconds.": 26.0,
    "Try again in 2 minutes": 120.0,
    "Please retry in 34.07s.": 34.07,
    "slow down": 0.0,
    "try again in a moment": 0.0,
    "try again in 1.2.3s": 0.0,
    "Used 3, Requested 1m": 0.0,
}


@pytest.mark.parametrize(("text", "seconds"), HINTS.items())
def test_the_text_of_a_rate_limit_says_how_long_to_wait(text: str, seconds: float) -> None:
    assert hinted_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("waited", "text", "least", "most"),
    [
        (0.0, "slow down", 1.0, 2.0),
        (10.0, "slow down", 5.0, 10.0),
        (1e6, "slow down", 30.0, 60.0),
        (0.0, "try again in 20ms", 1.0, 2.0),
        (0.0, "try again in 100s", 100.0, 125.0),
        (40.0, "try again in 1s", 20.0, 40.0),
    ],
)
def test_waits_grow_with_jitter_and_are_at_least_what_the_text_says(
    waited: float, text: str, least: float, most: float
) -> None:
    random.seed(3)
    waits = [wait_after(waited, text) for _ in range(50)]
    assert least <= min(waits) < max(waits) <= most


# Rate limits


def test_a_rate_limit_costs_neither_tries_nor_budget(fake: FakeWeaviate) -> None:
    waits: list[tuple[float, str]] = []

    def wait(waited: float, text: str) -> float:
        waits.append((waited, text))
        return 0.0

    with rig_of(fake, budget=0.0, pause=tries_until(0), wait=wait) as rig:
        fake.script(*[for_all(LIMIT)] * 10, for_one(1, LIMIT))
        rig.write(*range(3))
        rig.check_all_written(*range(3))
        assert [len(request.uuids) for request in fake.requests] == [3] * 11 + [1]
        assert waits == sorted(waits) and waits[0] == (0.0, LIMIT) and len(waits) == 11
        tally = rig.sender.tally
        assert (tally.retries, tally.unknown_outcomes) == (11, 0)


def test_waiting_for_rates_is_counted_as_throttled(fake: FakeWeaviate) -> None:
    with rig_of(fake, wait=lambda waited, text: 0.25) as rig:
        fake.script(for_all(LIMIT))
        rig.write(0)
        assert rig.sender.tally.throttled_seconds >= 0.2


def test_an_error_after_a_rate_limit_has_the_whole_budget(fake: FakeWeaviate, monkeypatch: Any) -> None:
    now, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now() + ahead[0])

    def wait(waited: float, text: str) -> float:
        ahead[0] += 1000.0  # that the call took, far more than the budget
        return 0.0

    with rig_of(fake, wait=wait, pause=lambda tries: 1.0 if tries == 0 else 0.0) as rig:
        fake.script(for_all(LIMIT), for_all(DOWN))
        rig.write(0)
        rig.check_all_written(0)


def test_an_object_that_waits_too_long_while_others_pass_fails_alone(fake: FakeWeaviate) -> None:
    waits = iter([0.0] * 5)
    fake.behave(lambda request, number: for_one(1, LIMIT))
    with rig_of(fake, wait=lambda waited, text: next(waits, FOR_EVER)) as rig:
        rig.write(*range(4))
        assert rig.failures() == {uuid_of(1): ("rate_limited", LIMIT)}
        assert rig.sends()[uuid_of(1)] == 6


def test_a_rate_limit_that_says_to_wait_for_longer_than_anyone_does_fails_the_job_at_once(
    fake: FakeWeaviate,
) -> None:
    text = "failed with status: 429 error: Rate limit reached on requests per day. Please try again in 7h12m0s."
    fake.behave(lambda request, number: for_all(text))
    with (
        rig_of(fake, wait=wait_after) as rig,
        pytest.raises(WeaviateError, match=r"no object of Article .*7h12m0s"),
    ):
        rig.write(*range(4))
    assert len(fake.requests) == 1


def test_a_rate_limit_for_whole_calls_is_waited_out_too(rig: Rig, fake: FakeWeaviate) -> None:
    fake.script(*[faults.Fail(grpc.StatusCode.UNKNOWN, "429 Too many requests")] * 20)
    rig.write(*range(4))
    rig.check_all_written(*range(4))


# A provider that is down, or takes no key


def test_a_provider_that_is_down_fails_the_job_once_the_budget_is_spent(fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: for_all(DOWN))
    with rig_of(fake, pause=tries_until(2)) as rig, pytest.raises(WeaviateError) as raised:
        rig.write(*range(9))
    assert str(raised.value) == (
        f"no object of Article gets through: {DOWN} (vectorizer_failed); "
        "see to the model provider, or to its key and rates in model_providers=, and run the job again"
    )
    assert [len(request.uuids) for request in fake.requests] == [9] * 3


def test_a_provider_that_fails_at_one_object_is_asked_for_ever_smaller_parts(fake: FakeWeaviate) -> None:
    fake.behave(
        lambda request, number: for_all(DOWN) if uuid_of(5) in {m.uuid for m in request.objects} else None
    )
    with rig_of(fake, pause=tries_until(9)) as rig:
        rig.write(*range(16))
        assert rig.failures() == {uuid_of(5): ("vectorizer_failed", DOWN)}
    asked = [len(request.uuids) for request in fake.requests if uuid_of(5) in request.uuids]
    assert asked == [16, 16, 16, 8, 4, 2, 1, 1, 1, 1]


def test_a_key_that_nobody_took_yet_fails_the_job_at_once(rig: Rig, fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: for_all(LOCKED))
    with pytest.raises(
        WeaviateError, match=r"no object of Article gets through: .* Incorrect API key provided"
    ):
        rig.write(*range(9))
    assert len(fake.requests) == 1


def test_a_key_that_is_refused_in_passing_is_tried_again(rig: Rig, fake: FakeWeaviate) -> None:
    fake.script(faults.Ok(), *[for_all(LOCKED)] * 3)
    rig.write(0)
    rig.write(*range(1, 9))
    rig.check_all_written(*range(9))


def test_a_key_that_is_taken_no_more_fails_the_job_after_a_few_tries(rig: Rig, fake: FakeWeaviate) -> None:
    rig.write(0)
    fake.behave(lambda request, number: for_all(LOCKED))
    with pytest.raises(WeaviateError, match="Incorrect API key"):
        rig.write(*range(1, 9))
    assert len(fake.requests) == 1 + 4


def test_a_key_that_others_pass_with_costs_its_object_alone(rig: Rig, fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: for_one(3, LOCKED))
    rig.write(*range(9))
    assert rig.failures() == {uuid_of(3): ("vectorizer_refused", LOCKED)}
    assert rig.sends()[uuid_of(3)] == 4


def test_objects_with_vectors_of_their_own_say_nothing_of_the_provider(fake: FakeWeaviate) -> None:
    with Rig(fake, "unnamed") as rig:
        rig.schema = CollectionSchema.from_rest({**COLLECTIONS["unnamed"], "vectorizer": "text2vec-openai"})
        fake.behave(lambda request, number: for_one(3, LOCKED))
        with pytest.raises(WeaviateError, match="Incorrect API key"):
            rig.write(*range(9))


# A call that the provider refuses


def test_a_refused_call_is_halved_until_its_culprit_stands_alone(rig: Rig, fake: FakeWeaviate) -> None:
    text = "failed with status: 400 error: maximum context length is 8192 tokens"
    fake.behave(
        lambda request, number: for_all(text) if uuid_of(5) in {m.uuid for m in request.objects} else None
    )
    rig.write(*range(16))
    assert rig.failures() == {uuid_of(5): ("vectorizer_refused", text)}
    assert [len(request.uuids) for request in fake.requests if uuid_of(5) in request.uuids] == [16, 8, 4, 2, 1]
    assert max(rig.sends().values()) == 5 and rig.sender.tally.unknown_outcomes == 0


def test_objects_refused_one_by_one_fail_the_job_only_before_any_other_passed(
    rig: Rig, fake: FakeWeaviate
) -> None:
    text = "failed with status: 400 error: odd"
    rig.write(0)
    fake.behave(lambda request, number: for_all(text))
    rig.write(*range(1, 30))
    assert len(rig.failures()) == 29


def test_ten_objects_refused_one_by_one_before_any_other_passed_fail_the_job(
    rig: Rig, fake: FakeWeaviate
) -> None:
    fake.behave(lambda request, number: for_all("failed with status: 400 error: odd"))
    rig.write(*range(10))
    assert len(rig.failures()) == 10
    with pytest.raises(WeaviateError, match="10 were refused one by one: failed with status: 400 error: odd"):
        rig.write(10)
