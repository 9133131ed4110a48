"""Unbounded input on Prism and Flink: watermarks that move, windows that close, and not an object late or lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows, Sessions, SlidingWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from tests.oracle.judge import judge, key_of, places_of
from tests.runners import job
from tests.runners.outcome import kept
from tests.runners.places import FLINK, PRISM, Place
from tests.runners.whole import SCHEMA, fails, refuse_sevens, sent
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import ErrorsWhere

STREAMING = {"prism": ("--streaming",), "flink": ("--streaming", job.ENDS)}
WINDOWS = {"fixed": FixedWindows(20), "sliding": SlidingWindows(20, 10), "sessions": Sessions(3)}


def assigned(window: Any, number: int) -> list[tuple[float, float]]:
    """The windows that Beam itself gives to an element."""
    context = window.AssignContext(Timestamp(number))
    return [(float(one.start), float(one.end)) for one in window.assign(context)]


@pytest.fixture(params=[PRISM, FLINK], ids=lambda place: place.name)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


def as_it_came(given: tuple[int, float]) -> TimestampedValue:
    return TimestampedValue(given, given[0])


def lateness(number: int) -> int:
    """By how many seconds a number lags behind the watermark: five windows, for one of ten."""
    return 100 if number >= 100 and number % 10 == 5 else 0


def late(given: tuple[int, float]) -> TimestampedValue:
    return TimestampedValue(given, given[0] - lateness(given[0]))


def stream(
    place: Place,
    fake: Any,
    folder: Path,
    window: Any,
    count: int,
    step: int,
    batching: str = "auto",
    stamp: Any = as_it_came,
) -> None:
    """Write so many numbers, of which a bundle has ``step``."""
    fake.create_collection(SCHEMA)
    fake.behave(lambda request, number: ErrorsWhere(refuse_sevens))
    transform = WriteToWeaviate(
        job.COLLECTION,
        url=fake.url,
        grpc_url=fake.grpc_url,
        id_field="title",
        vector_field="vector",
        batching=batching,
    )
    pipeline = place.runner().pipeline(*STREAMING[place.name])
    numbers = pipeline | job.Numbers(count, step, 0.05) | "Stamp" >> beam.Map(stamp)
    job.write(numbers, str(folder), transform, window)
    pipeline.run().wait_until_finish()


def check(fake: Any, folder: Path, window: Any, count: int) -> None:
    written, failed = ([(o, t, w) for o, t, w, _ in kept(folder / tag)] for tag in ("written", "failed"))
    for seen, numbers in (
        (written, [n for n in range(count) if not fails(n)]),
        (failed, [n for n in range(count) if fails(n)]),
    ):
        expected = Counter((sent(n).uuid, float(n), one) for n in numbers for one in assigned(window, n))
        assert Counter((one.uuid, at, where) for one, at, where in seen) == expected
    copies = len(assigned(window, 0))
    once = [list(Counter(key_of(one) for one, _, _ in seen)) for seen in (written, failed)]
    problems = judge(places_of(fake), map(sent, range(count)), *once, "number").problems
    assert not problems, problems
    grouped = {
        tag: sum(size for size, _, _, _ in kept(folder / f"{tag}_sums")) for tag in ("written", "failed")
    }
    assert grouped == {"written": len(written), "failed": len(failed)}, "a GroupByKey dropped what came late"
    assert len(written) + len(failed) == count * copies


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_a_group_by_key_without_lateness_sees_every_outcome_in_its_windows(
    place: Place, window: Any, fake: Any, tmp_path: Path
) -> None:
    stream(place, fake, tmp_path, window, 400, 10)
    check(fake, tmp_path, window, 400)


def test_bundles_of_one_element_share_requests(place: Place, fake: Any, tmp_path: Path) -> None:
    stream(place, fake, tmp_path, FixedWindows(20), 100, 1)
    check(fake, tmp_path, FixedWindows(20), 100)
    requests = [one for one in fake.requests if one.method == "BatchObjects"]
    assert len(requests) < 90, "each object went alone"


def test_bundles_may_be_asked_for(place: Place, fake: Any, tmp_path: Path) -> None:
    stream(place, fake, tmp_path, FixedWindows(20), 200, 10, "bundle")
    check(fake, tmp_path, FixedWindows(20), 200)


def test_what_comes_late_is_written_and_keeps_its_window(place: Place, fake: Any, tmp_path: Path) -> None:
    window = FixedWindows(20)
    stream(place, fake, tmp_path, window, 300, 10, stamp=late)
    for tag in ("written", "failed"):
        expected: Counter[Any] = Counter()
        for number in range(300):
            if fails(number) == (tag == "failed"):
                at = number - lateness(number)
                (where,) = assigned(window, at)
                expected[sent(number).uuid, float(at), where] += 1
        seen = Counter((one.uuid, at, where) for one, at, where, _ in kept(tmp_path / tag))
        assert seen == expected
