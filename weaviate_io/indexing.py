"""The wait, at the end of a write, until what was written can be found by its vectors.

A server with asynchronous indexing acknowledges an object when it is stored and its vector is in a queue on
disk. Here the job goes on until the queues of the collections it wrote are empty. A server that indexes before
it acknowledges says so, and is not waited for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Optional, Union

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows

from weaviate_io import client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.counters import NAMESPACE
from weaviate_io.errors import WeaviateError
from weaviate_io.objects import WrittenObject

_LOGGER = logging.getLogger(__name__)

WAIT_SECONDS = 3600.0
"""Time limit of ``wait_for_indexing=True``."""

_QUIET_POLLS = 3  # a queue looks empty for a moment while what left it is not yet in the index
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds between two looks
_LOG_EVERY = 10.0  # seconds
_BUSY = ("INDEXING", "LOADING")


def wait_seconds(given: Union[bool, float, None]) -> Optional[float]:
    """The time limit that ``wait_for_indexing=`` asks for, None for no wait.

    >>> wait_seconds(True), wait_seconds(90), wait_seconds(False)
    (3600.0, 90.0, None)
    """
    if given is None or isinstance(given, bool):
        return WAIT_SECONDS if given else None
    if not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise ValueError(f"wait_for_indexing={given!r} is neither True nor a number of seconds above 0")
    return float(given)


class WaitForIndexing(beam.PTransform):
    """Waits, once all objects of ``written`` are there, until they can be searched. Bounded input only.

    It has no output: the job ends when it does. Metrics: the counters ``indexing_wait_seconds`` and
    ``searchable`` (written objects whose wait has ended well), and the gauge ``indexing_queue``, vectors that
    waited at the last look.

    Args:
      connection: the server.
      seconds: the time limit, over all collections.

    Raises:
      WeaviateError: on the worker, at the time limit.
    """

    def __init__(self, connection: WeaviateConnection, seconds: float) -> None:
        super().__init__()
        self._connection = connection
        self._seconds = seconds

    def expand(self, written: beam.PCollection) -> beam.PCollection:
        # Two groupings hold the wait back: neither gives anything out before all writes are done, those that
        # failed included, as both outputs of a write come out of one step. A side input would double or lose
        # elements on local runners where a timer feeds it.
        return (
            written
            | "Collection" >> beam.Map(_collection_of).with_output_types(str)
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Count" >> beam.combiners.Count.PerElement()
            | "One" >> beam.Map(_under_one_key)
            | "Gather" >> beam.GroupByKey()
            | "Wait" >> beam.ParDo(_WaitFn(self._connection, self._seconds))
        )


def _collection_of(written: WrittenObject) -> str:
    return written.collection


def _under_one_key(counted: tuple[str, int]) -> tuple[int, tuple[str, int]]:
    return 0, counted


class _WaitFn(beam.DoFn):
    def __init__(self, connection: WeaviateConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._waited = Metrics.counter(NAMESPACE, "indexing_wait_seconds")
        self._searchable = Metrics.counter(NAMESPACE, "searchable")
        self._queue = Metrics.gauge(NAMESPACE, "indexing_queue")

    def process(self, element: tuple[int, Iterable[tuple[str, int]]]) -> None:
        counts = dict(element[1])
        opened = client.acquire(self._connection)
        try:
            wait = IndexingWait(opened, sorted(counts), self._seconds, on_look=self._queue.set)
            self._waited.inc(round(wait.run()))
        finally:
            client.release(self._connection)
        self._searchable.inc(sum(counts.values()))


class Look(NamedTuple):
    """What the server says of the index of some collections.

    ``queue`` counts vectors that wait, ``busy`` shards at work on theirs, ``silent`` nodes that do not answer,
    so that there may be more; ``synchronous`` says that it acknowledges no object before it is indexed.
    """

    queue: int = 0
    busy: int = 0
    silent: int = 0
    synchronous: bool = True

    @property
    def is_quiet(self) -> bool:
        return not (self.queue or self.busy or self.silent)

    def __add__(self, other: Any) -> Look:
        return Look(
            self.queue + other.queue,
            self.busy + other.busy,
            self.silent + other.silent,
            self.synchronous and other.synchronous,
        )


def look(opened: client.Client, collection: str) -> Look:
    """Ask all nodes about the shards of a collection. One that is dropped meanwhile has nothing to wait for."""
    response = opened.rest("GET", f"/v1/nodes/{collection}?output=verbose", accept=(200, 404))
    if response.status_code == 404:
        return Look()
    return sum((_look_at(node) for node in response.json().get("nodes") or ()), Look())


def _look_at(node: dict[str, Any]) -> Look:
    # An inactive tenant has no shard here, and one that is loaded at its first use had nothing written to it.
    shards = node.get("shards") or ()
    return Look(
        queue=sum(shard.get("vectorQueueLength") or 0 for shard in shards),
        busy=sum(shard.get("vectorIndexingStatus") in _BUSY for shard in shards),
        silent=node.get("status") not in ("HEALTHY", "UNHEALTHY"),
        # Only a server that indexes synchronously has this other queue, of batches.
        synchronous="queueLength" in (node.get("batchStats") or {}),
    )


def is_synchronous(opened: client.Client, collection: str) -> bool:
    """Whether an object of the collection is in the index as soon as it is acknowledged, as far as can be seen."""
    try:
        return look(opened, collection).synchronous
    except WeaviateError as error:
        _LOGGER.warning("%s; without it, what was just written cannot be looked for in the index", error)
        return False


class IndexingWait:
    """Waits until the index of some collections has nothing left to do, at several looks in a row.

    Args:
      opened: the open connection.
      collections: their names.
      seconds: the time limit.
      on_look: takes the number of vectors that wait, at every look.
      clock, sleep: the time, for tests.
    """

    def __init__(
        self,
        opened: client.Client,
        collections: Sequence[str],
        seconds: float,
        *,
        on_look: Callable[[int], None] = lambda queue: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = opened
        self._collections = collections
        self._seconds = seconds
        self._on_look = on_look
        self._clock = clock
        self._sleep = sleep

    def run(self) -> float:
        """Return the seconds it took; raises :class:`WeaviateError` at the time limit."""
        started = self._clock()
        logged_at = started
        quiet = 0
        while True:
            seen = sum((look(self._client, name) for name in self._collections), Look())
            self._on_look(seen.queue)
            quiet = quiet + 1 if seen.is_quiet else 0
            now = self._clock()
            waited = now - started
            if quiet >= (1 if seen.synchronous else _QUIET_POLLS):
                return waited
            if waited >= self._seconds:
                raise WeaviateError(self._too_late(seen))
            if now - logged_at >= _LOG_EVERY:
                logged_at = now
                _LOGGER.info(
                    "%s vectors of %s wait to be indexed, after %.0f s",
                    f"{seen.queue:,}",
                    self._where(),
                    waited,
                )
            pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, waited / 20))
            self._sleep(min(pause, max(0.01, self._seconds - waited)))

    def _where(self) -> str:
        first = ", ".join(self._collections[:3])
        return f"{first} and {len(self._collections) - 3} more" if len(self._collections) > 3 else first

    def _too_late(self, seen: Look) -> str:
        nodes = f" ({seen.silent} nodes do not answer)" if seen.silent else ""
        return (
            f"{seen.queue:,} vectors of {self._where()} were still waiting to be indexed after "
            f"wait_for_indexing={self._seconds:g} s{nodes}; all objects are stored and the server goes on, "
            "so wait for it, or give it more time"
        )
