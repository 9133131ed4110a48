"""What a write does on a worker: rows to encoded objects, and objects through the sender to their outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, ClassVar, Generic, NamedTuple, Optional, Protocol, TypeVar, Union

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
from weaviate_io.dead_letter import failed_object, failed_row
from weaviate_io.encoding import ObjectEncoder, decode_object, encoded_object
from weaviate_io.errors import RowError, WeaviateError
from weaviate_io.indexing import is_synchronous
from weaviate_io.limits import FailureLimit, Limit
from weaviate_io.mapping import Mapper, Source, unwrap
from weaviate_io.objects import Failed, FailedObject, WeaviateObject, WrittenObject
from weaviate_io.outcome import Failure, Outcome, Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Encoded, Item
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.tenants import AllowedTenants, Tenants

FAILED = "failed"
"""Tag of the dead letter."""


_Encoder = TypeVar("_Encoder")


class Translated(NamedTuple):
    """One object or reference ready to be sent, and what its dead letter would show."""

    schema: CollectionSchema
    encoded: Encoded
    given: Any
    position: Optional[str]


class Origin(NamedTuple):
    """Where an object came from, for its outcome: window and timestamp, position, and the object itself.

    Of an object that crossed a shuffle only the bytes are left; ``schema`` says how to read them.
    """

    value: WindowedValue
    position: Optional[str]
    given: Any = None
    schema: Optional[CollectionSchema] = None


class Translates(Protocol):
    """Makes elements into what is sent."""

    def translate(self, element: Any) -> Iterator[Union[Translated, Failed]]:
        """What an element holds, ready to be sent. Failures take their place."""


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """What the steps of a write know of it; travels with their DoFns. Each kind of things to write has its own.

    ``counters`` is what the names of its metrics begin with, ``things`` what its messages call what it writes.
    """

    counters: ClassVar[str] = ""
    things: ClassVar[str] = "objects"

    name: str
    connection: WeaviateConnection
    consistency_level: Optional[str] = None
    batch_size: Optional[int] = None
    limit: Limit = Limit()  # noqa: RUF009  (immutable)
    auto_schema: bool = False
    dry_run: bool = False

    @abstractmethod
    def open_translator(self, opened: client.Client) -> Translates:
        """What makes elements into what is sent."""

    @abstractmethod
    def open_sender(self, opened: client.Client) -> Sender:
        """What sends it; one for each bundle."""

    def open_tenants(self, opened: client.Client) -> Optional[Tenants]:
        """What makes the tenants of a batch ready for it."""
        return None

    @abstractmethod
    def encoded(self, payload: bytes) -> Encoded:
        """What was encoded, from its bytes."""

    @abstractmethod
    def done(self, collection: str, encoded: Encoded) -> Any:
        """The output for what was written."""

    @abstractmethod
    def dead(self, failure: Failure, item: Item) -> Failed:
        """The output for what the server refused; the owner of the item is an :class:`Origin`."""

    @property
    def level(self) -> Optional[int]:
        """The consistency level as its number."""
        return proto.CONSISTENCY_LEVELS[self.consistency_level] if self.consistency_level else None


@dataclass(frozen=True, kw_only=True)
class Settings(Kind):
    """A write of objects."""

    mapper: Mapper
    schema: SchemaSource
    create_disposition: CreateDisposition
    unknown_properties: str
    dimensions: Union[int, Mapping[str, int], None]
    timezone: Optional[tzinfo]
    create_tenants: bool = False
    activate_tenants: bool = False
    allowed_tenants: Optional[AllowedTenants] = None
    verify: str = "existing"

    def open_translator(self, opened: client.Client) -> Translator:
        return Translator(self, opened)

    def open_sender(self, opened: client.Client) -> Sender:
        tally = Tally()
        method = BatchObjects(self.verify, tally, lambda collection: is_synchronous(opened, collection))
        return Sender(opened, method, consistency_level=self.level, batch_size=self.batch_size, tally=tally)

    def open_tenants(self, opened: client.Client) -> Tenants:
        return Tenants(opened, self.name, self.create_tenants, self.activate_tenants)

    def encoded(self, payload: bytes) -> Encoded:
        return encoded_object(payload)

    def done(self, collection: str, encoded: Encoded) -> WrittenObject:
        return WrittenObject(collection, encoded.uuid, encoded.tenant)

    def dead(self, failure: Failure, item: Item) -> FailedObject:
        origin: Origin = item.owner
        given = origin.given
        if given is None:
            given = decode_object(item.encoded.payload, origin.schema)
        return failed_object(failure, item.encoded, given, origin.position)


def sources(element: Any, failure: type[Any] = FailedObject) -> Iterator[Source]:
    """The rows of an element: one, or as many as a table has."""
    source = unwrap(element, failure)
    if not isinstance(source.row, (pa.Table, pa.RecordBatch)):
        yield source
        return
    for number, row in enumerate(arrow.rows(source.row)):
        yield source._replace(row=row, position=f"{source.position or 'table'}: row {number}")


class Encoders(Generic[_Encoder]):
    """The encoders of a write by collection, each for the schema as it was last read."""

    def __init__(self, catalog: Catalog, new: Callable[[CollectionSchema], _Encoder]) -> None:
        self._catalog = catalog
        self._new = new
        self._known: dict[str, tuple[CollectionSchema, _Encoder]] = {}

    def get(self, name: str, refresh: bool = False) -> tuple[CollectionSchema, _Encoder]:
        known = self._known.get(name)
        if known is None or refresh:
            schema = self._catalog.get(name, refresh)
            if known is None or schema != known[0]:
                known = self._known[name] = (schema, self._new(schema))
        return known

    def changed(
        self, name: str, schema: CollectionSchema, error: RowError
    ) -> tuple[CollectionSchema, _Encoder]:
        """The encoder for the schema as it is now, where that may cure the error; else the error itself."""
        if error.reason not in ("unknown_property", "unknown_vector"):
            raise error
        changed = self.get(name, refresh=True)
        if changed[0] == schema:
            raise error
        return changed


class Translator:
    """Elements to encoded objects, each checked against the schema of its collection."""

    def __init__(self, settings: Settings, opened: client.Client) -> None:
        self._settings = settings
        self._mapper = settings.mapper
        self._client = opened
        catalog = Catalog(
            opened, settings.schema, settings.create_disposition, settings.auto_schema, settings.dry_run
        )
        self._encoders = Encoders(catalog, self._new_encoder)

    def translate(self, element: Any) -> Iterator[Union[Translated, FailedObject]]:
        """The objects of an element: one, or as many as a table has rows. Failures take their place."""
        return map(self._translate, sources(element))

    def _translate(self, source: Source) -> Union[Translated, FailedObject]:
        row, position, text, name = source
        given: Optional[WeaviateObject] = None
        try:
            name = name or self._mapper.destination(row)
            schema, encoder = self._encoders.get(name)
            given = self._mapper.map(row, schema, text)
            try:
                encoded = encoder.encode(given)
            except RowError as error:
                schema, encoder = self._encoders.changed(name, schema, error)
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

    def __init__(self, settings: Kind) -> None:
        self._settings = settings
        self._client: Optional[client.Client] = None

    def setup(self) -> None:
        self._client = client.acquire(self._settings.connection)
        self._accounts = Accounts(self._settings.counters)
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
        """What an element holds, and the outputs for what of it failed."""
        for translated in self._translator.translate(element):
            self._limit.taken(1)
            if isinstance(translated, Translated):
                yield translated
            else:
                yield TaggedOutput(FAILED, self._fail(translated))


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

    def _submit(self, schema: CollectionSchema, items: list[Item]) -> list[Outcome]:
        if self._tenants is not None:
            self._tenants.prepare(schema, (item.encoded.tenant for item in items))
        return self._sender.submit(schema, items)

    def _outputs(self, outcomes: Iterable[Outcome]) -> Iterator[Union[WindowedValue, TaggedOutput]]:
        written = 0
        for collection, item, failure in outcomes:
            origin: Origin = item.owner
            if failure is None:
                written += 1
                yield _with_value(origin.value, self._settings.done(collection, item.encoded))
                continue
            if self._tenants is not None:
                failure = self._tenants.judge(collection, item.encoded.tenant, failure)
            dead = self._fail(self._settings.dead(failure, item))
            yield TaggedOutput(FAILED, _with_value(origin.value, dead))
        self._written(written)
        self._accounts.add(self._sender.tally)


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
            self._accounts.seen(schema.name, encoded.key)
            item = Item(encoded, Origin(value, position, given))
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
            self._accounts.seen(translated.schema.name, translated.encoded.key)
            self._written(1)
            yield self._settings.done(translated.schema.name, translated.encoded)


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
            encoded = self._settings.encoded(payload)
            self._accounts.seen(key.key, encoded.key)
            value = WindowedValue(None, Timestamp(micros=micros), _GLOBAL)
            items.append(Item(encoded, Origin(value, position, schema=schema)))
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
