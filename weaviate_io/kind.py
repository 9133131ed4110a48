"""What there is to write: the interface between one kind of things (objects, references) and the steps of a write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Optional, TypeVar, Union

import pyarrow as pa

from weaviate_io import arrow, proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import Catalog
from weaviate_io.errors import RowError
from weaviate_io.limits import Limit
from weaviate_io.mapping import Source, unwrap
from weaviate_io.objects import Failed, FailedObject
from weaviate_io.outcome import Failure
from weaviate_io.request import Block, Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.tenants import Tenants

_Encoder = TypeVar("_Encoder")

_TABLES = (pa.Table, pa.RecordBatch)


Translated = tuple[CollectionSchema, Any]
"""An object or reference ready to be sent, or a block of objects, and the collection they are for."""


class Translates(ABC):
    """Makes elements into what is sent."""

    @abstractmethod
    def translate(self, element: Any, sender: Optional[Sender] = None) -> Iterator[Union[Translated, Failed]]:
        """What an element holds, ready to be sent. Failures take their place.

        Args:
          element: one row, or a table of them.
          sender: what says how large a block of rows may be; without it there are no blocks.
        """

    def row_of(self, element: Any) -> Optional[dict[str, Any]]:
        """The row that an element is, where it is better translated together with others; None where not."""
        return None

    def rows_at_once(self, sender: Sender) -> int:
        """How many of these rows at once are best, at most."""
        return 1

    def translate_rows(
        self, rows: Sequence[dict[str, Any]], elements: Sequence[Any], sender: Sender
    ) -> Iterator[tuple[int, Union[Translated, Failed]]]:
        """What so many elements hold, each with its place among them; a block with that of its first row.

        Args:
          rows: what :meth:`row_of` gave for each element.
          elements: as they came.
          sender: what says how large a block of rows may be.
        """
        for place, element in enumerate(elements):
            for translated in self.translate(element, sender):
                yield place, translated


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """What the steps of a write know of it; travels with their DoFns. Each kind of things to write has its own.

    ``counters`` is what the names of its metrics begin with, ``things`` what its messages call what it writes,
    ``failure`` the class of its failures.
    """

    counters: ClassVar[str] = ""
    things: ClassVar[str] = "objects"
    failure: ClassVar[type[Any]] = FailedObject

    name: str
    connection: WeaviateConnection
    consistency_level: Optional[str] = None
    batch_size: Optional[int] = None
    max_requests_in_flight: Optional[int] = None
    limit: Limit = Limit()  # noqa: RUF009  (immutable)
    auto_schema: bool = False
    dry_run: bool = False

    @abstractmethod
    def open_translator(self, opened: Client) -> Translates:
        """What makes elements into what is sent."""

    @abstractmethod
    def open_sender(self, opened: Client) -> Sender:
        """What sends it; one for each bundle."""

    def open_tenants(self, opened: Client) -> Optional[Tenants]:
        """What makes the tenants of a batch ready for it."""
        return None

    def new_batch(self) -> Any:
        """What gathers entries to a request, by ``append``."""
        return []

    @abstractmethod
    def encoded(self, payload: bytes) -> Entry:
        """What was encoded, from its bytes."""

    @abstractmethod
    def done(self, collection: str, entry: Any) -> Any:
        """The output for what was written."""

    def all_done(self, collection: str, block: Block) -> Iterator[Any]:
        """The outputs for a block that was written."""
        return (self.done(collection, entry) for entry in block.opened())

    @abstractmethod
    def dead(self, failure: Failure, schema: CollectionSchema, entry: Any, source: Optional[Source]) -> Failed:
        """The output for what the server refused.

        Args:
          failure: why.
          schema: its collection.
          entry: what was refused, as the translator or :meth:`encoded` gave it.
          source: the row it was made from; None where only its bytes are left.
        """

    @property
    def sender_limit(self) -> Optional[int]:
        """Requests that a sender may have open; one where the job has a limit, which counts senders."""
        return None if self.max_requests_in_flight is None else 1

    @property
    def level(self) -> Optional[int]:
        """The consistency level as its number."""
        return proto.CONSISTENCY_LEVELS[self.consistency_level] if self.consistency_level else None


def table_of(element: Any, failure: type[Any] = FailedObject) -> Optional[Source]:
    """The source of an element that is a table; None of any other."""
    source = unwrap(element, failure)
    return source if isinstance(source.row, _TABLES) else None


def sources(element: Any, failure: type[Any] = FailedObject) -> Iterable[tuple[Source, Optional[int]]]:
    """The rows of an element: one, or as many as a table has, each with its number there."""
    if type(element) is dict:
        return ((Source(element), None),)
    source = unwrap(element, failure)
    return _rows_of(source) if isinstance(source.row, _TABLES) else ((source, None),)


def source_of(element: Any, row: Optional[int], failure: type[Any] = FailedObject) -> Source:
    """One of the rows of an element, by its number where the element is a table."""
    source = unwrap(element, failure)
    return source if row is None else numbered(source, next(arrow.rows(source.row.slice(row, 1))), row)


def _rows_of(source: Source) -> Iterator[tuple[Source, Optional[int]]]:
    for number, row in enumerate(arrow.rows(source.row)):
        yield numbered(source, row, number), number


def numbered(table: Source, row: Any, number: int) -> Source:
    """A row of a table as a source of its own."""
    return table._replace(row=row, position=f"{table.position or 'table'}: row {number}")


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
