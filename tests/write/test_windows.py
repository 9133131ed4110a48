"""Both outputs of a write have the windows, the timestamps and, in a bundle, the panes of their input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampedValue,
)
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

from tests.write.running import DIRECT, FN_API, LOOPBACK, TWO_PROCESSES, Runner
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import ErrorsWhere

SCHEMA = {"class": "Event", "properties": [{"name": "second", "dataType": ["int"]}]}
SECONDS = [0, 1, 2, 3, 4, 5, 14, 15, 16, 21]
REFUSED_HERE, REFUSED_THERE = 3, 15
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])


def stamped(second: int) -> TimestampedValue:
    # One event is refused on the worker, for a text in the place of its integer, and one by the server.
    return TimestampedValue({"second": "bad" if second == REFUSED_HERE else second}, second + 0.25)


class Events(beam.PTransform):
    """An event at each second, in windows."""

    def __init__(self, window: Any, seconds: Sequence[int] = SECONDS) -> None:
        super().__init__()
        self._window = window
        self._seconds = seconds

    def expand(self, begin: Any) -> beam.PCollection:
        return (
            begin
            | beam.Create(self._seconds, reshuffle=False)
            | beam.Map(stamped)
            | beam.WindowInto(self._window)
        )


@pytest.fixture
def into(fake):
    """Where to write: a server that refuses one of the events."""
    fake.create_collection(SCHEMA)

    def refused(message: Any) -> str | None:
        second = message.properties.non_ref_properties.fields["second"].number_value
        return (
            "invalid integer property 'second' on class 'Event': not today" if second == REFUSED_THERE else None
        )

    fake.behave(lambda request, number: ErrorsWhere(refused))
    return {"collection": "Event", "url": fake.url, "grpc_url": fake.grpc_url, "id_field": at_second}


def at_second(row: Any) -> Any:
    return None if row["second"] == "bad" else row["second"]


def windows_of(window: Any, seconds: Sequence[int]) -> Counter:
    """(timestamp, window) of each event, as Beam itself assigns them."""
    expected: Counter = Counter()
    for second in seconds:
        context = window.AssignContext(Timestamp(second + 0.25))
        for one in window.assign(context):
            bounds = (float(one.start), float(one.end)) if hasattr(one, "start") else None
            expected[second + 0.25, bounds] += 1
    return expected


def places(seen: Any) -> Counter:
    return Counter((one.timestamp, one.window) for one in seen)


@BATCHINGS
@pytest.mark.parametrize(
    "window",
    [FixedWindows(5), SlidingWindows(8, 2), SlidingWindows(4, 8), Sessions(3), GlobalWindows()],
    ids=["fixed", "sliding", "with gaps", "sessions", "global"],
)
def test_both_outputs_keep_windows_and_timestamps(write, into, window, batching):
    check_places(write, into, FN_API, window, batching)


@BATCHINGS
@pytest.mark.parametrize("runner", [DIRECT, TWO_PROCESSES, LOOPBACK], ids=lambda runner: runner.name)
def test_windows_that_overlap_are_kept_by_every_runner(write, into, runner, batching):
    check_places(write, into, runner, SlidingWindows(8, 2), batching)


def check_places(write: Any, into: Any, runner: Runner, window: Any, batching: str) -> None:
    done = write(Events(window), WriteToWeaviate(**into, batching=batching), runner)
    bad = (REFUSED_HERE, REFUSED_THERE)
    assert places(done.seen_written) == windows_of(window, [s for s in SECONDS if s not in bad])
    assert places(done.seen_failed) == windows_of(window, bad)


@BATCHINGS
def test_an_object_in_four_windows_is_sent_once_and_comes_out_in_each(write, into, fake, batching):
    window = SlidingWindows(8, 2)
    done = write(Events(window, [7, 9]), WriteToWeaviate(**into, batching=batching))
    sent = [uuid for request in fake.requests if request.method == "BatchObjects" for uuid in request.uuids]
    assert len(sent) == 2
    assert Counter(one.value.uuid for one in done.seen_written) == dict.fromkeys(sent, 4)
    assert done.counters["written"] == 2
    assert done.counters.get("duplicates", 0) == 0


@BATCHINGS
@pytest.mark.parametrize("window", [FixedWindows(5), SlidingWindows(8, 2)], ids=["fixed", "sliding"])
@pytest.mark.parametrize("runner", [FN_API, DIRECT], ids=lambda runner: runner.name)
def test_group_by_key_downstream_sees_each_window_by_itself(write, into, runner, window, batching):
    # Many small batches: outputs of one window come out while elements of another are processed.
    transform = WriteToWeaviate(**into, batching=batching, batch_size=2)
    done = write(Events(window), transform, runner, through="group_by_key")
    for seen, seconds in (
        (done.seen_written, [s for s in SECONDS if s not in (REFUSED_HERE, REFUSED_THERE)]),
        (done.seen_failed, [REFUSED_HERE, REFUSED_THERE]),
    ):
        expected: Counter = Counter()
        for (_, bounds), count in windows_of(window, seconds).items():
            expected[bounds] += count
        assert Counter(one.window for one in seen) == expected


@BATCHINGS
def test_sessions_merge_downstream(write, into, batching):
    done = write(Events(Sessions(3)), WriteToWeaviate(**into, batching=batching), through="group_by_key")
    assert Counter(one.window for one in done.seen_written) == {
        (0.25, 8.25): 5,
        (14.25, 19.25): 2,
        (21.25, 24.25): 1,
    }
    assert Counter(one.window for one in done.seen_failed) == {(3.25, 6.25): 1, (15.25, 18.25): 1}


class Panes(beam.DoFn):
    def process(self, second: int, value: Any = beam.DoFn.WindowedValueParam) -> Any:
        pane = PaneInfo(False, False, PaneInfoTiming.LATE, second, 1)
        yield WindowedValue(
            {"second": "bad" if second == REFUSED_HERE else second}, value.timestamp, value.windows, pane
        )


class WithPanes(beam.PTransform):
    def expand(self, begin: Any) -> beam.PCollection:
        return begin | beam.Create(SECONDS, reshuffle=False) | beam.ParDo(Panes())


def test_a_bundle_keeps_the_panes_of_its_input(write, into):
    done = write(WithPanes(), WriteToWeaviate(**into, batching="bundle"), FN_API)
    indices = {one.pane.index for one in done.seen_written}
    assert indices == set(SECONDS) - {REFUSED_HERE, REFUSED_THERE}
    assert {one.pane.index for one in done.seen_failed} == {REFUSED_HERE, REFUSED_THERE}
    assert {one.pane.timing for one in done.seen_written} == {PaneInfoTiming.LATE}


@BATCHINGS
def test_an_outcome_does_not_take_the_windows_of_the_element_at_hand(write, into, batching):
    """With requests of one object, an outcome comes out while an element in other windows is processed."""
    seconds = [1, 20, 21, 22, 100, 101]
    transform = WriteToWeaviate(**into, batching=batching, batch_size=1)
    done = write(Events(SlidingWindows(8, 2), seconds), transform)
    assert places(done.seen_written) == windows_of(SlidingWindows(8, 2), seconds)
