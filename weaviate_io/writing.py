"""What a write does on a worker: rows to encoded objects, and objects through the sender to their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple, Optional, Union

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from weaviate_io import arrow, client, proto
from weaviate_io.accounting import Accounts
from weaviate_io.batching import Batched, BundleBuffer
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import Catalog, CollectionNotFound, CreateDisposition, SchemaSource
from weaviate_io.encoding import EncodedObject, ObjectEncoder, decode_object, encoded_object
from weaviate_io.errors import RowError, WeaviateError
from weaviate_io.indexing import is_synchronous
from weaviate_io.limits import FailureLimit, Limit
from weaviate_io.mapping import Mapper, Source, unwrap
from weaviate_io.objects import FailedObject, SourceRow, WeaviateObject, WrittenObject
from weaviate_io.outcome import Failure, Outcome, Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Item
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.tenants import AllowedTenants, Tenants

FAILED = "failed"
"""Tag of the dead letter."""


_ANY = beam.coders.FastPrimitivesCoder()
"""What Beam encodes the fields ``object`` and ``row`` of a failure with."""


@dataclass(frozen=True)
class Settings:
    """Everything a worker needs to know about a write; travels with its DoFns."""

    name: str
    connection: WeaviateConnection
    mapper: Mapper
    schema: SchemaSource
    create_disposition: CreateDisposition
    auto_schema: bool
    unknown_properties: str
    dimensions: Union[int, Mapping[str, int], None]
    timezone: Optional[tzinfo]
    consistency_level: Optional[str]
    batch_size: Optional[int]
    limit: Limit
    dry_run: bool
    create_tenants: bool = False
    activate_tenants: bool = False
    allowed_tenants: Optional[AllowedTenants] = None
    verify: str = "existing"

    def open_sender(self, opened: client.Client) -> Sender:
        level = proto.CONSISTENCY_LEVELS[self.consistency_level] if self.consistency_level else None
        tally = Tally()
        method = BatchObjects(self.verify, tally, lambda collection: is_synchronous(opened, collection))
        return Sender(opened, method, consistency_level=level, batch_size=self.batch_size, tally=tally)


class Translated(NamedTuple):
    """One object ready to be sent, and what its dead letter would show."""

    schema: CollectionSchema
    encoded: EncodedObject
    given: WeaviateObject
    position: Optional[str]


class Translator:
    """Elements to encoded objects, each checked against the schema of its collection."""

    def __init__(self, settings: Settings, opened: client.Client) -> None:
        self._settings = settings
        self._mapper = settings.mapper
        self._client = opened
        self._catalog = Catalog(
            opened, settings.schema, settings.create_disposition, settings.auto_schema, settings.dry_run
        )
        self._encoders: dict[str, tuple[CollectionSchema, ObjectEncoder]] = {}

    def translate(self, element: Any) -> Iterator[Union[Translated, FailedObject]]:
        """The objects of an element: one, or as many as a table has rows. Failures take their place."""
        source = unwrap(element)
        if not isinstance(source.row, (pa.Table, pa.RecordBatch)):
            yield self._translate(source)
            return
        for number, row in enumerate(arrow.rows(source.row)):
            yield self._translate(
                source._replace(row=row, position=f"{source.position or 'table'}: row {number}")
            )

    def _translate(self, source: Source) -> Union[Translated, FailedObject]:
        row, position, text, name = source
        given: Optional[WeaviateObject] = None
        try:
            name = name or self._mapper.destination(row)
            schema, encoder = self._encoder(name)
            given = self._mapper.map(row, schema, text)
            try:
                encoded = encoder.encode(given)
            except RowError as error:
                schema, encoder = self._changed_encoder(name, schema, error)
                given = self._mapper.map(row, schema, text)
                encoded = encoder.encode(given)
            if self._settings.allowed_tenants is not None:
                self._settings.allowed_tenants.check(encoded.tenant, name)
        except RowError as error:
            if isinstance(error, CollectionNotFound) and not callable(self._mapper.collection):
                raise WeaviateError(str(error)) from None
            # Text is kept as it came: what it stands for is up to the schema at the time of the replay.
            return failed_row(error, source._replace(collection=name), None if text else given)
        return Translated(schema, encoded, given, position)

    def _encoder(self, name: str, refresh: bool = False) -> tuple[CollectionSchema, ObjectEncoder]:
        known = self._encoders.get(name)
        if known is None or refresh:
            schema = self._catalog.get(name, refresh)
            if known is None or schema != known[0]:
                known = self._encoders[name] = (schema, self._new_encoder(schema))
        return known

    def _changed_encoder(
        self, name: str, schema: CollectionSchema, error: RowError
    ) -> tuple[CollectionSchema, ObjectEncoder]:
        """The encoder for the schema as it is now, where that may cure the error; else the error itself."""
        if error.reason not in ("unknown_property", "unknown_vector"):
            raise error
        changed = self._encoder(name, refresh=True)
        if changed[0] == schema:
            raise error
        return changed

    def _new_encoder(self, schema: CollectionSchema) -> ObjectEncoder:
        given = self._settings.dimensions
        if isinstance(given, int):
            dimensions: Mapping[str, int] = dict.fromkeys(schema.vectors, given)
        else:
            dimensions = given or self._client.stored_dimensions(schema)
        return ObjectEncoder(
            schema,
            unknown_properties=self._settings.unknown_properties,
            dimensions=dimensions,
            timezone=self._settings.timezone,
        )


class _Worker(beam.DoFn):
    """Opens the connection in setup and gives it back in teardown, as every DoFn of a write does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Optional[client.Client] = None

    def setup(self) -> None:
        self._client = client.acquire(self._settings.connection)
        self._accounts = Accounts()
        self._limit = FailureLimit(self._settings.name, self._settings.limit)

    def teardown(self) -> None:
        if self._client is not None:
            client.release(self._settings.connection)
            self._client = None

    def _written(self, count: int) -> None:
        self._accounts.written(count)
        self._limit.written(count)

    def _fail(self, failure: FailedObject) -> FailedObject:
        self._accounts.failed(failure)
        self._limit.failed(failure)
        return failure


class _Translating(_Worker):
    """A worker that maps and encodes; what fails there is counted."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        self._translator = Translator(self._settings, self._client)

    def _translated(self, element: Any) -> Iterator[Union[Translated, TaggedOutput]]:
        """The objects of an element, and the outputs for those that failed."""
        for translated in self._translator.translate(element):
            self._limit.taken(1)
            if isinstance(translated, FailedObject):
                yield TaggedOutput(FAILED, self._fail(translated))
            else:
                yield translated


class _Origin(NamedTuple):
    """Where an object came from, for its outcome: window and timestamp, position, and the object itself.

    Of an object that crossed a shuffle only the bytes are left; ``schema`` says how to read them.
    """

    value: WindowedValue
    position: Optional[str]
    given: Optional[WeaviateObject] = None
    schema: Optional[CollectionSchema] = None


class _Sending(_Worker):
    """A worker with a sender, whose outcomes become outputs with the window of their input."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        settings = self._settings
        self._tenants = Tenants(self._client, settings.name, settings.create_tenants, settings.activate_tenants)

    def start_bundle(self) -> None:
        assert self._client is not None
        self._sender = self._settings.open_sender(self._client)
        self._accounts.start_bundle()

    def _submit(self, schema: CollectionSchema, items: list[Item]) -> list[Outcome]:
        self._tenants.prepare(schema, (item.encoded.tenant for item in items))
        return self._sender.submit(schema, items)

    def _outputs(self, outcomes: Iterable[Outcome]) -> Iterator[Union[WindowedValue, TaggedOutput]]:
        written = 0
        for collection, item, failure in outcomes:
            origin: _Origin = item.owner
            if failure is None:
                written += 1
                done = WrittenObject(collection, item.encoded.uuid, item.encoded.tenant)
                yield _with_value(origin.value, done)
            else:
                failure = self._tenants.judge(collection, item.encoded.tenant, failure)
                yield TaggedOutput(FAILED, _with_value(origin.value, self._fail(self._dead(item, failure))))
        self._written(written)
        self._accounts.add(self._sender.tally)

    @staticmethod
    def _dead(item: Item, failure: Failure) -> FailedObject:
        given = item.owner.given
        if given is None:
            given = decode_object(item.encoded.payload, item.owner.schema)
        return failed_object(failure, item.encoded, given, item.owner.position)


class WriteInBundleFn(_Sending, _Translating):
    """The whole write in one step: map, encode, gather in the bundle, send, judge."""

    def start_bundle(self) -> None:
        super().start_bundle()
        self._buffer = BundleBuffer(self._sender)

    def process(
        self, element: Any, value: Any = beam.DoFn.WindowedValueParam, gate: Any = None
    ) -> Iterator[Any]:
        for translated in self._translated(element):
            if isinstance(translated, TaggedOutput):
                yield translated
                continue
            schema, encoded, given, position = translated
            self._accounts.seen(schema.name, encoded.tenant, encoded.uuid)
            item = Item(encoded, _Origin(value, position, given))
            for batch in self._buffer.add(schema, item):
                yield from self._outputs(self._submit(*batch))

    def finish_bundle(self) -> Iterator[Any]:
        for batch in self._buffer.flush():
            yield from self._outputs(self._submit(*batch))
        yield from self._outputs(self._sender.drain())


class DryRunFn(_Translating):
    """Everything but the sending: what would be written, and what fails before it is sent."""

    def start_bundle(self) -> None:
        self._accounts.start_bundle()

    def process(self, element: Any) -> Iterator[Any]:
        for translated in self._translated(element):
            if isinstance(translated, TaggedOutput):
                yield translated
                continue
            encoded = translated.encoded
            self._accounts.seen(translated.schema.name, encoded.tenant, encoded.uuid)
            self._written(1)
            yield WrittenObject(translated.schema.name, encoded.uuid, encoded.tenant)


class EncodeFn(_Translating):
    """The first half of a write by ``GroupIntoBatches``: map and encode."""

    def process(
        self, element: Any, value: Any = beam.DoFn.WindowedValueParam, gate: Any = None
    ) -> Iterator[Any]:
        for translated in self._translated(element):
            if isinstance(translated, TaggedOutput):
                yield translated
                continue
            batched: Batched = (translated.encoded.payload, value.timestamp.micros, translated.position)
            # Of an element in several windows one copy goes on; its windows follow from its timestamp again.
            one = _Windows(value.windows[:1])
            yield WindowedValue((translated.schema.name, batched), value.timestamp, one)


class SendFn(_Sending):
    """The second half: send the batches that ``GroupIntoBatches`` made."""

    def setup(self) -> None:
        super().setup()
        assert self._client is not None
        self._catalog = Catalog(self._client, None, CreateDisposition.CREATE_NEVER, self._settings.auto_schema)

    def process(self, element: tuple[Any, Iterable[Batched]]) -> Iterator[Any]:
        key, batch = element
        schema = self._catalog.get(key.key)
        items = []
        for payload, micros, position in batch:
            encoded = encoded_object(payload)
            self._accounts.seen(key.key, encoded.tenant, encoded.uuid)
            value = WindowedValue(None, Timestamp(micros=micros), _GLOBAL)
            items.append(Item(encoded, _Origin(value, position, schema=schema)))
        yield from self._outputs(self._submit(schema, items))

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._outputs(self._sender.drain())


class _Windows(tuple):
    """Windows that stay as they are.

    While an element in n windows is processed, the SDK multiplies the windows of every value that comes out by
    n, also of values that come from other elements.
    """

    def __imul__(self, _: Any) -> _Windows:  # type: ignore[misc]
        return self


_GLOBAL = _Windows((GlobalWindow(),))


def _with_value(origin: WindowedValue, value: Any) -> WindowedValue:
    return WindowedValue(value, origin.timestamp, _Windows(origin.windows), origin.pane_info)


def failed_row(error: RowError, source: Source, given: Optional[WeaviateObject]) -> FailedObject:
    """The dead letter of a row that was never sent; the object, where the row could be understood."""
    row = SourceRow(source.row, source.position or "", True) if source.text else source.row
    return _portable(
        FailedObject(
            reason=error.reason,
            error=_utf8(str(error)),
            attempts=0,
            collection=_text(source.collection),
            tenant=_text(given.tenant) if given is not None else None,
            uuid=_text(given.uuid) if given is not None else None,
            object=given,
            row=row if given is None else None,
            position=_text(source.position),
        )
    )


def failed_object(
    failure: Failure, encoded: EncodedObject, given: WeaviateObject, position: Optional[str]
) -> FailedObject:
    """The dead letter of an object that the server refused."""
    return _portable(
        FailedObject(
            reason=failure.reason,
            error=_utf8(failure.error),
            attempts=failure.attempts,
            collection=given.collection,
            tenant=encoded.tenant,
            uuid=encoded.uuid,
            object=given._replace(uuid=encoded.uuid, tenant=encoded.tenant),
            row=None,
            position=_text(position),
        )
    )


def _portable(failure: FailedObject) -> FailedObject:
    """The failure with an object or row that a coder takes; else the failure itself would fail its bundle."""
    given, row = failure.object, failure.row
    if given is not None:
        given = given._replace(
            uuid=_text(given.uuid), tenant=_text(given.tenant), collection=_text(given.collection)
        )
        if _is_codable(given):
            return failure._replace(object=given)
        row = given
    # A text with half of a surrogate pair is refused as it is, and taken as part of a pickled value.
    for form in (row, SourceRow(row, failure.position or "")):
        if _is_codable(form):
            return failure._replace(object=None, row=form)
    return failure._replace(object=None, row=_utf8(repr(row)))


def _is_codable(value: Any) -> bool:
    try:
        _ANY.encode(value)
    except Exception:  # whatever the classes of the value raise
        return False
    return True


def _text(value: Any) -> Optional[str]:
    return None if value is None else _utf8(str(value))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
