"""The two ways to make batches: in the bundle, and with Beam's ``GroupIntoBatches``.

In the bundle, objects wait in buffers of the DoFn, bounded in bytes for all collections together; nothing is
shuffled. It suits bounded input, whose bundles are large.

``GroupIntoBatches`` gathers objects of many small bundles, as streaming has them. Beam's own expansion always
sets a processing-time timer, which moves a pipeline to a local runner that loses batches and metrics
(apache/beam#28716). For bounded input this module therefore brings its own expansion of the same transform:
one event-time timer a batch, at the end of the window's own time (at ``window.end``, one tick later, runners
drop what comes out), and no other. It keeps the transform's name and payload for runners that do their own
sharding.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import length_hint
from typing import Any, Optional

import apache_beam as beam
import numpy as np
from apache_beam import coders, typehints
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.util import GroupIntoBatches
from apache_beam.typehints.sharded_key_type import ShardedKeyType
from apache_beam.utils.sharded_key import ShardedKey

from weaviate_io.request import Block, Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender

BUFFERED_BYTES = 16_000_000
"""Most bytes that wait in one bundle, over all its collections."""

BATCH_SIZE = 500
"""Most objects that ``GroupIntoBatches`` puts into a batch; the sender cuts them to what suits the server."""

BATCH_BYTES = 4_000_000
"""Most bytes in a batch of ``GroupIntoBatches``."""

MAX_BUFFERING_SECONDS = 1.0
"""How long an object of unbounded input waits for company."""

_MEASURED = 16  # rows that come until it is looked how large they are

Batched = tuple[bytes, int, Optional[str]]
"""What ``GroupIntoBatches`` gathers: encoded object, timestamp in microseconds, position of its row."""

_PROCESS = uuid.uuid4().bytes

_Batch = tuple[CollectionSchema, Any]


class _Open:
    """Objects of one collection that wait for company, and how many there should be."""

    def __init__(self, schema: CollectionSchema, sender: Sender, objects: Any) -> None:
        self.schema = schema
        self.objects = objects
        self.count = 0
        self.bytes = 0
        self.most_objects = sender.request_size(schema)
        self.most_bytes = sender.max_bytes


class RowBuffer:
    """Rows of one bundle that wait to be encoded together, each with the element it is of and where that came from.

    Args:
      most_rows: gives how many there may be.
      most_bytes: how many bytes they may have, about.
    """

    def __init__(self, most_rows: Callable[[], int], most_bytes: int) -> None:
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._start()

    def _start(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._elements: list[Any] = []
        self._origins: list[Any] = []
        self._bytes = 0
        self._most = 0
        self._next = 1

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: dict[str, Any], element: Any, origin: Any) -> bool:
        """Take a row in; returns whether it is time to take all out."""
        self._rows.append(row)
        self._elements.append(element)
        self._origins.append(origin)
        return len(self._rows) >= self._next and self._is_full()

    def _is_full(self) -> bool:
        rows = self._rows
        if self._next == 1:  # of the others only what is large by itself is noticed
            self._most = min(self._most_rows(), self._most_bytes // size_of(rows[0]))
        else:
            self._bytes += _about(rows[-_MEASURED:])
        self._next = min(len(rows) + _MEASURED, self._most)
        return len(rows) >= self._most or self._bytes >= self._most_bytes

    def take(self) -> tuple[list[dict[str, Any]], list[Any], list[Any]]:
        """The rows, their elements, and their origins."""
        taken = self._rows, self._elements, self._origins
        self._start()
        return taken


def _about(rows: Sequence[dict[str, Any]]) -> int:
    """About how many bytes rows have, soon told: the lengths of all values, and what is in them as in the last row."""
    try:
        lengths = sum(map(length_hint, chain.from_iterable(map(dict.values, rows))))
        return lengths + len(rows) * sum(map(_inner_size, rows[-1].values()))
    except Exception:  # of a user's object, and the encoder judges it
        return 0


def _inner_size(value: Any) -> int:
    """About how many bytes a value takes beyond its length."""
    return 0 if isinstance(value, (str, bytes)) else _size_of(value) - length_hint(value)


def size_of(value: Any) -> int:
    """About how many bytes a value takes when it is encoded; at least 1, which is also that of what cannot be measured.

    >>> size_of({"title": "Dune", "vectors": [[0.5, 1.0], [2.0, 3.0]]})
    39
    """
    try:
        return max(1, int(_size_of(value)))
    except Exception:  # of a user's object, or nested without end: the encoder judges it
        return 1


def _size_of(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value) + 1
    if isinstance(value, dict):
        return sum(_size_of(name) + _size_of(item) for name, item in value.items()) + 1
    if isinstance(value, (list, tuple)):
        if value and type(value[0]) in (float, int):  # most likely a vector
            return 4 * len(value) + 1
        return sum(map(_size_of, value)) + 1
    if isinstance(value, np.ndarray):
        return 4 * value.size + 1
    return getattr(value, "nbytes", 8)


class BundleBuffer:
    """Objects of one bundle that wait for company, by collection.

    Args:
      sender: tells how large a request should be now.
      new_batch: makes what gathers entries, by ``append``.
      limit: most bytes to hold; above it the largest batch goes out as it is.
    """

    def __init__(
        self, sender: Sender, new_batch: Callable[[], Any] = list, limit: int = BUFFERED_BYTES
    ) -> None:
        self._sender = sender
        self._new_batch = new_batch
        self._limit = limit
        self._open: dict[str, _Open] = {}
        self._bytes = 0

    def add(self, schema: CollectionSchema, entry: Entry) -> Sequence[_Batch]:
        """Take an object in, and give out what is ready to be sent."""
        batches: tuple[_Batch, ...] = ()
        size = entry.size
        waiting = self._open.get(schema.name)
        if waiting is not None and waiting.bytes + size > waiting.most_bytes:
            batches = (self._close(schema.name),)
            waiting = None
        if waiting is None:
            waiting = self._open[schema.name] = _Open(schema, self._sender, self._new_batch())
        waiting.objects.append(entry)
        waiting.count += 1
        waiting.bytes += size
        self._bytes += size
        if waiting.count >= waiting.most_objects:
            return (*batches, self._close(schema.name))
        if self._bytes > self._limit:
            return (*batches, self._close(max(self._open, key=lambda name: self._open[name].bytes)))
        return batches

    def overtaken_by(self, schema: CollectionSchema, block: Block) -> Sequence[_Batch]:
        """What has to be sent before a block that does not wait: older ones of its objects, with the company they have.

        Both are in flight together then, so that it is likely, but not certain, that the newer ones stay.
        """
        waiting = self._open.get(schema.name)
        if waiting is None or set(waiting.objects.keys).isdisjoint(block.keys):
            return ()
        return (self._close(schema.name),)

    def flush(self) -> Iterator[_Batch]:
        """Give out everything."""
        for name in list(self._open):
            yield self._close(name)

    def _close(self, name: str) -> _Batch:
        closed = self._open.pop(name)
        self._bytes -= closed.bytes
        return closed.schema, closed.objects


class GroupBoundedIntoBatches(GroupIntoBatches.WithShardedKey):
    """``GroupIntoBatches.WithShardedKey`` for bounded input, exact on every local runner."""

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        sharded = typehints.Tuple[ShardedKeyType[str], Batched]  # type: ignore[misc, valid-type]
        return (
            pcoll
            | "Shard" >> beam.Map(_sharded).with_output_types(sharded)
            | "Batch" >> beam.ParDo(_BatchFn(self.params.batch_size))
        )


class GroupUnboundedIntoBatches(GroupIntoBatches.WithShardedKey):
    """``GroupIntoBatches.WithShardedKey`` with one shard of a collection in each process.

    Beam's own has one for each thread. Elements that come one by one are spread over so many batches that each waits
    out the whole of its time and is small.
    """

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        sharded = typehints.Tuple[ShardedKeyType[str], Batched]  # type: ignore[misc, valid-type]
        return (
            pcoll
            | "Shard" >> beam.Map(_sharded_by_process).with_output_types(sharded)
            | "Batch"
            >> GroupIntoBatches(self.params.batch_size, self.params.max_buffering_duration_secs, self.clock)
        )


def _sharded_by_process(element: tuple[str, Batched]) -> tuple[ShardedKey, Batched]:
    key, value = element
    return ShardedKey(key, _PROCESS), value


def _sharded(element: tuple[str, Batched]) -> tuple[ShardedKey, Batched]:
    key, value = element
    return ShardedKey(key, _PROCESS + threading.get_ident().to_bytes(8, "big")), value


class _BatchFn(beam.DoFn):
    VALUES = BagStateSpec("values", coders.FastPrimitivesCoder())
    SIZE = ReadModifyWriteStateSpec("size", coders.TupleCoder([coders.VarIntCoder(), coders.VarIntCoder()]))
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def process(
        self,
        element: tuple[ShardedKey, Batched],
        window: Any = beam.DoFn.WindowParam,
        values: Any = beam.DoFn.StateParam(VALUES),
        size: Any = beam.DoFn.StateParam(SIZE),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[tuple[ShardedKey, list[Batched]]]:
        key, value = element
        count, total = size.read() or (0, 0)
        count, total = count + 1, total + len(value[0])
        if count < self._batch_size and total < BATCH_BYTES:
            if count == 1:
                end.set(window.max_timestamp())
            values.add(value)
            size.write((count, total))
            return
        batch = [*values.read(), value]
        values.clear()
        size.clear()
        end.clear()
        yield key, batch

    @on_timer(END)
    def flush(
        self,
        key: Any = beam.DoFn.KeyParam,
        values: Any = beam.DoFn.StateParam(VALUES),
        size: Any = beam.DoFn.StateParam(SIZE),
    ) -> Iterable[tuple[ShardedKey, list[Batched]]]:
        batch = list(values.read())
        values.clear()
        size.clear()
        if batch:
            yield key, batch
