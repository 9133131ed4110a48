"""Which objects of a request are stored already, and which of those a vector index misses.

A process that dies with requests in flight leaves objects that are stored but not in the index, and whoever
sends them again is told that all is well: an unchanged vector is not looked at. No count of the server shows it.
What does is a vector search that is filtered by ids: it scans the few objects that the filter lets through
(while they are fewer than ``flatSearchCutoff``, 40,000 by default), and finds those that the index knows, however
far from the query they are. So the query may be any vector of the right length.

Not found this way: objects that the index knows, but has no links to. An interruption leaves at most a few, among
the last that were indexed before those that are missing, so they are repaired together with these. Multi-vectors
without MUVERA are scored by what is stored: of those that their index does not know only the distance tells, and
only where they are not compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional
from uuid import UUID

import grpc
import numpy as np

from weaviate_io import proto
from weaviate_io.errors import SearchRefused, call_verdict
from weaviate_io.outcome import status_details
from weaviate_io.schema import CollectionSchema, VectorIndex

Search = Callable[[Any], Any]
"""Sends a ``SearchRequest`` and gives the ``SearchReply``."""

VERIFY = ("existing", "all", "repair", "off")
"""Which objects are looked for in the index: those that were stored before they were sent, all, or none. With
``"repair"`` all are repaired without being looked for: of several replicas only one can be asked."""

_NO_DISTANCE = float(np.finfo(np.float32).max)  # of a multi-vector that the index does not know

_NOTHING_THERE = ("collection_not_found", "tenant_not_found", "tenant_not_active")


def by_ids(collection: str, tenant: Optional[str], uuids: Sequence[str]) -> Any:
    """A search for the objects with these ids, which gives their ids and nothing else."""
    wanted = proto.SearchRequest(
        collection=collection, tenant=tenant or "", limit=len(uuids), uses_127_api=True
    )
    wanted.metadata.uuid = True
    wanted.properties.SetInParent()
    wanted.filters.operator = proto.CONTAINS_ANY
    wanted.filters.target.property = "_id"
    wanted.filters.value_text_array.values.extend(uuids)
    return wanted


def by_cursor(collection: str, tenant: Optional[str], uuid: str) -> Any:
    """A search that asks no index for the object with this id: the first one behind the id before it."""
    wanted = proto.SearchRequest(collection=collection, tenant=tenant or "", limit=1, uses_127_api=True)
    wanted.metadata.uuid = True
    wanted.properties.SetInParent()
    number = UUID(uuid).int
    if number:
        wanted.after = str(UUID(int=number - 1))
    return wanted


def in_index(
    schema: CollectionSchema, index: VectorIndex, tenant: Optional[str], uuids: Sequence[str], length: int
) -> Any:
    """A search that finds those of the objects that the index knows.

    Args:
      length: numbers in a vector of the index; of a multi-vector, in one of its rows.
    """
    query = np.eye(1, length, dtype="<f4").tobytes()
    if index.multi:
        query = length.to_bytes(2, "little") + query
    return near(by_ids(schema.name, tenant, uuids), index, query)


def near(wanted: Any, index: VectorIndex, query: bytes) -> Any:
    """The search as one for what is near to a vector, given as the wire has it; it gives the distances too."""
    wanted.metadata.distance = True
    if index.multi:
        wanted.near_vector.vectors.add(name=index.name, vector_bytes=query, type=proto.VECTOR_MULTI_FP32)
    else:
        wanted.near_vector.vector_bytes = query
    if index.name:
        wanted.near_vector.targets.target_vectors.append(index.name)
    return wanted


def stored_ids(
    search: Search, schema: CollectionSchema, tenant: Optional[str], uuids: Sequence[str]
) -> set[str]:
    """Those of the ids that have an object."""
    try:
        return _ids(search(by_ids(schema.name, tenant, uuids)))
    except SearchRefused as error:
        if error.reason in _NOTHING_THERE:  # the write will create it, or be told the same
            return set()
        raise


def finds_nothing(call: Any) -> bool:
    """Whether a search by ids that is done found no object, as :func:`stored_ids` tells it."""
    if call.code() is grpc.StatusCode.OK:
        return not proto.SearchReply.FromString(call.result()).results
    return call_verdict(call.code(), call.details() or "", status_details(call)).reason in _NOTHING_THERE


def unindexed_ids(
    search: Search,
    schema: CollectionSchema,
    index: VectorIndex,
    tenant: Optional[str],
    uuids: Sequence[str],
) -> set[str]:
    """Those of the ids whose stored object has a vector for the index, which does not know it."""
    lengths = _stored_lengths(search, schema, index, tenant, uuids[:1]) or _stored_lengths(
        search, schema, index, tenant, uuids
    )
    if not lengths:
        return set()
    length = next(iter(lengths.values()))
    found = {
        result.metadata.id
        for result in search(in_index(schema, index, tenant, uuids, length)).results
        if not (index.multi and result.metadata.distance >= _NO_DISTANCE)
    }
    unknown = [uuid for uuid in uuids if uuid not in found]
    return set(_stored_lengths(search, schema, index, tenant, unknown)) if unknown else set()


def _ids(reply: Any) -> set[str]:
    return {result.metadata.id for result in reply.results}


def _stored_lengths(
    search: Search,
    schema: CollectionSchema,
    index: VectorIndex,
    tenant: Optional[str],
    uuids: Sequence[str],
) -> dict[str, int]:
    """Lengths of the stored vectors by id, for the objects that have one for the index."""
    wanted = by_ids(schema.name, tenant, uuids)
    if index.name:
        wanted.metadata.vectors.append(index.name)
    else:
        wanted.metadata.vector = True
    lengths = {}
    for result in search(wanted).results:
        data = stored_vector(result.metadata, index.name)
        if data:
            lengths[result.metadata.id] = int.from_bytes(data[:2], "little") if index.multi else len(data) // 4
    return lengths


def stored_vector(metadata: Any, name: str) -> bytes:
    """The vector of this name that a search reports, as the wire has it; empty where there is none."""
    if not name:
        return metadata.vector_bytes
    return next((vector.vector_bytes for vector in metadata.vectors if vector.name == name), b"")


def tenants_of(entries: Iterable[Any]) -> dict[Optional[str], list[Any]]:
    """Entries by tenant, as a search concerns one."""
    groups: dict[Optional[str], list[Any]] = {}
    for entry in entries:
        groups.setdefault(entry.tenant, []).append(entry)
    return groups
