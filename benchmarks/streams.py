"""One stream of elements through Prism, run as a process of its own.

``python -m benchmarks.streams NAME ELEMENTS PRISM URL GRPC_URL`` feeds elements at 1,000 a second, ten in a bundle, and
prints what it took as JSON: CPU per element of this process, which runs all of the pipeline, and the milliseconds from
each element to its acknowledgement. The id of an element says when it came.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import grpc
import numpy as np
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration

from benchmarks.contestants import COLLECTION
from weaviate_io import WriteToWeaviate, proto
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.mapping import Mapper
from weaviate_io.schema import CollectionSchema

RATE, BUNDLE = 1000, 10
"""Elements a second, and in a bundle."""

DIMENSIONS = 768
BATCH, BUFFERING = 500, 1.0
_SCHEMA = CollectionSchema.from_rest(
    {"class": COLLECTION, "vectorizer": "none", "properties": [{"name": "title", "dataType": ["text"]}]}
)
_vector = np.random.default_rng(7).standard_normal(DIMENSIONS, dtype=np.float32)
_milliseconds: list[float] = []


class _Offsets(RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return restriction.size()


class _Ticks(beam.DoFn):
    """Elements that come in time: after ten of them the bundle ends, and the rest is asked for when it is due."""

    def __init__(self) -> None:
        self._started = 0.0

    @beam.DoFn.unbounded_per_element()
    def process(
        self, element: int, tracker: Any = beam.DoFn.RestrictionParam(_Offsets())
    ) -> Iterator[TimestampedValue]:
        first = tracker.current_restriction().start
        number = first
        now = time.time()
        while number < first + BUNDLE and tracker.try_claim(number):
            row = {"id": _id_now(number), "title": f"element {number}", "embedding": _vector}
            yield TimestampedValue(row, now)
            number += 1
        tracker.defer_remainder(Duration(seconds=BUNDLE / RATE))


def _id_now(number: int) -> str:
    return str(uuid.UUID(int=time.time_ns() << 64 | number))


def _milliseconds_since(object_id: str) -> float:
    return (time.time_ns() - (uuid.UUID(object_id).int >> 64)) / 1e6


class _Acknowledged(beam.DoFn):
    def process(self, element: Any) -> None:
        _milliseconds.append(_milliseconds_since(element.uuid))


class _SendPlainly(beam.DoFn):
    """Encode a batch and send it, no more."""

    def __init__(self, grpc_url: str) -> None:
        self._grpc_url = grpc_url

    def setup(self) -> None:
        self._channel = grpc.insecure_channel(self._grpc_url)
        self._call = self._channel.unary_unary(proto.BATCH_OBJECTS)
        self._mapper = Mapper(COLLECTION, id_field="id", vector_field="embedding")
        self._encoder = ObjectEncoder(_SCHEMA)

    def teardown(self) -> None:
        self._channel.close()

    def process(self, element: tuple[str, Iterable[dict[str, Any]]]) -> None:
        entries = [self._encoder.encode(self._mapper.map(row, _SCHEMA)) for row in element[1]]
        self._call(join_request(entries), timeout=60)
        _milliseconds.extend(_milliseconds_since(entry.uuid) for entry in entries)


def _plain(elements: beam.PCollection, url: str, grpc_url: str) -> None:
    grouped = elements | beam.WithKeys(COLLECTION) | beam.GroupIntoBatches(BATCH, BUFFERING)
    grouped | beam.ParDo(_SendPlainly(grpc_url))


def _write(**options: Any) -> Callable[[beam.PCollection, str, str], None]:
    def build(elements: beam.PCollection, url: str, grpc_url: str) -> None:
        write = WriteToWeaviate(
            COLLECTION, url=url, grpc_url=grpc_url, id_field="id", vector_field="embedding", **options
        )
        (elements | write).written | beam.ParDo(_Acknowledged())

    return build


STREAMS: dict[str, Callable[[beam.PCollection, str, str], None]] = {
    "plain GroupIntoBatches": _plain,
    "ours": _write(),
    "ours, 0.1 s": _write(max_buffering_duration_secs=0.1),
    "ours, bundle": _write(batching="bundle"),
}
"""By name: what the elements go into."""


def main() -> None:
    """Stream so many elements, and print what it took."""
    name, elements, prism, url, grpc_url = sys.argv[1:]
    options = PipelineOptions(
        ["--runner=PrismRunner", f"--prism_location={prism}", "--streaming", "--environment_type=LOOPBACK"]
    )
    cpu = time.process_time()
    with beam.Pipeline(options=options) as pipeline:
        came = pipeline | beam.Create([int(elements)], reshuffle=False) | beam.ParDo(_Ticks())
        STREAMS[name](came, url, grpc_url)
    cpu = time.process_time() - cpu
    if len(_milliseconds) != int(elements):
        raise SystemExit(f"{len(_milliseconds)} of {elements} elements were acknowledged")
    print(json.dumps({"cpu_us": 1e6 * cpu / int(elements), "milliseconds": _milliseconds}))


if __name__ == "__main__":
    # Not as __main__, whose classes and counts would travel to the workers by value.
    from benchmarks import streams

    streams.main()
