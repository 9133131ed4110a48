"""An import as a program of its own, bounded or without end, for workers that have the installed package and no more.

It imports nothing of the tests, so that all it defines has to be pickled. Tests whose workers run in their own process
take its parts.
"""

from __future__ import annotations

import argparse
import os
import pickle
import time
import uuid
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Duration, Timestamp

from weaviate_io import WriteToWeaviate

COLLECTION = "Article"
PARTS = 2
"""Into how many parts the numbers are dealt, each with a watermark of its own."""

ENDS = "--shutdown_sources_after_idle_ms=100"
"""Has Flink end a stream that is over; else its first step stays for ever, where there are checkpoints."""


def row(number: int) -> dict[str, Any]:
    """Of ten rows the encoder refuses one and the server another."""
    given: Any = "not a number" if number % 10 == 3 else number
    return {"title": f"title {number}", "number": given, "vector": [number + 1.0, 0.5]}


class _Numbers(beam.transforms.core.RestrictionProvider):
    def initial_restriction(self, element: tuple[int, int]) -> OffsetRange:
        return OffsetRange(0, element[1] // PARTS)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: tuple[int, int], restriction: OffsetRange) -> int:
        return restriction.size()

    def split(self, element: tuple[int, int], restriction: OffsetRange) -> Any:
        yield restriction  # to split it further would have numbers overtake the watermark


class _Count(beam.DoFn):
    """Hands out a few numbers in a bundle, and goes on after a pause; each is a second of event time."""

    def __init__(self, step: int, pause: float, gate: str | None) -> None:
        self._step = step
        self._pause = pause
        self._gate = gate

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: tuple[int, int],
        tracker: Any = beam.DoFn.RestrictionParam(_Numbers()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Any:
        part, count = element
        place = start = tracker.current_restriction().start
        end = start + self._step
        if self._gate is not None and not os.path.exists(self._gate):
            end = min(end, count // PARTS // 4)
        while place < end:
            if not tracker.try_claim(place):
                return
            number = place * PARTS + part
            yield TimestampedValue((number, time.time()), number)
            watermark.set_watermark(Timestamp(number))
            place += 1
        tracker.defer_remainder(Duration.of(self._pause))


class Numbers(beam.PTransform):
    """An unbounded source: (number, time.time() at which it came), at their numbers in seconds of event time.

    Args:
      count: how many.
      step: how many a part hands out in a bundle.
      pause: seconds between its bundles.
      gate: path of a file; until it is there, only the first quarter is handed out.
    """

    def __init__(self, count: int, step: int, pause: float, gate: str | None = None) -> None:
        super().__init__()
        self._count = count
        self._gate = gate
        self._step = step
        self._pause = pause

    def expand(self, begin: Any) -> beam.PCollection:
        parts = begin | beam.Create([(part, self._count) for part in range(PARTS)]) | beam.Reshuffle()
        return parts | "Count" >> beam.ParDo(_Count(self._step, self._pause, self._gate))


class Keep(beam.DoFn):
    """Writes what it sees into a folder, with timestamp, window and the time, each bundle its own file."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._seen: list[Any] = []

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> None:
        bounds = (float(window.start), float(window.end)) if hasattr(window, "start") else None
        self._seen.append((element, timestamp.micros / 1e6, bounds, time.time()))

    def finish_bundle(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        name = f"{self._folder}/{uuid.uuid4().hex}"
        with open(f"{name}.part", "wb") as file:
            pickle.dump(self._seen, file)
        os.rename(f"{name}.part", f"{name}.kept")


def _row(given: tuple[int, float]) -> dict[str, Any]:
    return row(given[0])


def _bounded(start: int) -> Any:
    return (TimestampedValue((n, time.time()), n) for n in range(start, start + 100))


def _keyed(element: Any) -> tuple[int, Any]:
    return 0, element


def _summed(element: tuple[int, Any]) -> int:
    return sum(1 for _ in element[1])


def write(numbers: beam.PCollection, folder: str, write_to_weaviate: beam.PTransform, window: WindowFn) -> None:
    """Write the rows of numbers in windows; keep them, what comes out, and how many of it there are in each window."""
    numbers | "Keep taken" >> beam.ParDo(Keep(f"{folder}/taken"))
    result = numbers | beam.Map(_row) | beam.WindowInto(window) | write_to_weaviate
    for tag in ("written", "failed"):
        output = getattr(result, tag)
        output | f"Keep {tag}" >> beam.ParDo(Keep(f"{folder}/{tag}"))
        grouped = output | f"Key {tag}" >> beam.Map(_keyed) | f"Group {tag}" >> beam.GroupByKey()
        counted = grouped | f"Sum {tag}" >> beam.Map(_summed)
        counted | f"Keep sums of {tag}" >> beam.ParDo(Keep(f"{folder}/{tag}_sums"))


def main() -> None:
    """Run it as the options say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--grpc-url", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--collection", default=COLLECTION)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--batching", default="auto")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--step", type=int, default=0, help="numbers in a bundle of unbounded input")
    parser.add_argument("--pause", type=float, default=0.1)
    parser.add_argument("--gate", help="file without which unbounded input stays at its first quarter")
    given, flags = parser.parse_known_args()
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    if given.step:
        numbers = pipeline | Numbers(given.count, given.step, given.pause, given.gate)
    else:
        starts = pipeline | beam.Create(range(0, given.count, 100)) | beam.Reshuffle()
        numbers = starts | beam.FlatMap(_bounded)
    transform = WriteToWeaviate(
        given.collection,
        url=given.url,
        grpc_url=given.grpc_url,
        id_field="title",
        vector_field="vector",
        batching=given.batching,
        batch_size=given.batch_size,
    )
    write(numbers, given.folder, transform, FixedWindows(100))
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    main()
