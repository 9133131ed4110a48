"""What a sender tells of its work: the outcome of each object, the numbers behind the metrics, and how it reads
a reply. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Optional, Union

from weaviate_io import proto
from weaviate_io.errors import Verdict
from weaviate_io.request import Block, Entry
from weaviate_io.schema import CollectionSchema


class Failure(NamedTuple):
    """Why an object was not written: a stable reason, the words of the server, and how often it was sent."""

    reason: str
    error: str
    attempts: int


class Outcome(NamedTuple):
    """What became of some objects of one collection: written where ``failure`` is None. Of a block all is written."""

    schema: CollectionSchema
    entries: Union[Block, Sequence[Entry]]
    failure: Optional[Failure]


def outcome_of(schema: CollectionSchema, entries: Iterable[Entry], failure: Optional[Failure]) -> Outcome:
    """The outcome of entries, and of those with their keys that came before them."""
    every = list(entries)
    for entry in tuple(every):
        every += entry.earlier
    return Outcome(schema, every, failure)


@dataclass
class Tally:
    """What a sender did since it was last asked; the numbers behind the metrics."""

    requests: int = 0
    retries: int = 0
    unknown_outcomes: int = 0
    repaired: int = 0
    verified: int = 0
    unindexed: int = 0
    splits: int = 0
    bytes: int = 0
    throttled_seconds: float = 0.0
    batch_sizes: list[int] = field(default_factory=list)
    latencies_ms: list[int] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what another one counted."""
        for counted in fields(self):
            setattr(self, counted.name, getattr(self, counted.name) + getattr(other, counted.name))


class Fault(NamedTuple):
    """What the server said of an object or a request, and what it means."""

    verdict: Verdict
    text: str


def errors_by_index(payload: bytes, objects: int) -> Optional[dict[int, str]]:
    """The error texts of a reply by index; None where it is no reply to so many objects."""
    try:
        reply = proto.BatchObjectsReply.FromString(payload)
    except Exception:  # the runtimes of protobuf raise different classes for bytes that are no message
        return None
    texts: dict[int, str] = {}
    for error in reply.errors:
        if not 0 <= error.index < objects:
            return None
        known = texts.get(error.index)
        texts[error.index] = error.error if known is None else f"{known}; {error.error}"
    return texts


def status_details(call: Any) -> bytes:
    """The serialized ``google.rpc.Status`` of a failed call, where it has one."""
    trailers = call.trailing_metadata() or ()
    return next((value for key, value in trailers if key == "grpc-status-details-bin"), b"")
