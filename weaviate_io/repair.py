"""How an object gets into the vector index after an answer that left open what was stored.

The server stores an object first and indexes its vector after. Where it is interrupted in between, sending the
same object again changes nothing: the vector is recognised as unchanged, and the index is not touched. So the
object is sent once with a vector that differs by one unit in the last place, and then as it is. It is never
absent, and in the end it is exactly what was given.

The same is done for what an earlier process left like that, as far as a look at the server shows it
(:mod:`weaviate_io.verification`). Vectors that the server makes itself come back from a search, once the object
is safely stored with the text they belong to, and take the same two steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from weaviate_io.client import Client
from weaviate_io.encoding import vector_names, with_nudged_vectors, with_vectors
from weaviate_io.outcome import Outcome, Tally
from weaviate_io.request import Entry, Request, pause_after
from weaviate_io.schema import CollectionSchema, VectorIndex
from weaviate_io.together import at_once
from weaviate_io.verification import Search, by_cursor, by_ids, stored_ids, tenants_of, unindexed_ids

_Places = set[tuple[Optional[str], str]]
"""Objects by tenant and id."""

_LOOKS_AGAIN = 5  # of a replica that may not have got yet what others acknowledged


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

    def asks_before(self, request: Request) -> bool:
        """Whether :meth:`prepare` asks the server about a request."""

    def questions(self, request: Request) -> Sequence[Any]:
        """Searches that spare the rest of :meth:`prepare` where none finds anything, if there are such."""

    def prepare(self, search: Search, request: Request, tally: Tally) -> list[Outcome]:
        """Look at a request that is about to be sent; takes out what needs no sending, and gives its outcomes.

        Where it asks the server, other requests are sent and judged in other threads meanwhile; it touches nothing but
        what it is given. It may search in several threads.
        """

    def doubt(self, request: Request) -> int:
        """Give the entries of a request, of which some may be stored, their next steps; says how many are repaired."""

    def check(self, search: Search, request: Request, entries: Sequence[Entry]) -> Found:
        """Ask the server about acknowledged entries of a request that are unsure; maybe in several threads."""


class BatchObjects:
    """Objects, each with its vectors.

    Args:
      verify: which objects are looked for in the vector index (:data:`weaviate_io.verification.VERIFY`).
      tally: where to count.
      is_synchronous: tells of a collection whether the server indexes an object before it acknowledges it. Of
        one that does not, what was just sent is not expected in the index.
      pause: seconds to wait before a replica is asked again, of the number of times it was.
    """

    def __init__(
        self,
        verify: str = "off",
        tally: Optional[Tally] = None,
        is_synchronous: Callable[[str], bool] = lambda collection: True,
        pause: Callable[[int], float] = pause_after,
    ) -> None:
        self._verify = verify
        self._tally = tally or Tally()
        self._is_synchronous = is_synchronous
        self._pause = pause

    def call(self, client: Client, payload: bytes, timeout: float) -> Any:
        return client.batch_objects(payload, timeout)

    def asks_before(self, request: Request) -> bool:
        return (
            self._verify in ("existing", "all")
            and request.schema.indexes_vectors
            and (request.block is not None or any(not entry.attempts for entry in request.entries))
        )

    def questions(self, request: Request) -> Sequence[Any]:
        if request.block is None or self._verify != "existing":
            return ()
        return [by_ids(request.schema.name, tenant, uuids) for tenant, uuids in _ids_of(request).items()]

    def prepare(self, search: Search, request: Request, tally: Tally) -> list[Outcome]:
        """Plan the repair of what is stored already without being indexed.

        Where there is such an object, all others of the request are repaired too: those that the index knows may
        have no links in it, and those that are not stored yet may be under way from where that one came.
        """
        schema = request.schema
        if self._verify == "off" or not schema.indexes_vectors:
            return []
        if self._verify == "repair":
            tally.repaired += self.doubt(request.part(_fresh(request)))
            return []
        found = _stored(search, schema, _ids_of(request))
        if self._verify == "existing" and not found:
            return []  # and a block stays one
        fresh = _fresh(request)
        for entry in fresh:
            entry.suspect = self._verify == "all"
        stored = [entry for entry in fresh if _place(entry) in found]
        tally.verified += len(stored)
        lost, untold = self._not_in_index(search, schema, stored)
        tally.unindexed += len(lost)
        if lost:
            tally.repaired += self.doubt(request)
            for entry in request.entries:
                entry.suspect = True
        elif untold:
            tally.repaired += self.doubt(request.part(untold))
        return []

    def doubt(self, request: Request) -> int:
        if not request.schema.indexes_vectors:
            return 0
        planned = 0
        for entry in request.entries:
            exact = entry.then or entry.now
            if vector_names(exact):
                _plan(entry, exact)
                planned += 1
            elif request.schema.makes_vectors:
                entry.read_back = True
        return planned

    def check(self, search: Search, request: Request, entries: Sequence[Entry]) -> Found:
        """Look for suspects in the index, and repair what vectors the server made.

        What is not in the index is sent again after a pause, as another writer of the same objects may be at
        work; its company is repaired at once. Vectors that the server made are read back, to be sent nudged and
        then as they were read.

        Of several replicas another one may answer than acknowledged the objects. It gets them in a moment, and
        sending them again would only keep it busy: so it is asked some times before.
        """
        result = Found([], [], [])
        made = [entry for entry in entries if entry.read_back]
        suspects = [entry for entry in entries if not entry.read_back]
        self._tally.verified += len(suspects)
        missing = self._not_found(search, request.schema, suspects)
        for times in range(_LOOKS_AGAIN if request.schema.replicated else 0):
            if not missing:
                break
            time.sleep(self._pause(times))
            missing = self._not_found(search, request.schema, _among(suspects, missing))
        self._tally.unindexed += len(missing)
        for entry in suspects:
            entry.suspect = _place(entry) in missing
            if entry.suspect:
                entry.step = None
                result.missing.append(entry)
            elif not missing:
                result.settled.append(entry)
            elif vector_names(entry.payload):
                _plan(entry, entry.payload)
                result.planned.append(entry)
            elif request.schema.makes_vectors:
                made.append(entry)
            else:
                result.settled.append(entry)
        _plan_made(search, request, made, result)
        return result

    def _not_found(self, search: Search, schema: CollectionSchema, entries: Sequence[Entry]) -> _Places:
        """Places of acknowledged entries that an index misses, or that no filter finds."""
        lost, _ = self._not_in_index(search, schema, entries)
        if lost and not self._is_synchronous(schema.name):
            lost = []
        return {_place(entry) for entry in (*lost, *_not_filtered(search, schema, entries))}

    def _not_in_index(
        self, search: Search, schema: CollectionSchema, entries: Sequence[Entry]
    ) -> tuple[list[Entry], list[Entry]]:
        """Stored entries that an index misses, and those of which an index that they are for tells nothing."""
        lost: _Places = set()
        untold: _Places = set()
        in_doubt: list[tuple[VectorIndex, Optional[str], list[str]]] = []
        for tenant, group in tenants_of(entries).items():
            brought = {entry.uuid: vector_names(entry.payload) for entry in group}
            for index in schema.vectors.values():
                made = index.vectorizer != "none"
                ids = [uuid for uuid, names in brought.items() if made or index.name in names]
                if index.index_type == "none" or not ids:
                    continue
                if index.tells_members:
                    in_doubt.append((index, tenant, ids))
                else:
                    untold.update((tenant, uuid) for uuid in ids)
        missing = at_once(lambda one: unindexed_ids(search, schema, *one), in_doubt)
        for (_, tenant, _), uuids in zip(in_doubt, missing, strict=True):
            lost.update((tenant, uuid) for uuid in uuids)
        return _among(entries, lost), _among(entries, untold)


def _stored(search: Search, schema: CollectionSchema, ids: Mapping[Optional[str], list[str]]) -> _Places:
    """Those objects of each tenant that the server has."""
    found = at_once(lambda tenant: stored_ids(search, schema, tenant, ids[tenant]), ids)
    return {(tenant, uuid) for tenant, uuids in zip(ids, found, strict=True) for uuid in uuids}


def _ids_of(request: Request) -> dict[Optional[str], list[str]]:
    """The ids of what is to be looked for, by tenant."""
    if request.block is not None:
        return request.block.ids_by_tenant(with_vectors=not request.schema.makes_vectors)
    return _uuids_by_tenant(_fresh(request))


def _fresh(request: Request) -> list[Entry]:
    """What was not sent so far, and has a vector or gets one."""
    makes_vectors = request.schema.makes_vectors
    return [entry for entry in request.entries if not entry.attempts and (makes_vectors or entry.has_vectors)]


def _uuids_by_tenant(entries: Iterable[Entry]) -> dict[Optional[str], list[str]]:
    return {tenant: [entry.uuid for entry in group] for tenant, group in tenants_of(entries).items()}


def _plan(entry: Entry, exact: bytes) -> None:
    """Have an object sent with moved vectors, and then exactly."""
    entry.step, entry.then = with_nudged_vectors(exact), exact


def _among(entries: Sequence[Entry], places: _Places) -> list[Entry]:
    return [entry for entry in entries if _place(entry) in places]


def _place(entry: Entry) -> tuple[Optional[str], str]:
    return entry.tenant, entry.uuid


def _not_filtered(search: Search, schema: CollectionSchema, entries: Sequence[Entry]) -> list[Entry]:
    """Acknowledged entries that no filter finds."""
    stored = _stored(search, schema, _uuids_by_tenant(entries))
    return [entry for entry in entries if _place(entry) not in stored]


def _plan_made(search: Search, request: Request, entries: Sequence[Entry], result: Found) -> None:
    """Plan to send the vectors that the server made nudged, and then as they are read."""
    stored = _read_vectors(search, request, entries)
    for entry in entries:
        found = stored.get(_place(entry)) or _read_unfiltered(search, request, entry)
        if found is None:
            entry.step = None
            result.missing.append(entry)
            continue
        entry.read_back = False
        if found.vector_bytes or found.vectors:
            _plan(entry, with_vectors(entry.payload, found.vector_bytes, found.vectors))
            result.planned.append(entry)
        else:
            entry.suspect = False
            result.settled.append(entry)


def _read_unfiltered(search: Search, request: Request, entry: Entry) -> Any:
    """The vectors of an object that no filter finds: a killed server may come back without its entries there."""
    wanted = by_cursor(request.schema.name, entry.tenant, entry.uuid)
    wanted.metadata.vector = True
    results = search(wanted).results
    return results[0].metadata if results and results[0].metadata.id == entry.uuid else None


def _read_vectors(
    search: Search, request: Request, entries: Sequence[Entry]
) -> dict[tuple[Optional[str], str], Any]:
    ids = _uuids_by_tenant(entries)

    def read(tenant: Optional[str]) -> Any:
        wanted = by_ids(request.schema.name, tenant, ids[tenant])
        wanted.metadata.vector = True
        return search(wanted).results

    return {
        (tenant, result.metadata.id): result.metadata
        for tenant, results in zip(ids, at_once(read, ids), strict=True)
        for result in results
    }
