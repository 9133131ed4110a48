"""A request on its way: which objects it holds, which steps each still has to go, and how long it may try."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Optional

from apache_beam.utils.retry import FuzzedExponentialIntervals

from weaviate_io.encoding import EncodedObject
from weaviate_io.schema import CollectionSchema

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between tries


class Item(NamedTuple):
    """An encoded object, and whatever its owner wants back with the outcome."""

    encoded: EncodedObject
    owner: Any = None


@dataclass
class Entry:
    """One object of a request.

    Args:
      items: what it stands for: objects with one id, of which the last one's content is sent.
      steps: payloads that are still to be acknowledged, in this order. A plain write has one; a repair has two.
      attempts: how often the object was sent.
    """

    items: list[Item]
    steps: list[bytes]
    attempts: int = 0

    @property
    def uuid(self) -> str:
        return self.items[-1].encoded.uuid

    @property
    def tenant(self) -> Optional[str]:
        return self.items[-1].encoded.tenant


def pauses() -> Iterator[float]:
    """Growing, jittered seconds to wait before the next try; without end for all that matters."""
    return iter(FuzzedExponentialIntervals(_FIRST_PAUSE, num_retries=10_000, max_delay_secs=_LONGEST_PAUSE))


@dataclass
class Request:
    """Objects of one collection that are sent together.

    Args:
      schema: the collection.
      entries: the objects.
      give_up_at: ``time.monotonic()`` after which no new try is made.
      pauses: what to wait between tries.
      not_before: ``time.monotonic()`` of the next try.
      unexplained: how often it failed as a whole without naming an object.
      read_back: whether vectors that the server makes are to be read back and repaired once it is through.
      sent_at: ``time.monotonic()`` of the last try.
    """

    schema: CollectionSchema
    entries: list[Entry]
    give_up_at: float
    pauses: Iterator[float] = field(default_factory=pauses)
    not_before: float = 0.0
    unexplained: int = 0
    read_back: bool = False
    sent_at: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of its objects."""
        return sum(len(entry.steps[0]) for entry in self.entries)

    def part(self, entries: list[Entry]) -> Request:
        """A request for some of the entries, with the same history and time left, to be sent at once."""
        return replace(self, entries=entries, not_before=0.0)


def merge(items: Iterable[Item]) -> list[Entry]:
    """Entries for the items, one per id and tenant; of equals the server would keep the last one too."""
    entries: dict[tuple[Optional[str], str], Entry] = {}
    for item in items:
        key = (item.encoded.tenant, item.encoded.uuid)
        entry = entries.get(key)
        if entry is None:
            entries[key] = Entry([item], [item.encoded.payload])
        else:
            entry.items.append(item)
            entry.steps = [item.encoded.payload]
    return list(entries.values())
