"""A write in, lists out: pipelines that read like plain Python, on every local runner and over processes."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from weaviate_io.counters import counters


@dataclass(frozen=True)
class Runner:
    """A way to run a pipeline."""

    name: str
    flags: tuple[str, ...]

    def pipeline(self, *more: str) -> beam.Pipeline:
        return beam.Pipeline(options=PipelineOptions([*self.flags, *more]))


FN_API = Runner("fn_api", ("--runner=FnApiRunner",))
DIRECT = Runner("direct", ("--runner=DirectRunner",))
TWO_PROCESSES = Runner(
    "two_processes", (*FN_API.flags, "--direct_running_mode=multi_processing", "--direct_num_workers=2")
)
LOOPBACK = Runner(
    "loopback", ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
)
RUNNERS = (FN_API, DIRECT, TWO_PROCESSES, LOOPBACK)

THROUGH = ("nothing", "group_by_key", "side_input", "file")
"""What may stand between a write and the lists that come out."""


class Seen(NamedTuple):
    """An element as a later step sees it; times in seconds, windows as (start, end)."""

    value: Any
    timestamp: float
    window: Any
    pane: Any


class Done(NamedTuple):
    """What came out of a write."""

    written: list[Any]
    failed: list[Any]
    counters: dict[str, int]
    seen_written: list[Seen]
    seen_failed: list[Seen]
    pids: set[int]


class Keep(beam.DoFn):
    """Writes what it sees into a folder, each bundle its own file."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def start_bundle(self) -> None:
        self._seen: list[Seen] = []

    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> None:
        bounds = (float(window.start), float(window.end)) if hasattr(window, "start") else None
        self._seen.append(Seen(element, timestamp.micros / 1e6, bounds, pane))

    def finish_bundle(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        with open(f"{self._folder}/{os.getpid()}-{uuid.uuid4().hex}", "wb") as file:
            pickle.dump(self._seen, file)


def kept(folder: Path) -> Iterator[Seen]:
    """What ``Keep`` left in a folder."""
    for path in sorted(folder.glob("*")):
        yield from pickle.loads(path.read_bytes())


def _first(element: Any) -> tuple[int, Any]:
    return 0, element


def _values(element: tuple[int, Any]) -> Any:
    return element[1]


def _side(_: Any, elements: Sequence[Any]) -> Sequence[Any]:
    return elements


def _as_text(element: Any) -> str:
    return pickle.dumps(element).hex()


def collect(pcoll: beam.PCollection, folder: Path, through: str) -> None:
    """Keep the elements in a folder after they went through a kind of consumer."""
    if through == "file":
        folder.mkdir(parents=True, exist_ok=True)
        pcoll | "Text" >> beam.Map(_as_text) | "File" >> beam.io.WriteToText(f"{folder}/lines")
        return
    if through == "group_by_key":
        pcoll = pcoll | beam.Map(_first) | beam.GroupByKey() | beam.FlatMap(_values)
    elif through == "side_input":
        once = pcoll.pipeline | beam.Create([None])
        pcoll = once | "Side" >> beam.FlatMap(_side, beam.pvalue.AsList(pcoll))
    pcoll | "Keep" >> beam.ParDo(Keep(folder))


def collected(folder: Path, through: str) -> list[Seen]:
    """What ``collect`` kept."""
    if through != "file":
        return list(kept(folder))
    lines = "".join(path.read_text() for path in folder.glob("lines*")).split()
    return [Seen(pickle.loads(bytes.fromhex(line)), 0.0, None, None) for line in lines]


class _Collect(beam.PTransform):
    def __init__(self, folder: Path, through: str) -> None:
        super().__init__()
        self._folder = folder
        self._through = through

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        collect(pcoll, self._folder, self._through)
        return pcoll


def run_write(
    rows: Any,
    transform: beam.PTransform,
    folder: Path,
    runner: Runner = FN_API,
    *,
    through: str | Sequence[str] = "nothing",
    options: Sequence[str] = (),
    bundles: int = 0,
    also: Callable[[Any], Any] = lambda result: None,
) -> Done:
    """Write rows, and give back both outputs and the metrics.

    Args:
      rows: a list of elements, or a transform that makes them.
      transform: the write.
      folder: where files may be kept meanwhile.
      runner: how to run.
      through: kinds of consumers (``THROUGH``); each must see the same.
      options: further options of the pipeline.
      bundles: into how many bundles the rows are cut by a shuffle; 0 for none.
      also: takes the result of the write, to attach more to it.
    """
    folder = folder / uuid.uuid4().hex
    ways = [through] if isinstance(through, str) else list(through)
    pipeline = runner.pipeline(*options)
    source = rows if isinstance(rows, beam.PTransform) else beam.Create(rows, reshuffle=False)
    elements = pipeline | "Rows" >> source
    if bundles:
        elements |= "Bundles" >> beam.Reshuffle(bundles)
    result = elements | "WriteToWeaviate" >> transform
    also(result)
    for way in ways:
        for tag in ("written", "failed"):
            getattr(result, tag) | f"{tag} through {way}" >> _Collect(folder / tag / way, way)
    finished = pipeline.run()
    finished.wait_until_finish()
    seen = {tag: [collected(folder / tag / way, way) for way in ways] for tag in ("written", "failed")}
    for tag, lists in seen.items():
        sizes = {way: len(found) for way, found in zip(ways, lists, strict=True)}
        assert len(set(sizes.values())) == 1, f"consumers of {tag} see different counts: {sizes}"
    written, failed = seen["written"][0], seen["failed"][0]
    return Done(
        [one.value for one in written],
        [one.value for one in failed],
        counters(finished),
        written,
        failed,
        {int(path.name.split("-")[0]) for path in folder.glob("*/nothing/*")},
    )
