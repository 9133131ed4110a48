"""A request on its way: which objects it holds, which steps each still has to go, and how long it may try.

References travel as objects do; where it says object here, it may be a reference.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Optional, Protocol

from weaviate_io.schema import CollectionSchema

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between tries


class Encoded(Protocol):
    """What a request is made of: bytes of the wire, and what their outcome is reported by."""

    @property
    def payload(self) -> bytes: ...

    @property
    def size(self) -> int:
        """Bytes in a request, framing included."""

    @property
    def uuid(self) -> str:
        """The object that is written, or that has the reference."""

    @property
    def tenant(self) -> Optional[str]: ...

    @property
    def has_vectors(self) -> bool:
        """Whether it brings vectors of its own."""

    @property
    def key(self) -> Hashable:
        """What two of the same collection have in common where only the last one needs to be sent."""


class Item(NamedTuple):
    """An encoded object, and whatever its owner wants back with the outcome."""

    encoded: Encoded
    owner: Any = None


@dataclass
class Entry:
    """One object of a request.

    Args:
      items: what it stands for: objects with one key, of which the last one's content is sent.
      steps: payloads that are still to be acknowledged, in this order. A plain write has one; a repair has two.
      attempts: how often the object was sent.
      unclear: how often the server gave an error of unknown nature for it.
      suspect: whether to look for it in the vector index, once it is acknowledged.
      read_back: whether to read back and repair what vectors the server made of it, once it is acknowledged.
    """

    items: list[Item]
    steps: list[bytes]
    attempts: int = 0
    unclear: int = 0
    suspect: bool = False
    read_back: bool = False

    @property
    def uuid(self) -> str:
        return self.items[-1].encoded.uuid

    @property
    def tenant(self) -> Optional[str]:
        return self.items[-1].encoded.tenant

    @property
    def is_unsure(self) -> bool:
        """Whether there is something to ask the server about once it is acknowledged."""
        return self.suspect or self.read_back


def pause_after(tries: int) -> float:
    """Seconds to wait after so many failed tries: growing, and jittered lest workers come back in step."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)


@dataclass
class Request:
    """Objects of one collection that are sent together.

    Args:
      schema: the collection.
      entries: the objects.
      give_up_at: ``time.monotonic()`` after which no new try is made.
      tries: how often it failed so far, rate limits left out.
      failing_since: ``time.monotonic()`` when the first try that failed was sent, 0 before.
      throttled: seconds that it waited for rate limits.
      not_before: ``time.monotonic()`` of the next try.
      unexplained: how often it failed as a whole without naming an object.
      in_doubt: whether some of it may be stored already.
      sent_at: ``time.monotonic()`` of the last try.
    """

    schema: CollectionSchema
    entries: list[Entry]
    give_up_at: float
    tries: int = 0
    failing_since: float = 0.0
    throttled: float = 0.0
    not_before: float = 0.0
    unexplained: int = 0
    in_doubt: bool = False
    sent_at: float = 0.0

    @property
    def size(self) -> int:
        """Bytes of its objects."""
        return sum(len(entry.steps[0]) for entry in self.entries)

    def part(self, entries: list[Entry]) -> Request:
        """A request for some of the entries, with the same history and time left, to be sent at once."""
        return replace(self, entries=entries, not_before=0.0)


def merge(items: Iterable[Item]) -> list[Entry]:
    """Entries for the items, one per key; of equals the server would keep the last one too."""
    entries: dict[Hashable, Entry] = {}
    for item in items:
        entry = entries.get(item.encoded.key)
        if entry is None:
            entries[item.encoded.key] = Entry([item], [item.encoded.payload])
        else:
            entry.items.append(item)
            entry.steps = [item.encoded.payload]
    return list(entries.values())
