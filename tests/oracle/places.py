"""Where the oracle reads: a node of a real server by REST and GraphQL, or the fake. Nothing of the writer is used.

Both give the same answers, so the oracle does not know which of them it asks.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import requests
from google.protobuf.json_format import MessageToDict

from weaviate_io.testing import FakeWeaviate

_PAGE = 1000


class Key(NamedTuple):
    """What names an object: collection, tenant ("" for none), uuid."""

    collection: str
    tenant: str
    uuid: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Stored(NamedTuple):
    """An object as it is read; vectors by name, "" for the one without."""

    properties: dict[str, Any]
    vectors: dict[str, np.ndarray]


class Graph(NamedTuple):
    """What an HNSW index says of itself: nodes that no path leads to, and nodes that are deleted but still there."""

    index: str
    unreachable: int
    tombstones: int


class Place(Protocol):
    """Something that holds objects."""

    name: str

    def schema(self, collection: str) -> dict[str, Any]:
        """The collection's REST JSON."""

    def everything(self, collection: str) -> Iterator[tuple[Key, Stored]]:
        """All objects of all tenants."""

    def is_found(self, key: Key) -> bool:
        """Whether the object is found by its id."""

    def found_by_ids(self, collection: str, tenant: str, uuids: Sequence[str]) -> Counter[str]:
        """How often a filter by ids finds each."""

    def found_by_values(
        self, collection: str, tenant: str, name: str, values: Sequence[int]
    ) -> Counter[str] | None:
        """How often a filter by values of an int property finds each object; ``None`` where none can be asked."""

    def found_in_index(
        self, collection: str, tenant: str, index: str, query: np.ndarray, uuids: Sequence[str]
    ) -> set[str]:
        """Those of the ids that a vector search finds among them."""

    def graphs(self, collection: str) -> list[Graph]:
        """What the HNSW indexes say of themselves; empty where they cannot be asked."""


class RestPlace:
    """A node of a real server.

    Args:
      url: its REST address.
      name: its name, such as ``node1``; needed where there are several.
      debug_url: address of its debug listener (``DEBUG_ENDPOINTS_ENABLED``), where it has one.
      settling: seconds to wait for deleted nodes to leave the graph, lest they be taken for unreachable ones.
    """

    def __init__(
        self, url: str, name: str = "node1", debug_url: str | None = None, settling: float = 0.0
    ) -> None:
        self.name = name
        self._url = url
        self._debug_url = debug_url
        self._settling = settling
        self._session = requests.Session()
        self._session.trust_env = False
        self._schemas: dict[str, dict[str, Any]] = {}

    def _get(self, path: str, accept: Sequence[int] = (200,), **params: Any) -> requests.Response:
        response = self._session.get(f"{self._url}/v1/{path}", params=params, timeout=60)
        if response.status_code not in accept:
            raise AssertionError(f"{self.name}: GET {path} gives {response.status_code}: {response.text[:300]}")
        return response

    def schema(self, collection: str) -> dict[str, Any]:
        if collection not in self._schemas:
            self._schemas[collection] = self._get(f"schema/{collection}").json()
        return self._schemas[collection]

    def everything(self, collection: str) -> Iterator[tuple[Key, Stored]]:
        tenants: list[str] = [""]
        if self.schema(collection).get("multiTenancyConfig", {}).get("enabled"):
            tenants = [tenant["name"] for tenant in self._get(f"schema/{collection}/tenants").json()]
        for tenant in tenants:
            params = {"class": collection, "limit": _PAGE, "include": "vector"}
            if tenant:
                params["tenant"] = tenant
            after = ""
            while True:
                page = self._get("objects", **params, after=after).json()["objects"]
                for found in page:
                    vectors = dict(found.get("vectors") or {})
                    if found.get("vector"):
                        vectors[""] = found["vector"]
                    arrays = {name: np.asarray(vector, np.float32) for name, vector in vectors.items()}
                    yield Key(collection, tenant, found["id"]), Stored(found["properties"] or {}, arrays)
                if len(page) < _PAGE:
                    break
                after = page[-1]["id"]

    def is_found(self, key: Key) -> bool:
        params = {"tenant": key.tenant} if key.tenant else {}
        if self._is_replicated(key.collection):
            params["node_name"] = self.name  # else any replica may answer
        return self._get(f"objects/{key.collection}/{key.uuid}", (200, 404), **params).status_code == 200

    def found_by_ids(self, collection: str, tenant: str, uuids: Sequence[str]) -> Counter[str]:
        where = f'path: ["id"], operator: ContainsAny, valueText: {json.dumps(list(uuids))}'
        return self._query(collection, tenant, len(uuids), f"where: {{{where}}}")

    def found_by_values(
        self, collection: str, tenant: str, name: str, values: Sequence[int]
    ) -> Counter[str] | None:
        where = f'path: ["{name}"], operator: ContainsAny, valueInt: {json.dumps(list(values))}'
        return self._query(collection, tenant, 2 * len(values), f"where: {{{where}}}")

    def found_in_index(
        self, collection: str, tenant: str, index: str, query: np.ndarray, uuids: Sequence[str]
    ) -> set[str]:
        where = f'path: ["id"], operator: ContainsAny, valueText: {json.dumps(list(uuids))}'
        target = f', targetVectors: ["{index}"]' if index else ""
        near = f"vector: {json.dumps(query.tolist())}{target}"
        return set(self._query(collection, tenant, len(uuids), f"where: {{{where}}}, nearVector: {{{near}}}"))

    def _is_replicated(self, collection: str) -> bool:
        return int(self.schema(collection).get("replicationConfig", {}).get("factor", 1)) > 1

    def _query(self, collection: str, tenant: str, limit: int, arguments: str) -> Counter[str]:
        arguments += f", limit: {limit}"
        if tenant:
            arguments += f', tenant: "{tenant}"'
        if self._is_replicated(collection):
            arguments += ", consistencyLevel: ONE"  # this node's replica, and no repair by reading
        query = f"{{ Get {{ {collection}({arguments}) {{ _additional {{ id }} }} }} }}"
        reply = self._session.post(f"{self._url}/v1/graphql", json={"query": query}, timeout=60).json()
        if reply.get("errors"):
            raise AssertionError(f"{self.name}: a search in {collection} gives {str(reply['errors'])[:300]}")
        return Counter(found["_additional"]["id"] for found in reply["data"]["Get"][collection])

    def graphs(self, collection: str) -> list[Graph]:
        if not self._debug_url:
            return []
        schema = self.schema(collection)
        found = []
        shards = self._get(f"schema/{collection}/shards").json()
        for index in schema.get("vectorConfig") or [""]:
            stats = [self._stats(collection, shard["name"], index) for shard in shards]
            found.append(Graph(index, *(sum(numbers) for numbers in zip(*stats, strict=True))))
        return found

    def _stats(self, collection: str, shard: str, index: str) -> tuple[int, int]:
        path = f"{self._debug_url}/debug/stats/collection/{collection}/shards/{shard}/{index}".rstrip("/")
        give_up = time.monotonic() + self._settling
        while True:
            stats = self._session.get(path, timeout=60).json()
            if not stats["numTombstones"] or time.monotonic() > give_up:
                return len(stats["unreachablePoints"]), stats["numTombstones"]
            time.sleep(0.5)


class FakePlace:
    """The fake. It has one index for all vectors of an object, and finds by ids only."""

    def __init__(self, fake: FakeWeaviate) -> None:
        self.name = "fake"
        self._fake = fake

    def schema(self, collection: str) -> dict[str, Any]:
        return self._fake.schemas[collection]

    def everything(self, collection: str) -> Iterator[tuple[Key, Stored]]:
        for place, message in self._fake.objects.items():
            if place[0] == collection:
                yield Key(*place), Stored(_properties(message.properties), _vectors(message))

    def is_found(self, key: Key) -> bool:
        return tuple(key) in self._fake.objects

    def found_by_ids(self, collection: str, tenant: str, uuids: Sequence[str]) -> Counter[str]:
        return Counter(uuid for uuid in uuids if (collection, tenant, uuid) in self._fake.objects)

    def found_by_values(
        self, collection: str, tenant: str, name: str, values: Sequence[int]
    ) -> Counter[str] | None:
        return None

    def found_in_index(
        self, collection: str, tenant: str, index: str, query: np.ndarray, uuids: Sequence[str]
    ) -> set[str]:
        found = self.found_by_ids(collection, tenant, uuids)
        return {uuid for uuid in found if (collection, tenant, uuid) not in self._fake.unindexed}

    def graphs(self, collection: str) -> list[Graph]:
        return []


def _properties(message: Any) -> dict[str, Any]:
    properties = dict(MessageToDict(message.non_ref_properties))
    for array in message.number_array_properties:
        properties[array.prop_name] = np.frombuffer(array.values_bytes, "<f8").tolist()
    others: Iterable[Any] = (
        *message.int_array_properties,
        *message.text_array_properties,
        *message.boolean_array_properties,
    )
    for array in others:
        properties[array.prop_name] = list(array.values)
    return properties | {name: [] for name in message.empty_list_props}


def _vectors(message: Any) -> dict[str, np.ndarray]:
    vectors = {}
    if message.vector_bytes:
        vectors[""] = np.frombuffer(message.vector_bytes, "<f4")
    for vector in message.vectors:
        if vector.type == 2:  # rows of the length that stands before them
            length = int.from_bytes(vector.vector_bytes[:2], "little")
            vectors[vector.name] = np.frombuffer(vector.vector_bytes[2:], "<f4").reshape(-1, length)
        else:
            vectors[vector.name] = np.frombuffer(vector.vector_bytes, "<f4")
    return vectors
