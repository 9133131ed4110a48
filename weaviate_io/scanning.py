"""The ids of a collection, in ranges that are read at the same time, in the order of the server's cursor.

The cursor asks no index: it goes through what is stored. It may start behind any id, also one that no object has.
Ids need not be spread evenly (version 7 begins with the time, others count), so the ranges divide what lies between
the first id and the last, not all ids that there might be. What is added meanwhile behind the last one is in the
last range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional
from uuid import UUID

from weaviate_io import proto
from weaviate_io.verification import Search

PAGE = 1000
"""Ids in a page: the server flattens what it holds in memory for each, so that small ones are dear."""

RANGES = 32
"""Ranges of a collection or tenant that does not fit into one page."""

_END = 2**128
_PRECISE = 256  # the last id is known well enough by such a part of what lies before it


class IdRange(NamedTuple):
    """The ids of a tenant from ``first`` up to, but without, ``end``, as the numbers that they are."""

    tenant: Optional[str]
    first: int = 0
    end: int = _END


def divide(search: Search, collection: str, tenant: Optional[str], ranges: int = RANGES) -> list[IdRange]:
    """Ranges that together have all ids of a collection or tenant; none where there is no object."""
    page = _behind(search, collection, tenant, 0, PAGE)
    if not page:
        return []
    if len(page) < PAGE:
        return [IdRange(tenant)]
    first, last = page[0], page[-1]
    beyond = _END
    while beyond - last > max(1, (last - first) // _PRECISE):
        middle = (last + beyond) // 2
        found = _behind(search, collection, tenant, middle, 1)
        last, beyond = (found[0], beyond) if found else (last, middle)
    step = max(1, (beyond - first) // ranges)
    starts = [0, *(first + step * number for number in range(1, ranges) if first + step * number < beyond)]
    return [
        IdRange(tenant, start, end)
        for start, end in zip(starts, [*starts[1:], _END], strict=True)
        if start < end
    ]


def pages(search: Search, collection: str, ids: IdRange) -> Iterator[list[str]]:
    """The ids in a range that have an object, a page at a time."""
    start = ids.first
    while start < ids.end:
        found = _behind(search, collection, ids.tenant, start, PAGE)
        wanted = [number for number in found if number < ids.end]
        if wanted:
            yield [str(UUID(int=number)) for number in wanted]
        if len(wanted) < PAGE:
            return
        start = wanted[-1] + 1


def _behind(search: Search, collection: str, tenant: Optional[str], start: int, limit: int) -> list[int]:
    """The first ids that have an object, from ``start`` on."""
    wanted = proto.SearchRequest(collection=collection, tenant=tenant or "", limit=limit, uses_127_api=True)
    wanted.metadata.uuid = True
    wanted.properties.SetInParent()
    if start:
        wanted.after = str(UUID(int=start - 1))  # the first page has no cursor: nothing is before it
    return [UUID(result.metadata.id).int for result in search(wanted).results]
