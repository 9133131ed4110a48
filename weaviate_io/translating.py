"""Objects as what is written: rows to encoded objects, how they are sent, and what comes out for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from itertools import repeat, starmap
from typing import Any, Optional, Union

from weaviate_io import arrow
from weaviate_io.client import Client
from weaviate_io.columns import ColumnEncoder, Limits, Rows
from weaviate_io.creation import Catalog, CollectionNotFound, CreateDisposition, SchemaSource
from weaviate_io.dead_letter import failed_object, failed_row
from weaviate_io.encoding import ObjectEncoder, decode_object, encoded_object
from weaviate_io.errors import RowError, WeaviateError
from weaviate_io.indexing import is_synchronous
from weaviate_io.kind import Encoders, Kind, Translated, Translates, numbered, sources, table_of
from weaviate_io.mapping import Mapper, Source, plain_row, unwrap
from weaviate_io.objects import Failed, FailedObject, WeaviateObject, WrittenObject
from weaviate_io.outcome import Failure, Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Block, Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.tenants import AllowedTenants, Tenants


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

    def open_translator(self, opened: Client) -> Translator:
        return Translator(self, opened)

    def open_sender(self, opened: Client) -> Sender:
        tally = Tally()
        method = BatchObjects(self.verify, tally, lambda collection: is_synchronous(opened, collection))
        return Sender(
            opened,
            method,
            consistency_level=self.level,
            batch_size=self.batch_size,
            max_in_flight=self.sender_limit,
            tally=tally,
        )

    def open_tenants(self, opened: Client) -> Tenants:
        return Tenants(opened, self.name, self.create_tenants, self.activate_tenants)

    def new_batch(self) -> Block:
        return Block()

    def encoded(self, payload: bytes) -> Entry:
        return encoded_object(payload)

    def done(self, collection: str, entry: Entry) -> WrittenObject:
        return WrittenObject(collection, entry.uuid, entry.tenant)

    def all_done(self, collection: str, block: Block) -> Iterator[WrittenObject]:
        places = zip(repeat(collection, len(block)), block.uuids, block.tenants, strict=True)
        # As WrittenObject._make does, but without a Python call for each.
        return map(partial(tuple.__new__, WrittenObject), places)

    def dead(
        self, failure: Failure, schema: CollectionSchema, entry: Entry, source: Optional[Source]
    ) -> FailedObject:
        # A function of the user's may give something else when it is asked again.
        if source is None or self.mapper.asks_functions:
            given = decode_object(entry.payload, schema)
        else:
            given = self.mapper.map(source.row, schema, source.text)
        return failed_object(failure, entry, given, entry.position if source is None else source.position)


class Translator(Translates):
    """Elements to encoded objects, each checked against the schema of its collection."""

    def __init__(self, settings: Settings, opened: Client) -> None:
        self._settings = settings
        self._mapper = settings.mapper
        self._client = opened
        catalog = Catalog(
            opened, settings.schema, settings.create_disposition, settings.auto_schema, settings.dry_run
        )
        self._encoders = Encoders(catalog, self._new_encoder)
        self._is_by_columns = self._mapper.is_by_columns and not callable(self._mapper.collection)
        self._columns: Optional[ColumnEncoder] = None

    def translate(
        self, element: Any, sender: Optional[Sender] = None
    ) -> Iterator[Union[Translated, FailedObject]]:
        """The objects of an element: one, or as many as a table has rows. Failures take their place.

        Args:
          element: one row, or a table of them.
          sender: what says how large a block of rows may be; without it there are no blocks.
        """
        table = table_of(element) if sender is not None and self._is_by_columns else None
        if sender is None or table is None:
            return starmap(self._translate, sources(element))
        return self._translate_table(table, sender)

    def row_of(self, element: Any) -> Optional[dict[str, Any]]:
        return plain_row(element) if self._is_by_columns else None

    def rows_at_once(self, sender: Sender) -> int:
        try:
            schema, _ = self._encoders.get(self._mapper.destination(None))
        except RowError:  # each of them will say it
            return 1
        return sender.request_size(schema)

    def translate_rows(
        self, rows: Sequence[dict[str, Any]], elements: Sequence[Any], sender: Sender
    ) -> Iterator[tuple[int, Union[Translated, Failed]]]:
        if len(rows) < 2:
            yield from super().translate_rows(rows, elements, sender)
            return
        schema, columns, limits = self._by_columns(self._mapper.destination(None), sender)
        for part in columns.encode_rows(rows, limits):
            if isinstance(part, Rows):
                for place in range(part.start, part.stop):
                    yield place, self._translate(unwrap(elements[place]), None)
            else:
                for place, translated in _of_block(schema, part, limits):
                    yield part.first_row + place, translated

    def _translate_table(self, table: Source, sender: Sender) -> Iterator[Union[Translated, FailedObject]]:
        schema, columns, limits = self._by_columns(table.collection or self._mapper.destination(None), sender)
        for part in columns.encode_table(table.row, limits):
            if isinstance(part, Rows):
                rows = arrow.rows(table.row.slice(part.start, part.stop - part.start))
                for number, row in enumerate(rows, part.start):
                    yield self._translate(numbered(table, row, number), number)
            else:
                for _, translated in _of_block(schema, part, limits):
                    yield translated

    def _by_columns(self, name: str, sender: Sender) -> tuple[CollectionSchema, ColumnEncoder, Limits]:
        try:
            schema, encoder = self._encoders.get(name)
        except CollectionNotFound as error:
            raise WeaviateError(str(error)) from None
        if self._columns is None or self._columns.encoder is not encoder:
            self._columns = ColumnEncoder(self._mapper, encoder, schema, self._settings.allowed_tenants)
        return schema, self._columns, lambda: (sender.request_size(schema), sender.max_bytes)

    def _translate(self, source: Source, number: Optional[int]) -> Union[Translated, FailedObject]:
        row, _, text, name = source
        given: Optional[WeaviateObject] = None
        try:
            name = name or self._mapper.destination(row)
            schema, encoder = self._encoders.get(name)
            given = self._mapper.map(row, schema, text)
            try:
                entry = encoder.encode(given)
            except RowError as error:
                schema, encoder = self._encoders.changed(name, schema, error)
                given = self._mapper.map(row, schema, text)
                entry = encoder.encode(given)
            if self._settings.allowed_tenants is not None:
                self._settings.allowed_tenants.check(entry.tenant, name)
        except RowError as error:
            if isinstance(error, CollectionNotFound) and not callable(self._mapper.collection):
                raise WeaviateError(str(error)) from None
            # Text is kept as it came: what it stands for is up to the schema at the time of the replay.
            return failed_row(error, source._replace(collection=name), None if text else given)
        entry.row = number
        return schema, entry

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


def _of_block(schema: CollectionSchema, block: Block, limits: Limits) -> Iterator[tuple[int, Translated]]:
    """A block as it is or, where it makes a request only with what comes next, its objects; each with its place."""
    most_objects, most_bytes = limits()
    if 4 * len(block) < most_objects and 4 * block.size < most_bytes:
        yield from ((place, (schema, entry)) for place, entry in enumerate(block.opened()))
    else:
        yield 0, (schema, block)
