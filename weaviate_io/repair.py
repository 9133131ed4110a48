"""How an object gets into the vector index after an answer that left open what was stored.

The server stores an object first and indexes its vector after. Where it is interrupted in between, sending the
same object again changes nothing: the vector is recognised as unchanged, and the index is not touched. So the
object is sent once with a vector that differs by one unit in the last place, and then as it is. It is never
absent, and in the end it is exactly what was given.

Vectors that the server makes itself come back from a search, once the object is safely stored with the text
they belong to, and take the same two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

from weaviate_io import proto
from weaviate_io.encoding import has_vectors, with_nudged_vectors, with_vectors
from weaviate_io.request import Entry, Request

Search = Callable[[Any], Any]
"""Sends a ``SearchRequest`` and gives the ``SearchReply``."""


def plan(request: Request) -> int:
    """Give the entries the steps of a repair; says how many have one now."""
    if not request.schema.indexes_vectors:
        return 0
    planned = 0
    for entry in request.entries:
        exact = entry.steps[-1]
        if has_vectors(exact):
            entry.steps = [with_nudged_vectors(exact), exact]
            planned += 1
        elif request.schema.makes_vectors:
            request.read_back = True
    return planned


class Found(NamedTuple):
    """Stored entries by what a search says of their vectors, which the server was to make.

    Those in ``planned`` have the steps of their repair, those in ``missing`` their plain write again.
    """

    planned: list[Entry]
    without_vectors: list[Entry]
    missing: list[Entry]


def plan_made_vectors(search: Search, request: Request, entries: Sequence[Entry]) -> Found:
    """Read the vectors of stored entries back, and plan to send them nudged and then as they were read."""
    stored = _read_vectors(search, request, entries)
    result = Found([], [], [])
    for entry in entries:
        plain = entry.items[-1].encoded.payload
        found = stored.get((entry.tenant, entry.uuid))
        if found is None:
            entry.steps = [plain]
            result.missing.append(entry)
        elif found.vector_bytes or found.vectors:
            exact = with_vectors(plain, found.vector_bytes, found.vectors)
            entry.steps = [with_nudged_vectors(exact), exact]
            result.planned.append(entry)
        else:
            result.without_vectors.append(entry)
    return result


def _read_vectors(
    search: Search, request: Request, entries: Sequence[Entry]
) -> dict[tuple[Optional[str], str], Any]:
    found: dict[tuple[Optional[str], str], Any] = {}
    for tenant in {entry.tenant for entry in entries}:
        ids = [entry.uuid for entry in entries if entry.tenant == tenant]
        wanted = proto.SearchRequest(
            collection=request.schema.name, tenant=tenant or "", limit=len(ids), uses_127_api=True
        )
        wanted.metadata.uuid = wanted.metadata.vector = True
        wanted.properties.SetInParent()
        wanted.filters.operator = proto.CONTAINS_ANY
        wanted.filters.target.property = "_id"
        wanted.filters.value_text_array.values.extend(ids)
        for result in search(wanted).results:
            found[tenant, result.metadata.id] = result.metadata
    return found
