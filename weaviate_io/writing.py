"""The steps of a write on a worker: what is translated goes through the sender, and outcomes become outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Any, Optional, Union
from urllib.parse import urlsplit

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from weaviate_io import client
from weaviate_io.accounting import Accounts
from weaviate_io.batching import Batched, BundleBuffer, RowBuffer
from weaviate_io.columns import ENCODED
from weaviate_io.creation import Catalog, CreateDisposition
from weaviate_io.kind import Kind, Translated, source_of
from weaviate_io.limits import FailureLimit
from weaviate_io.objects import Failed, FailedObject, FailedReference
from weaviate_io.outcome import Failure, Outcome
from weaviate_io.request import Block, Entry
from weaviate_io.schema import CollectionSchema

FAILED = "failed"
"""Tag of the dead letter."""

_Outputs = Iterable[Union[WindowedValue, TaggedOutput]]
"""What comes out together. Steps hand it on as a whole: each output would pass through all of their generators.

It is used up before the next is asked for.
"""


class _Worker(beam.DoFn):
    """Opens the connection in setup and gives it back in teardown, as every DoFn of a write does."""

    def __init__(self, settings: Kind) -> None:
        self._settings = settings
        self._client: Optional[client.Client] = None

    def setup(self) -> None:
        self._client = client.acquire(self._settings.connection)
        server = urlsplit(self._settings.connection.rest_url).netloc
        self._accounts = Accounts(self._settings.counters, server)
        self._limit = FailureLimit(self._settings.name, self._settings.limit, self._settings.things)

    def teardown(self) -> None:
        if self._client is not None:
            client.release(self._settings.connection)
            self._client = None

    def _written(self, count: int) -> None:
        self._accounts.written(count)
        self._limit.written(count)

    def _fail(self, failure: Failed) -> Failed:
        self._accounts.failed(failure)
        self._limit.failed(failure)
        return failure


class _Translating(_Worker):
    """A worker that maps and encodes; what fails there is counted."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        self._translator = self._settings.open_translator(self._client)

    def _translated(self, element: Any) -> Iterator[Union[Translated, TaggedOutput]]:
        """What an element holds, one by one, and the outputs for what of it failed."""
        for translated in self._translator.translate(element):
            self._limit.taken(1)
            if isinstance(translated, (FailedObject, FailedReference)):
                yield TaggedOutput(FAILED, self._fail(translated))
            else:
                yield translated


class _Sending(_Worker):
    """A worker with a sender, whose outcomes become outputs with the window of their input."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        self._tenants = self._settings.open_tenants(self._client)

    def start_bundle(self) -> None:
        assert self._client is not None
        self._sender = self._settings.open_sender(self._client)
        self._accounts.start_bundle()

    def _submit(self, schema: CollectionSchema, objects: Any) -> list[Outcome]:
        is_block = isinstance(objects, Block)
        self._accounts.seen(schema.name, objects.keys if is_block else [entry.key for entry in objects])
        if self._tenants is not None:
            tenants = objects.tenants if is_block else [entry.tenant for entry in objects]
            self._tenants.prepare(schema, tenants)
        return self._sender.submit(schema, objects)

    def _outputs(self, outcomes: Iterable[Outcome]) -> Iterator[_Outputs]:
        """The outputs for outcomes, with the window and timestamp of the elements that they come from."""
        written = 0
        done = self._settings.done
        for schema, entries, failure in outcomes:
            if failure is not None:
                yield (self._dead(schema, entry, failure) for entry in entries)  # never a block
                continue
            written += len(entries)
            self._accounts.reached(schema.name)
            if not isinstance(entries, Block):
                yield (_with_value(entry.origin, done(schema.name, entry)) for entry in entries)
                continue
            values = self._settings.all_done(schema.name, entries)
            for origin, origins in groupby(entries.origins):  # in a batch job all have the same
                yield map(_with_value(origin, None).with_value, islice(values, len(list(origins))))
        self._written(written)
        self._accounts.add(self._sender.tally)

    def _dead(self, schema: CollectionSchema, entry: Entry, failure: Failure) -> TaggedOutput:
        if self._tenants is not None:
            failure = self._tenants.judge(schema.name, entry.tenant, failure)
        source = None if entry.element is None else source_of(entry.element, entry.row, self._settings.failure)
        dead = self._fail(self._settings.dead(failure, schema, entry, source))
        return TaggedOutput(FAILED, _with_value(entry.origin, dead))


class WriteInBundleFn(_Sending, _Translating):
    """The whole write in one step: map, encode, gather in the bundle, send, judge."""

    def start_bundle(self) -> None:
        super().start_bundle()
        sender = self._sender
        self._buffer = BundleBuffer(sender, self._settings.new_batch)
        most_bytes = int(sender.max_bytes / ENCODED)
        self._rows = RowBuffer(lambda: self._translator.rows_at_once(sender), most_bytes)
        self._origin: Optional[WindowedValue] = None

    def process(
        self, element: Any, value: Any = beam.DoFn.WindowedValueParam, gate: Any = None
    ) -> Iterable[Any]:
        origin = self._origin
        if (
            origin is None
            or origin.timestamp_micros != value.timestamp_micros
            or origin.windows != value.windows
            or origin.pane_info != value.pane_info
        ):
            origin = self._origin = value.with_value(None)  # one for all elements in a row that share it
        row = self._translator.row_of(element)
        if row is None:
            before = self._write_rows() if self._rows else ()
            return _one_by_one(chain(before, self._write_element(element, origin)))
        return _one_by_one(self._write_rows()) if self._rows.add(row, element, origin) else ()

    def finish_bundle(self) -> Iterable[Any]:
        return _one_by_one(self._write_rest())

    def _write_rest(self) -> Iterator[_Outputs]:
        yield from self._write_rows()
        for batch in self._buffer.flush():
            yield from self._outputs(self._submit(*batch))
        yield from self._outputs(self._sender.drain())

    def _write_element(self, element: Any, origin: WindowedValue) -> Iterator[_Outputs]:
        for translated in self._translator.translate(element, self._sender):
            count = _count(translated)
            yield from self._write(translated, [origin] * count, [element] * count)

    def _write_rows(self) -> Iterator[_Outputs]:
        rows, elements, origins = self._rows.take()
        for place, translated in self._translator.translate_rows(rows, elements, self._sender):
            end = place + _count(translated)
            yield from self._write(translated, origins[place:end], elements[place:end])

    def _write(
        self, translated: Union[Translated, Failed], origins: list[WindowedValue], elements: list[Any]
    ) -> Iterator[_Outputs]:
        """Send what was translated, or keep it for company; of each object its origin and element."""
        self._limit.taken(len(origins))
        if isinstance(translated, (FailedObject, FailedReference)):
            yield (TaggedOutput(FAILED, _with_value(origins[0], self._fail(translated))),)
            return
        schema, objects = translated
        if isinstance(objects, Block):
            objects.belong_to(origins, elements)
            batches: Sequence[Any] = (*self._buffer.overtaken_by(schema, objects), translated)
        else:
            objects.origin, objects.element = origins[0], elements[0]
            batches = self._buffer.add(schema, objects)
        for batch in batches:
            yield from self._outputs(self._submit(*batch))


class DryRunFn(_Translating):
    """Everything but the sending: what would be written, and what fails before it is sent."""

    def start_bundle(self) -> None:
        self._accounts.start_bundle()

    def process(self, element: Any) -> Iterator[Any]:
        for translated in self._translated(element):
            if isinstance(translated, TaggedOutput):
                yield translated
                continue
            schema, entry = translated
            self._accounts.seen(schema.name, (entry.key,))
            self._written(1)
            yield self._settings.done(schema.name, entry)


class EncodeFn(_Translating):
    """The first half of a write by ``GroupIntoBatches``: map and encode."""

    def process(
        self, element: Any, value: Any = beam.DoFn.WindowedValueParam, gate: Any = None
    ) -> Iterator[Any]:
        for translated in self._translated(element):
            if isinstance(translated, TaggedOutput):
                yield translated
                continue
            schema, entry = translated
            position = source_of(element, entry.row, self._settings.failure).position
            batched: Batched = (entry.payload, value.timestamp.micros, position)
            # Of an element in several windows one copy goes on; its windows follow from its timestamp again.
            one = _Windows(value.windows[:1])
            yield WindowedValue((schema.name, batched), value.timestamp, one)


class _SendingBatches(_Sending):
    """A worker that sends the batches that ``GroupIntoBatches`` made."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        self._catalog = Catalog(self._client, None, CreateDisposition.CREATE_NEVER, self._settings.auto_schema)

    def _send(self, element: tuple[Any, Iterable[Batched]]) -> Iterator[_Outputs]:
        key, batch = element
        schema = self._catalog.get(key.key)
        objects = self._settings.new_batch()
        for payload, micros, position in batch:
            entry = self._settings.encoded(payload)
            entry.origin = WindowedValue(None, Timestamp(micros=micros), _GLOBAL)
            entry.position = position
            objects.append(entry)
        yield from self._outputs(self._submit(schema, objects))

    def finish_bundle(self) -> Iterable[Any]:
        return _one_by_one(self._outputs(self._sender.drain()))


class SendFn(_SendingBatches):
    """The second half: send the batches."""

    def process(self, element: tuple[Any, Iterable[Batched]]) -> Iterable[Any]:
        return _one_by_one(self._send(element))


class SendInTurnFn(_SendingBatches):
    """The second half where the job has a limit: of the batches with one key, one after the other.

    The state is never used. It is there since runners keep the elements with one key of a DoFn with state from
    being processed at the same time, by whatever thread or worker.
    """

    TURN = ReadModifyWriteStateSpec("turn", beam.coders.VarIntCoder())

    def process(
        self, element: tuple[int, tuple[Any, Iterable[Batched]]], turn: Any = beam.DoFn.StateParam(TURN)
    ) -> Iterator[Any]:
        yield from _one_by_one(self._send(element[1]))
        yield from self.finish_bundle()  # nothing is in flight when the next one with the key has its turn


class _Windows(tuple):
    """Windows that stay as they are.

    While an element in n windows is processed, the SDK multiplies the windows of every value that comes out by
    n, also of values that come from other elements.
    """

    def __imul__(self, _: Any) -> _Windows:  # type: ignore[misc]
        return self


def _one_by_one(groups: Iterable[_Outputs]) -> Iterator[Union[WindowedValue, TaggedOutput]]:
    """The outputs; a generator, since ``--runtime_type_check`` uses up any other iterator."""
    for outputs in groups:
        yield from outputs


def _count(translated: Union[Translated, Failed]) -> int:
    """How many objects it is."""
    return len(translated[1]) if isinstance(translated[1], Block) else 1


_GLOBAL = _Windows((GlobalWindow(),))


def _with_value(origin: WindowedValue, value: Any) -> WindowedValue:
    made = origin.with_value(value)
    made.windows = _Windows(origin.windows)
    return made
