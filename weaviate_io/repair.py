"""How an object gets into the vector index after an answer that left open what was stored.

The server stores an object first and indexes its vector after. Where it is interrupted in between, sending the
same object again changes nothing: the vector is recognised as unchanged, and the index is not touched. So the
object is sent once with a vector that differs by one unit in the last place, and then as it is. It is never
absent, and in the end it is exactly what was given.

Vectors that the server makes itself come back from a search, once the object is safely stored with the text
they belong to, and take the same two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.encoding import has_vectors, with_nudged_vectors, with_vectors
from weaviate_io.outcome import Outcome
from weaviate_io.request import Entry, Request

Search = Callable[[Any], Any]
"""Sends a ``SearchRequest`` and gives the ``SearchReply``."""


class Found(NamedTuple):
    """Acknowledged entries by what a look at the server says of them.

    Those in ``planned`` have the steps of their repair, those in ``missing`` their plain write again, and those
    in ``settled`` need nothing more.
    """

    planned: list[Entry]
    settled: list[Entry]
    missing: list[Entry]


class Method(Protocol):
    """What a sender calls, and how a doubt about the outcome is settled."""

    def call(self, client: Client, payload: bytes, timeout: float) -> Any:
        """Start the call and return its future."""

    def prepare(self, search: Search, request: Request) -> list[Outcome]:
        """Look at a request that is about to be sent; takes out what needs no sending, and gives its outcomes."""

    def doubt(self, request: Request) -> int:
        """Give the entries of a request, of which some may be stored, their next steps; says how many are repaired."""

    def check(self, search: Search, request: Request, entries: Sequence[Entry]) -> Found:
        """Look at acknowledged entries of a request that is to be read back."""


class BatchObjects:
    """Objects, each with its vectors."""

    def call(self, client: Client, payload: bytes, timeout: float) -> Any:
        return client.batch_objects(payload, timeout)

    def prepare(self, search: Search, request: Request) -> list[Outcome]:
        return []

    def doubt(self, request: Request) -> int:
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

    def check(self, search: Search, request: Request, entries: Sequence[Entry]) -> Found:
        """Read the vectors that the server made back, and plan to send them nudged and then as they were read."""
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
                result.settled.append(entry)
        return result


def search_for(collection: str, tenant: Optional[str], ids: Collection[str]) -> Any:
    """A search for the objects with the given ids, of which it gives the ids."""
    wanted = proto.SearchRequest(collection=collection, tenant=tenant or "", limit=len(ids), uses_127_api=True)
    wanted.metadata.uuid = True
    wanted.properties.SetInParent()
    wanted.filters.operator = proto.CONTAINS_ANY
    wanted.filters.target.property = "_id"
    wanted.filters.value_text_array.values.extend(ids)
    return wanted


def _read_vectors(
    search: Search, request: Request, entries: Sequence[Entry]
) -> dict[tuple[Optional[str], str], Any]:
    found: dict[tuple[Optional[str], str], Any] = {}
    for tenant in {entry.tenant for entry in entries}:
        ids = [entry.uuid for entry in entries if entry.tenant == tenant]
        wanted = search_for(request.schema.name, tenant, ids)
        wanted.metadata.vector = True
        for result in search(wanted).results:
            found[tenant, result.metadata.id] = result.metadata
    return found
