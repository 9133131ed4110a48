"""A request on its way: which objects it holds, which steps each still has to go, and how long it may try.

References travel as objects do; where it says object here, it may be a reference.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Union

from weaviate_io.framing import varint
from weaviate_io.schema import CollectionSchema

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between tries


class Entry:
    """One object on its way: its bytes, and what its outcome is reported by.

    What most objects never need are defaults of the class.

    Args:
      parts: bytes of the wire, joined only in the request: to copy a vector takes longer than to encode a property.
      uuid: the object that is written, or that has the reference.
      tenant: whose it is, where the collection has tenants.
      has_vectors: whether it brings vectors of its own; True where that is not known.
    """

    origin: Any = None
    """Window and timestamp of the element that it came from, as a ``WindowedValue``; for its outcome."""

    element: Any = None
    """The element itself, for its dead letter; None where only the bytes are left."""

    row: Optional[int] = None
    """Number of its row, where its element was a table."""

    position: Optional[str] = None
    """Where its row was read, once there is no element any more to tell it."""

    earlier: tuple[Entry, ...] = ()
    """Others with the same key, that came before and are not sent; they share its outcome."""

    step: Optional[bytes] = None
    """What is sent next instead of the parts, in a repair."""

    then: Optional[bytes] = None
    """What is sent once that is acknowledged: in a repair, the exact object."""

    attempts: int = 0
    """How often it was sent."""

    unclear: int = 0
    """How often the server gave an error of unknown nature for it."""

    suspect: bool = False
    """Whether to look for it in the vector index, once it is acknowledged."""

    read_back: bool = False
    """Whether to read back and repair what vectors the server made of it, once it is acknowledged."""

    def __init__(
        self, parts: tuple[bytes, ...], uuid: str, tenant: Optional[str] = None, has_vectors: bool = True
    ) -> None:
        self.parts = parts
        self.uuid = uuid
        self.tenant = tenant
        self.has_vectors = has_vectors
        self.length = length = sum(map(len, parts))
        self.size = length + 2 + ((length | 1).bit_length() - 1) // 7
        """Bytes in a request, tag and length included."""

    @property
    def payload(self) -> bytes:
        """Bytes of the wire."""
        return b"".join(self.parts)

    @property
    def now(self) -> bytes:
        """What is sent next."""
        return self.payload if self.step is None else self.step

    @property
    def key(self) -> Hashable:
        """What two of the same collection have in common where only the last one needs to be sent."""
        return self.tenant, self.uuid

    @property
    def is_unsure(self) -> bool:
        """Whether there is something to ask the server about once it is acknowledged."""
        return self.suspect or self.read_back


class Block:
    """Objects on their way to the same collection, gathered to a request, with a column for each thing to know of them.

    There are as many objects as wait for an answer, and whatever holds others costs the garbage collector time. So
    there is no object for each of them, as long as all goes well and nobody asks for a single one.
    """

    first_row = 0
    """Number of the first object's row among those it was encoded with."""

    def __init__(self) -> None:
        self.uuids: list[str] = []
        self.tenants: list[Optional[str]] = []
        self.origins: list[Any] = []
        self._elements: list[Any] = []
        self._rows: list[Optional[int]] = []
        self._positions: list[Optional[str]] = []
        self._has_vectors: list[bool] = []
        self._sizes: list[int] = []
        self._parts: list[bytes] = []

    @classmethod
    def of_rows(
        cls,
        payload: bytes,
        sizes: list[int],
        uuids: list[str],
        tenants: list[Optional[str]],
        has_vectors: list[bool],
        first_row: int,
    ) -> Block:
        """Rows that were encoded together.

        Args:
          payload: the objects one after the other, each with its tag and length.
          sizes: bytes of each.
          uuids: of each.
          tenants: of each.
          has_vectors: whether each brings vectors of its own.
          first_row: number of the first one's row among those it came with; the others follow.
        """
        block = cls()
        block.uuids, block.tenants = uuids, tenants
        block._parts, block._sizes, block._has_vectors = [payload], sizes, has_vectors
        block.first_row = first_row
        nothing: list[Any] = [None] * len(uuids)
        block._rows, block._positions = nothing, nothing
        block.belong_to(nothing, nothing)
        return block

    def belong_to(self, origins: list[Any], elements: list[Any]) -> None:
        """Say of each object what :class:`Entry` knows as origin and element."""
        self.origins, self._elements = origins, elements

    def number(self) -> None:
        """Have each object know its row, which is that of a table."""
        self._rows = list(range(self.first_row, self.first_row + len(self)))

    def append(self, entry: Entry) -> None:
        """Take an object in."""
        self.uuids.append(entry.uuid)
        self.tenants.append(entry.tenant)
        self.origins.append(entry.origin)
        self._elements.append(entry.element)
        self._rows.append(entry.row)
        self._positions.append(entry.position)
        self._has_vectors.append(entry.has_vectors)
        self._sizes.append(entry.size)
        self._parts += (b"\x0a", varint(entry.length), *entry.parts)

    def __len__(self) -> int:
        return len(self.uuids)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.opened())

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(self._sizes)

    @property
    def largest(self) -> int:
        """Bytes of the largest object."""
        return max(self._sizes)

    @property
    def keys(self) -> Sequence[Hashable]:
        """What two have in common where only the last one needs to be sent; of no tenant the ids alone."""
        if self.tenants.count(None) == len(self):
            return self.uuids
        return list(zip(self.tenants, self.uuids, strict=True))

    def ids_by_tenant(self, with_vectors: bool) -> dict[Optional[str], list[str]]:
        """The ids of each tenant; only of objects that bring vectors ``with_vectors``."""
        if len(set(self.tenants)) == 1 and (not with_vectors or all(self._has_vectors)):
            return {self.tenants[0]: self.uuids}
        ids: dict[Optional[str], list[str]] = {}
        for tenant, uuid, has_vectors in zip(self.tenants, self.uuids, self._has_vectors, strict=True):
            if has_vectors or not with_vectors:
                ids.setdefault(tenant, []).append(uuid)
        return ids

    def joined(self, end: bytes = b"") -> bytes:
        """The objects one after the other, each with its tag and length, and what is to follow; made once."""
        if len(self._parts) > 1 or end:
            self._parts = [b"".join((*self._parts, end))]
        return self._parts[0]

    def opened(self) -> list[Entry]:
        """The objects one by one."""
        payload = self.joined()
        entries = []
        start = 0
        for place, size in enumerate(self._sizes):
            begin, start = start + 2, start + size
            while payload[begin - 1] > 127:  # to the end of the length
                begin += 1
            entry = Entry(
                (payload[begin:start],), self.uuids[place], self.tenants[place], self._has_vectors[place]
            )
            entry.row, entry.position = self._rows[place], self._positions[place]
            entry.origin, entry.element = self.origins[place], self._elements[place]
            entries.append(entry)
        return entries


def pause_after(tries: int) -> float:
    """Seconds to wait after so many failed tries: growing, and jittered lest workers come back in step."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)


@dataclass
class Request:
    """Objects of one collection that are sent together.

    Args:
      schema: the collection.
      contents: the objects, a block that was not opened so far or one by one.
      tries: how often it failed so far, rate limits left out.
      failing_since: ``time.monotonic()`` when the first try that failed was sent, 0 before.
      give_up_at: ``time.monotonic()`` after which no new try is made, once one failed.
      given_way: seconds that it waited for memory while others got it.
      throttled: seconds that it waited for rate limits.
      not_before: ``time.monotonic()`` of the next try.
      unexplained: how often it failed as a whole without naming an object.
      in_doubt: whether some of it may be stored already.
      is_prepared: whether its objects were looked up for the next try.
      opened_at: ``time.monotonic()`` when the last try began, with its look-ups.
      company: open requests of its sender then, itself included.
      sent_at: ``time.monotonic()`` of the last try, 0 before.
      sent_bytes: that it had.
    """

    schema: CollectionSchema
    contents: Union[list[Entry], Block]
    tries: int = 0
    failing_since: float = 0.0
    give_up_at: float = 0.0
    given_way: float = 0.0
    throttled: float = 0.0
    not_before: float = 0.0
    unexplained: int = 0
    in_doubt: bool = False
    is_prepared: bool = False
    opened_at: float = 0.0
    company: int = 0
    sent_at: float = 0.0
    sent_bytes: int = 0

    @property
    def entries(self) -> list[Entry]:
        """The objects one by one; a block is opened for it, and is sent as such no more."""
        if isinstance(self.contents, Block):
            self.contents = self.contents.opened()
            for entry in self.contents:
                entry.attempts = int(self.sent_at > 0)
        return self.contents

    @entries.setter
    def entries(self, entries: list[Entry]) -> None:
        self.contents = entries

    @property
    def block(self) -> Optional[Block]:
        """The objects together, as long as nothing was asked of one of them."""
        return self.contents if isinstance(self.contents, Block) else None

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def size(self) -> int:
        """Bytes of its objects."""
        return sum(entry.size for entry in self.entries)

    def part(self, entries: list[Entry]) -> Request:
        """A request for some of the entries, with the same history and time left, to be sent at once."""
        return replace(self, contents=entries, not_before=0.0)


def merge(entries: Iterable[Entry]) -> list[Entry]:
    """The entries to send, one per key: the last of each, as of equals the server would keep the last one too."""
    last: dict[Hashable, Entry] = {}
    for entry in entries:
        key = entry.key
        before = last.get(key)
        if before is not None:
            entry.earlier = (*before.earlier, before)
        last[key] = entry
    return list(last.values())
