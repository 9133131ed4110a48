"""Unbounded input, as far as runners of one process can show it: batches by time, nothing lost, nothing late."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue

from tests.write.running import FN_API, LOOPBACK
from weaviate_io import WriteToWeaviate
from weaviate_io.batching import _sharded_by_process
from weaviate_io.testing import ErrorsWhere

SCHEMA = {"class": "Event", "properties": [{"name": "second", "dataType": ["int"]}]}


class Ticks(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return restriction.size()


class Tick(beam.DoFn):
    """A clock that says of itself that it never ends, and hands out small bundles."""

    @beam.DoFn.unbounded_per_element()
    def process(self, element: int, tracker: Any = beam.DoFn.RestrictionParam(Ticks())) -> Any:
        second = start = tracker.current_restriction().start
        while tracker.try_claim(second):
            yield TimestampedValue({"second": "bad" if second % 10 == 3 else second}, second)
            second += 1
            if second - start == 25:
                tracker.defer_remainder()
                return


class Clock(beam.PTransform):
    def __init__(self, seconds: int, window: Any = None) -> None:
        super().__init__()
        self._seconds = seconds
        self._window = window

    def expand(self, begin: Any) -> beam.PCollection:
        ticks = begin | beam.Create([self._seconds]) | beam.ParDo(Tick())
        return ticks | beam.WindowInto(self._window) if self._window else ticks


def refuse_sevens(message: Any) -> str | None:
    second = message.properties.non_ref_properties.fields["second"].number_value
    return "invalid integer property 'second' on class 'Event': not today" if second % 10 == 7 else None


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    fake.create_collection(SCHEMA)
    fake.behave(lambda request, number: ErrorsWhere(refuse_sevens))
    return {"collection": "Event", "url": fake.url, "grpc_url": fake.grpc_url}


@pytest.mark.parametrize("runner", [FN_API, LOOPBACK], ids=lambda runner: runner.name)
@pytest.mark.parametrize("seconds", [10, 250])
def test_written_and_failed_are_complete(write, into, fake, runner, seconds):
    transform = WriteToWeaviate(**into, batch_size=100)
    clock = Clock(seconds, FixedWindows(100))
    done = write(clock, transform, runner, through=("nothing", "group_by_key"))
    good = [second for second in range(seconds) if second % 10 not in (3, 7)]
    assert sorted(one.timestamp for one in done.seen_written) == good
    assert Counter(one.reason for one in done.failed) == {"invalid_property": seconds // 5}
    assert len(fake.objects) == len(good)
    assert done.counters["written"] == len(good)


@pytest.mark.parametrize("window", [FixedWindows(20), SlidingWindows(20, 5)], ids=["fixed", "sliding"])
def test_windows_and_timestamps_are_kept(write, into, fake, window):
    done = write(Clock(60, window), WriteToWeaviate(**into, max_buffering_duration_secs=0.5))
    copies = 4 if isinstance(window, SlidingWindows) else 1
    good = [second for second in range(60) if second % 10 not in (3, 7)]
    assert Counter(one.timestamp for one in done.seen_written) == dict.fromkeys(good, copies)
    assert Counter(one.timestamp % 10 for one in done.seen_failed) == {3: 6 * copies, 7: 6 * copies}
    for one in (*done.seen_written, *done.seen_failed):
        assert one.window[0] <= one.timestamp < one.window[1]
    sent = sum(len(request.uuids) for request in fake.requests if request.method == "BatchObjects")
    assert sent == 54


def test_the_input_is_unbounded_and_so_are_the_outputs(into):
    pipeline = FN_API.pipeline()
    ticks = pipeline | Clock(10)
    result = ticks | WriteToWeaviate(**into)
    assert not ticks.is_bounded
    assert not result.written.is_bounded and not result.failed.is_bounded


def test_bundles_can_be_asked_for(write, into):
    done = write(Clock(50), WriteToWeaviate(**into, batching="bundle"))
    assert len(done.written) == 40 and len(done.failed) == 10


def test_max_errors_counts_per_process_only(write, into, caplog):
    assert len(write(Clock(50), WriteToWeaviate(**into, max_errors=10)).failed) == 10
    assert "max_errors=10 counts per worker process only: the input is unbounded" in caplog.text
    with pytest.raises(Exception, match="10 objects failed, max_errors=9 is allowed"):
        write(Clock(50), WriteToWeaviate(**into, max_errors=9))


def test_all_threads_of_a_process_fill_the_same_batches():
    with ThreadPoolExecutor(4) as pool:
        meeting = Barrier(4)

        def shard(number: int) -> Any:
            meeting.wait(30)  # each in a thread of its own
            return _sharded_by_process(("Event", (b"", number, None)))[0]

        assert len(set(pool.map(shard, range(4)))) == 1
