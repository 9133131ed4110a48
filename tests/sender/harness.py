"""What the tests of the sender share: objects, a sender without pauses, and the oracle that judges its outcomes."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder, with_nudged_vectors
from weaviate_io.flow import Flow
from weaviate_io.objects import WeaviateObject
from weaviate_io.outcome import Failure, Outcome
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FakeWeaviate, WeaviateServer

_PROPERTIES = [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}]
_PLAIN: dict[str, Any] = {"class": "Article", "vectorizer": "none"}
COLLECTIONS: dict[str, dict[str, Any]] = {
    "unnamed": {**_PLAIN, "properties": _PROPERTIES},
    "named": {
        "class": "Article",
        "properties": _PROPERTIES,
        "vectorConfig": {
            "small": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
            "tokens": {
                "vectorizer": {"none": {}},
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"multivector": {"enabled": True}},
            },
        },
    },
    "tenants": {
        **_PLAIN,
        "properties": _PROPERTIES,
        "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True},
    },
    "no vectors": {**_PLAIN, "properties": _PROPERTIES},
    "replicas": {**_PLAIN, "properties": _PROPERTIES, "replicationConfig": {"factor": 3}},
}


class Told(NamedTuple):
    """What became of one object: written where ``failure`` is None."""

    entry: Entry
    failure: Failure | None


def told(outcomes: Iterable[Outcome]) -> list[Told]:
    """Outcomes, object by object."""
    return [Told(entry, outcome.failure) for outcome in outcomes for entry in outcome.entries]


NO_PAUSE: dict[str, Any] = {"pause": lambda tries: 0.0, "wait": lambda waited, text: 0.0}


def connection_to(server: FakeWeaviate | WeaviateServer, **options: Any) -> WeaviateConnection:
    return WeaviateConnection(server.url, grpc_url=server.grpc_url, **options)


def uuid_of(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def made(number: int, kind: str = "unnamed", version: int = 0) -> WeaviateObject:
    """Object ``number``: its vectors differ from those of all others and of its other versions."""
    vector = [float(number + 1), version + 0.5, -1.0]
    vectors = {
        "unnamed": vector,
        "tenants": vector,
        "replicas": vector,
        "named": {"small": vector, "tokens": [vector, [1.0, 2.0, 3.0]]},
        "no vectors": None,
        "made": None,
    }
    tenant = f"tenant{number % 3}" if kind == "tenants" else None
    properties = {"title": f"object {number}", "number": number + 1000 * version}
    return WeaviateObject(properties, uuid=uuid_of(number), vector=vectors[kind], tenant=tenant)


class Rig:
    """A client and a sender for one collection of a server, and all that was given to it."""

    def __init__(
        self,
        server: FakeWeaviate,
        kind: str = "unnamed",
        *,
        shortest_deadline: float = 30.0,
        through: str | None = None,
        **options: Any,
    ) -> None:
        self.server = server
        self.kind = kind
        description = server.create_collection(COLLECTIONS[kind])
        self.schema = CollectionSchema.from_rest(description)
        self.client = Client(WeaviateConnection(server.url, grpc_url=through or server.grpc_url))
        self.client.flow = Flow(shortest_deadline)
        self.sender = Sender(self.client, **{**NO_PAUSE, **options})
        self._encoder = ObjectEncoder(self.schema)
        self.given: list[Entry] = []
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.release()
        self.client.close()

    def entries(self, objects: Iterable[WeaviateObject]) -> list[Entry]:
        entries = [self._encoder.encode(given) for given in objects]
        self.given += entries
        return entries

    def send(self, *numbers: int, version: int = 0) -> list[Outcome]:
        """Give objects to the sender in one call."""
        entries = self.entries(made(number, self.kind, version) for number in numbers)
        outcomes = self.sender.submit(self.schema, entries)
        self.outcomes += outcomes
        return outcomes

    def drain(self) -> list[Outcome]:
        outcomes = self.sender.drain()
        self.outcomes += outcomes
        return outcomes

    def write(self, *numbers: int) -> list[Outcome]:
        """Send objects, wait for all of them, and check what must always hold."""
        self.send(*numbers)
        self.drain()
        self.check()
        return self.outcomes

    def failures(self) -> dict[str, tuple[str, str]]:
        """Reason and error of what failed, by uuid."""
        return {
            entry.uuid: (failure.reason, failure.error)
            for entry, failure in told(self.outcomes)
            if failure is not None
        }

    def sends(self) -> Counter[str]:
        """How often each uuid was in a request."""
        batches = (request for request in self.server.requests if request.method == "BatchObjects")
        return Counter(uuid for request in batches for uuid in request.uuids)

    def check(self, most_sends: int = 40) -> None:
        """Every object has one outcome; what is written is stored as it was given, and in the index."""
        outcomes = told(self.outcomes)
        assert Counter(id(one.entry) for one in outcomes) == Counter(map(id, self.given)), (
            "an object has no outcome, or more than one"
        )
        written, failed = defaultdict(list), defaultdict(list)
        for entry, failure in outcomes:
            place = (self.schema.name, entry.tenant or "", entry.uuid)
            (written if failure is None else failed)[place].append(entry)
        sent: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for entry in self.given:
            message = proto.BatchObject.FromString(entry.payload)
            sent[self.schema.name, entry.tenant or "", entry.uuid].append(message)
        stored = self.server.objects
        assert stored.keys() <= sent.keys(), "something is stored that was not sent"
        assert written.keys() <= stored.keys(), "an object was reported written, but is not stored"
        for place, message in stored.items():
            allowed = list(sent[place])
            if place not in written:  # refused in the middle of its repair
                allowed += [_nudged(given) for given in sent[place]]
            assert message in allowed, f"{place} is stored as it was never given: {message}"
        assert self.server.unindexed <= failed.keys(), "an object was reported written, but is not in the index"
        too_often = {uuid: times for uuid, times in self.sends().items() if times > most_sends}
        assert not too_often, "objects were sent very often"

    def check_all_written(self, *numbers: int) -> None:
        assert not self.failures()
        assert {uuid_of(number) for number in numbers} == {uuid for _, _, uuid in self.server.objects}


def _nudged(message: Any) -> Any:
    return proto.BatchObject.FromString(with_nudged_vectors(message.SerializeToString()))


def numbers_of(uuids: Sequence[str] | Iterable[str]) -> set[int]:
    return {uuid.UUID(text).int - 1 for text in uuids}
