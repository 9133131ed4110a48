"""What the objects of a collection lack: which are stored, but in no index that they are for.

The filter by ids tells what the inverted index knows, the vector search that is filtered by ids what a vector index
knows (:mod:`weaviate_io.verification`). Neither depends on distances, so equal vectors and the norms of dot products
raise no alarm. Not seen this way are objects that a graph knows, but has no links to; they take a search of all
objects with the vector of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from weaviate_io import proto
from weaviate_io.schema import CollectionSchema, VectorIndex
from weaviate_io.vectors import decode_vector
from weaviate_io.verification import Search, by_ids, near, stored_ids, stored_vector, unindexed_ids

INVERTED_INDEX, VECTOR_INDEX, UNLINKED = "inverted_index", "vector_index", "unlinked"
"""What an object lacks: it is found by no filter; by no vector search; or is known to a graph that no path leads to."""

_AT_ONCE = 500  # ids in a filter
_WITH_VECTORS = 50  # objects whose vectors are read at once
_LIMITS = (10, 1000, 10_000)  # results of a search with the vector of an object; the server's largest default
_TOLERANCE = 1e-4  # of a distance that was computed in another way, as after compression
_UNEQUAL = 1e-3  # of the lengths of the rows of a multi-vector


class Lack(NamedTuple):
    """What an object lacks, and the name of the vector that this concerns."""

    kind: str
    vector: str = ""


class Findings:
    """What was found out about some objects.

    ``lacks`` has the objects that lack something, by id; ``untold`` those of which an index tells nothing.
    """

    def __init__(self) -> None:
        self.lacks: dict[str, set[Lack]] = {}
        self.untold: set[str] = set()

    def add(self, uuids: set[str], lack: Lack) -> None:
        """Note what these objects lack."""
        for uuid in uuids:
            self.lacks.setdefault(uuid, set()).add(lack)


class Examiner:
    """Looks for objects in the indexes that they should be in.

    Args:
      search: how to search.
      schema: the collection.
      exists: tells of a tenant and an id whether there is such an object, without asking an index.
      exact: search for each object with its own vector, too.
    """

    def __init__(
        self,
        search: Search,
        schema: CollectionSchema,
        exists: Callable[[Optional[str], str], bool],
        exact: bool = False,
    ) -> None:
        self._search = search
        self._schema = schema
        self._exists = exists
        self._exact = exact
        self._indexes = [index for index in schema.vectors.values() if index.index_type != "none"]

    def look(self, tenant: Optional[str], uuids: Sequence[str]) -> Findings:
        """What these objects lack. Those that are deleted meanwhile lack nothing."""
        findings = Findings()
        for some in _parts(uuids, _AT_ONCE):
            self._look_at(tenant, some, findings)
        return findings

    def _look_at(self, tenant: Optional[str], uuids: Sequence[str], findings: Findings) -> None:
        filtered = stored_ids(self._search, self._schema, tenant, uuids)
        absent = {uuid for uuid in uuids if uuid not in filtered and self._exists(tenant, uuid)}
        findings.add(absent, Lack(INVERTED_INDEX))
        known = [uuid for uuid in uuids if uuid in filtered]
        if not known:
            return
        for index in self._indexes:
            lost: set[str] = set()
            told = _tells_members(index)
            if told:
                lost = unindexed_ids(self._search, self._schema, index, tenant, known)
                findings.add(lost, Lack(VECTOR_INDEX, index.name))
            if self._exact:
                self._look_with_vectors(tenant, index, [uuid for uuid in known if uuid not in lost], findings)
            elif not told:
                findings.untold.update(known)

    def _look_with_vectors(
        self, tenant: Optional[str], index: VectorIndex, uuids: Sequence[str], findings: Findings
    ) -> None:
        for some in _parts(uuids, _WITH_VECTORS):
            wanted = by_ids(self._schema.name, tenant, some)
            wanted.metadata.vector = True
            for result in self._search(wanted).results:
                vector = stored_vector(result.metadata, index.name)
                reached = self._reached(tenant, index, result.metadata.id, vector) if vector else True
                if reached is None:
                    findings.untold.add(result.metadata.id)
                elif not reached:
                    findings.add({result.metadata.id}, Lack(UNLINKED, index.name))

    def _reached(self, tenant: Optional[str], index: VectorIndex, uuid: str, vector: bytes) -> Optional[bool]:
        """Whether a search among all objects finds one by its own vector; None where that cannot be told.

        One that is not among the nearest may be crowded out by equal ones or, under dot, by longer ones. It is
        missing only where the results go on to some that are farther away than it is.
        """
        for limit in _LIMITS:
            results = self._nearest(tenant, index, vector, limit)
            if uuid in results:
                return True
        if len(results) < limit and not index.multi:
            return False  # these are all that can be reached
        own = self._own_distance(tenant, index, uuid, vector)
        if own is None or not _is_nearest_to_itself(index, vector):
            return None
        farthest = max(results.values(), default=own)
        return False if farthest > own + _TOLERANCE * max(1.0, abs(own)) else None

    def _nearest(
        self, tenant: Optional[str], index: VectorIndex, vector: bytes, limit: int
    ) -> dict[str, float]:
        wanted = proto.SearchRequest(
            collection=self._schema.name, tenant=tenant or "", limit=limit, uses_127_api=True
        )
        wanted.metadata.uuid = True
        wanted.properties.SetInParent()
        return _distances(self._search(near(wanted, index, vector)))

    def _own_distance(
        self, tenant: Optional[str], index: VectorIndex, uuid: str, vector: bytes
    ) -> Optional[float]:
        wanted = near(by_ids(self._schema.name, tenant, [uuid]), index, vector)
        return _distances(self._search(wanted)).get(uuid)


def _distances(reply: Any) -> dict[str, float]:
    return {result.metadata.id: result.metadata.distance for result in reply.results}


def _tells_members(index: VectorIndex) -> bool:
    """Whether a search filtered by ids scans them, and tells those that the index knows."""
    told = index.tells_members or not index.compressed
    return told and index.flat_search_cutoff > _AT_ONCE


def _is_nearest_to_itself(index: VectorIndex, vector: bytes) -> bool:
    """Whether an object must be among the candidates of a search with its own vector.

    Those of a multi-vector are found row by row, and longer rows of others hide shorter ones. MUVERA compares
    something else at first.
    """
    if not index.multi:
        return True
    lengths = np.linalg.norm(decode_vector(vector, multi=True), axis=1)
    return not index.muvera and bool(np.ptp(lengths) <= _UNEQUAL * lengths.max())


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
