"""A whole import on one runner: rows in windows, some of which fail, and every kind of consumer of what comes out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from tests.oracle.judge import Verdict, judge, key_of, places_of
from tests.runners.job import COLLECTION, row
from tests.runners.places import Place
from tests.write.running import Seen, collect, collected
from weaviate_io import WeaviateObject, WriteToWeaviate, generate_uuid5
from weaviate_io.counters import counters
from weaviate_io.testing import ErrorsWhere, FakeWeaviate

SCHEMA = {
    "class": COLLECTION,
    "properties": [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}],
}
CONSUMERS = ("nothing", "group_by_key", "side_input", "file")
WINDOW = 1000.0
"""Seconds of a window; a row is one second."""
_PART = 500


def refuse_sevens(message: Any) -> str | None:
    """What the server says of one row of ten."""
    number = message.properties.non_ref_properties.fields["number"].number_value
    return "invalid text property 'title' on class 'Article': not today" if number % 10 == 7 else None


def fails(number: int) -> bool:
    """Whether a row is refused by either."""
    return number % 10 in (3, 7)


def sent(number: int) -> WeaviateObject:
    """The object that a row makes."""
    given = row(number)
    uuid = generate_uuid5(given["title"])
    return WeaviateObject(
        {"title": given["title"], "number": given["number"]}, uuid, given["vector"], collection=COLLECTION
    )


class Rows(beam.PTransform):
    """Rows with a timestamp each, in windows, in as many bundles as the runner makes of the parts."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def expand(self, begin: Any) -> beam.PCollection:
        count = self._count
        return (
            begin
            | beam.Create(range(0, count, _PART))
            | beam.Reshuffle()
            | beam.FlatMap(
                lambda start: (TimestampedValue(row(n), n) for n in range(start, min(count, start + _PART)))
            )
            | beam.WindowInto(FixedWindows(WINDOW))
        )


def _now(_: Any) -> float:
    return time.monotonic()


@dataclass
class Whole:
    """What came out of an import, through each kind of consumer."""

    written: dict[str, list[Seen]] = field(default_factory=dict)
    failed: dict[str, list[Seen]] = field(default_factory=dict)
    waited: list[Seen] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    ran_on: str = ""

    def verdict(self, fake: FakeWeaviate, count: int) -> Verdict:
        """What the oracle says."""
        written, failed = (
            [key_of(one.value) for one in consumers["nothing"]] for consumers in (self.written, self.failed)
        )
        return judge(places_of(fake), map(sent, range(count)), written, failed, "number")


def run(place: Place, fake: FakeWeaviate, folder: Path, count: int, batching: str) -> Whole:
    """Write so many rows into the fake server."""
    fake.create_collection(SCHEMA)
    fake.behave(lambda request, number: ErrorsWhere(refuse_sevens))
    pipeline = place.runner().pipeline()
    result = (
        pipeline
        | Rows(count)
        | WriteToWeaviate(
            COLLECTION,
            url=fake.url,
            grpc_url=fake.grpc_url,
            id_field="title",
            vector_field="vector",
            batching=batching,
        )
    )
    outputs = {"written": result.written, "failed": result.failed}
    for tag, output in outputs.items():
        whole = output | f"{tag} in one window" >> beam.WindowInto(GlobalWindows())
        outputs[tag] = whole
        for way in CONSUMERS:
            # A side input of windows is only seen from the same windows, and the one who looks has none.
            consumed = whole if way == "side_input" else output
            _consume(consumed, f"{tag} through {way}", folder / tag / way, way)
    waiting = pipeline | "Waiting" >> beam.Create([0]) | beam.WaitOn(*outputs.values())
    _consume(waiting | beam.Map(_now), "waited", folder / "waited", "nothing")
    finished = pipeline.run()
    finished.wait_until_finish()
    return Whole(
        {way: collected(folder / "written" / way, way) for way in CONSUMERS},
        {way: collected(folder / "failed" / way, way) for way in CONSUMERS},
        collected(folder / "waited", "nothing"),
        counters(finished),
        type(finished).__name__,
    )


class _Consume(beam.PTransform):
    def __init__(self, folder: Path, way: str) -> None:
        super().__init__()
        self._folder = folder
        self._way = way

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        collect(pcoll, self._folder, self._way)
        return pcoll


def _consume(pcoll: beam.PCollection, name: str, folder: Path, way: str) -> None:
    pcoll | name >> _Consume(folder, way)


def check(whole: Whole, fake: FakeWeaviate, count: int) -> None:
    """Every row is in one output, once, whoever consumes it, and all that is promised of it holds."""
    numbers = range(count)
    good = [n for n in numbers if not fails(n)]
    bad = [n for n in numbers if fails(n)]
    for consumers, expected in ((whole.written, good), (whole.failed, bad)):
        uuids = Counter(sent(n).uuid for n in expected)
        for way, seen in consumers.items():
            told = Counter(one.value.uuid for one in seen)
            assert told == uuids, f"{way}: {told.total()} of {len(expected)}"
        there = Counter((one.timestamp, one.window) for one in consumers["nothing"])
        assert there == Counter(
            (float(n), (n // WINDOW * WINDOW, (n // WINDOW + 1) * WINDOW)) for n in expected
        )
        per_window = Counter(n // WINDOW * WINDOW for n in expected)
        grouped = Counter(one.window[0] for one in consumers["group_by_key"])
        assert grouped == per_window
    problems = whole.verdict(fake, count).problems
    assert not problems, problems
    assert whole.counters["written"] == len(good)
    assert whole.counters.get("failed", 0) == len(bad)
    (waited,) = whole.waited
    ends = [one.end for one in fake.requests if one.method == "BatchObjects"]
    assert all(end is not None and end <= waited.value for end in ends), "WaitOn did not wait"
