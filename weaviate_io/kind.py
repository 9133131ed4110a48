"""What there is to write: the interface between one kind of things (objects, references) and the steps of a write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Optional, Protocol, TypeVar, Union

import pyarrow as pa
from apache_beam.utils.windowed_value import WindowedValue

from weaviate_io import arrow, proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.creation import Catalog
from weaviate_io.errors import RowError
from weaviate_io.limits import Limit
from weaviate_io.mapping import Source, unwrap
from weaviate_io.objects import Failed, FailedObject
from weaviate_io.outcome import Failure
from weaviate_io.request import Encoded, Item
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.tenants import Tenants

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
    def sender_limit(self) -> int:
        """Requests that a sender may have in flight; one where the job has a limit, which counts senders."""
        return 2 if self.max_requests_in_flight is None else 1

    @property
    def level(self) -> Optional[int]:
        """The consistency level as its number."""
        return proto.CONSISTENCY_LEVELS[self.consistency_level] if self.consistency_level else None


def sources(element: Any, failure: type[Any] = FailedObject) -> Iterable[Source]:
    """The rows of an element: one, or as many as a table has."""
    source = unwrap(element, failure)
    return _rows_of(source) if isinstance(source.row, (pa.Table, pa.RecordBatch)) else (source,)


def _rows_of(source: Source) -> Iterator[Source]:
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
