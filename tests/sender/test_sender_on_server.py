"""The sender against a real server that is interrupted: what it reports written is found, also by vector."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import grpc
import numpy as np
import pytest
import weaviate
from weaviate import WeaviateClient as Witness
from weaviate.classes.query import Filter

from tests.sender.harness import Told, told
from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder, decode_object, join_request
from weaviate_io.errors import WeaviateError
from weaviate_io.objects import WeaviateObject
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import WeaviateServer

DIMENSIONS = 256
COUNT = 1000
_TEXT = [{"name": "title", "dataType": ["text"]}]
_HNSW = {"vectorIndexType": "hnsw"}
COLLECTIONS: dict[str, dict[str, Any]] = {
    "unnamed": {"vectorizer": "none", "properties": _TEXT},
    "named": {
        "properties": _TEXT,
        "vectorConfig": {name: {"vectorizer": {"none": {}}, **_HNSW} for name in ("one", "two")},
    },
    "multi": {
        "properties": _TEXT,
        "vectorConfig": {
            "tokens": {
                "vectorizer": {"none": {}},
                "vectorIndexConfig": {"multivector": {"enabled": True}},
                **_HNSW,
            }
        },
    },
    "made by the server": {"vectorizer": "text2vec-bigram", "properties": _TEXT},
}


@pytest.fixture(scope="module")
def server() -> Iterator[WeaviateServer]:
    """A server of this module alone: it is killed, and makes vectors of text."""
    with WeaviateServer(version="1.39.3", environment={"ENABLE_MODULES": "text2vec-bigram"}) as running:
        yield running


@pytest.fixture
def client(server: WeaviateServer) -> Iterator[Client]:
    with opened(server) as client:
        yield client


@pytest.fixture
def witness(server: WeaviateServer) -> Iterator[Witness]:
    with connected_witness(server) as witness:
        yield witness


def connected_witness(server: WeaviateServer) -> Witness:
    host, port = server.url.removeprefix("http://").split(":")
    grpc_host, grpc_port = server.grpc_url.split(":")
    return weaviate.connect_to_custom(host, int(port), False, grpc_host, int(grpc_port), False)


@contextlib.contextmanager
def opened(server: WeaviateServer) -> Iterator[Client]:
    client = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
    try:
        yield client
    finally:
        client.close()


def create(client: Client, description: dict[str, Any]) -> CollectionSchema:
    name = f"WeaviateIoTest_{uuid.uuid4().hex[:12]}"
    client.rest("POST", "/v1/schema", {**description, "class": name})
    schema = client.schema(name)
    assert schema is not None
    return schema


def encoded_objects(schema: CollectionSchema, kind: str, count: int = COUNT) -> list[Entry]:
    random = np.random.default_rng(11)
    encode = ObjectEncoder(schema).encode
    encoded = []
    for number in range(count):
        vector = random.standard_normal(DIMENSIONS).astype(np.float32)
        vectors: dict[str, Any] = {
            "unnamed": vector,
            "named": {"one": vector, "two": vector[:32]},
            "multi": {"tokens": unit_rows(random.standard_normal((3, 64)))},
            "made by the server": None,
        }
        words = " ".join(f"{part:x}" for part in random.integers(0, 1 << 30, 3))
        given = WeaviateObject({"title": words}, uuid=str(uuid.UUID(int=number + 1)), vector=vectors[kind])
        encoded.append(encode(given))
    return encoded


def unit_rows(tokens: np.ndarray) -> np.ndarray:
    """Of tokens of other lengths, an object's own ones need not be nearest to it."""
    return (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32)


def known_to_index(witness: Witness, schema: CollectionSchema, encoded: Sequence[Entry], name: str) -> set[str]:
    """The ids that a vector index knows: below a cutoff, a filtered search scans what the filter lets through."""
    query = witness.collections.get(schema.name).query
    some = query.fetch_object_by_id(encoded[0].uuid, include_vector=True).vector[name or "default"]
    known: set[str] = set()
    for start in range(0, len(encoded), 500):
        ids = [one.uuid for one in encoded[start : start + 500]]
        found = query.near_vector(
            some, limit=500, filters=Filter.by_id().contains_any(ids), target_vector=name or None
        )
        known |= {str(result.uuid) for result in found.objects}
    return known


def known_to_tokens(witness: Witness, schema: CollectionSchema, encoded: Sequence[Entry]) -> set[str]:
    """For multi-vectors, which have no such scan: one search with the object's own tokens each."""
    query = witness.collections.get(schema.name).query
    known = set()
    for one in encoded:
        own = decode_object(one.payload).vector["tokens"].tolist()
        found = query.near_vector(own, limit=3, target_vector="tokens").objects
        known |= {one.uuid} & {str(result.uuid) for result in found}
    return known


def missing(witness: Witness, schema: CollectionSchema, kind: str, encoded: Sequence[Entry]) -> int:
    """How many objects the worst of the collection's indexes does not know."""
    if kind == "multi":
        sample = encoded[::10]
        return len(sample) - len(known_to_tokens(witness, schema, sample))
    return max(len(encoded) - len(known_to_index(witness, schema, encoded, name)) for name in schema.vectors)


def contents(witness: Witness, schema: CollectionSchema) -> dict[str, tuple[str, dict[str, Any]]]:
    """Title and vectors of all objects, by uuid."""
    page = witness.collections.get(schema.name).query.fetch_objects(limit=5000, include_vector=True)
    return {str(one.uuid): (one.properties["title"], one.vector) for one in page.objects}


def given_contents(encoded: Sequence[Entry]) -> dict[str, tuple[str, dict[str, Any]]]:
    contents = {}
    for one in encoded:
        given = decode_object(one.payload)
        vectors = given.vector if isinstance(given.vector, dict) else {"default": given.vector}
        contents[one.uuid] = (given.properties["title"], {name: v.tolist() for name, v in vectors.items()})
    return contents


class Hurried:
    """A client whose first calls have a deadline that is too short for them."""

    def __init__(self, client: Client, seconds: float, calls: int = 1) -> None:
        self._client, self._seconds, self._left = client, seconds, calls
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_objects(self, request: bytes, timeout: float) -> Any:
        if self._left:
            self._left -= 1
            timeout = self._seconds
        call = self._client.batch_objects(request, timeout)
        call.add_done_callback(lambda done: self._count(done.code()))
        return call

    def _count(self, code: grpc.StatusCode) -> None:
        self.lost += code in INTERRUPTED


def send(client: Any, schema: CollectionSchema, encoded: Sequence[Entry], **options: Any) -> list[Told]:
    sender = Sender(client, **options)
    outcomes = sender.submit(schema, [copy(one) for one in encoded])
    return told(outcomes + sender.drain())


INTERRUPTED = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)  # as client or server is first
DEADLINES = (0.12, 0.16, 0.1, 0.2, 0.08, 0.3, 0.06, 0.4)  # seconds


def damage_of_a_plain_resend(
    client: Client, witness: Witness, schema: CollectionSchema, kind: str, seconds: float
) -> int:
    encoded = encoded_objects(schema, kind)
    request = join_request(encoded)
    client.batch_objects(request, seconds).code()
    again = client.batch_objects(request, 90)
    errors = proto.BatchObjectsReply.FromString(again.result()).errors
    if errors and schema.makes_vectors:
        # text2vec-bigram panics at a request of which it has made some vectors before.
        assert all("index out of range" in error.error for error in errors)
        return 0
    assert not errors
    return missing(witness, schema, kind, encoded)


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_after_a_deadline_the_sender_repairs_what_a_resend_does_not(
    client: Client, witness: Witness, kind: str
) -> None:
    schema = create(client, COLLECTIONS[kind])
    encoded = encoded_objects(schema, kind)
    client.flow.finished(schema.name, COUNT, 0.5, False)  # let a request have them all
    client.flow.finished(schema.name, COUNT, 0.5, False)
    client.flow.finished(schema.name, COUNT, 0.5, False)

    for seconds in DEADLINES:  # until one passes between store and index
        control = create(client, COLLECTIONS[kind])
        damage = damage_of_a_plain_resend(client, witness, control, kind, seconds)
        if damage:
            break

    hurried = Hurried(client, seconds)
    outcomes = send(hurried, schema, encoded)
    assert [one.failure for one in outcomes] == [None] * COUNT
    left = missing(witness, schema, kind, encoded)
    print(f"{kind}: not found after a plain resend {damage}, after the repair {left}, of {COUNT}")
    assert damage and not left
    # The server makes equal vectors of equal texts, so the collections hold the same.
    wanted = contents(witness, control) if schema.makes_vectors else given_contents(encoded)
    assert contents(witness, schema) == wanted


@pytest.mark.parametrize("kind", ["unnamed", "named"])
def test_after_a_kill_everything_is_stored_and_what_was_in_flight_is_found(
    server: WeaviateServer, kind: str
) -> None:
    """The index is checked for what was not acknowledged before the kill, which is what the sender can repair.

    The server (1.39.0, 1.39.3) acknowledges a request before the log of its vector index is flushed: of the last
    one acknowledged before a kill, a few vectors may be lost with nobody being told. The next write flushes them.
    """
    with opened(server) as client:
        schema = create(client, COLLECTIONS[kind])
        encoded = encoded_objects(schema, kind)
        started = threading.Semaphore(0)
        restarted: list[bool] = []
        acknowledged: set[str] = set()  # before the kill

        class Watched(Hurried):
            def batch_objects(self, request: bytes, timeout: float) -> Any:
                started.release()
                call = client.batch_objects(request, timeout)
                uuids = {message.uuid for message in proto.BatchObjectsRequest.FromString(request).objects}
                call.add_done_callback(lambda done: self._note(done, uuids))
                return call

            @staticmethod
            def _note(done: Any, uuids: set[str]) -> None:
                if done.code() is grpc.StatusCode.OK and not restarted:
                    acknowledged.update(uuids)

        def kill() -> None:
            for _ in range(4):
                started.acquire()
            server.kill()

        def pause(tries: int) -> float:
            if not restarted:
                killer.join()
                server.restart()
                restarted.append(True)
            return 0.1

        killer = threading.Thread(target=kill)
        killer.start()
        sender = Sender(Watched(client, 0), batch_size=200, max_in_flight=4, pause=pause)  # type: ignore[arg-type]
        outcomes = sender.submit(schema, [copy(one) for one in encoded]) + sender.drain()
        assert restarted and sender.tally.repaired
        assert [one.failure for one in told(outcomes)] == [None] * COUNT
        with connected_witness(server) as witness:
            interrupted = [one for one in encoded if one.uuid not in acknowledged]
            assert interrupted and missing(witness, schema, kind, interrupted) == 0
            assert contents(witness, schema) == given_contents(encoded)


def test_an_object_of_another_length_fails_alone(client: Client, witness: Witness) -> None:
    schema = create(client, COLLECTIONS["unnamed"])
    encoded = encoded_objects(schema, "unnamed", 20)
    odd = ObjectEncoder(schema).encode(
        WeaviateObject({"title": "odd"}, uuid=str(uuid.UUID(int=99)), vector=[1.0])
    )
    send(client, schema, encoded[:1])
    outcomes = send(client, schema, [*encoded[1:9], odd, *encoded[9:]])
    failed = [outcome for outcome in outcomes if outcome.failure]
    assert [one.entry.uuid for one in failed] == [odd.uuid] and len(outcomes) == 20
    assert failed[0].failure is not None and failed[0].failure.reason == "invalid_vector"
    assert "vector dimensions do not match" in failed[0].failure.error
    assert contents(witness, schema) == given_contents(encoded)


def test_a_bad_tenant_name_fails_alone_although_it_fails_every_request_that_it_is_in(
    client: Client, witness: Witness
) -> None:
    tenants = {"multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}
    schema = create(client, {**COLLECTIONS["unnamed"], **tenants})
    encode = ObjectEncoder(schema).encode
    items = [
        encode(
            WeaviateObject(
                {"title": str(n)}, uuid=str(uuid.UUID(int=n + 1)), vector=[n + 1.0, 2.0], tenant="good"
            )
        )
        for n in range(12)
    ]
    message = proto.BatchObject.FromString(items[5].payload)
    message.tenant = "not a name!"
    items[5] = Entry((message.SerializeToString(),), items[5].uuid, message.tenant)  # past the encoder
    outcomes = send(client, schema, items, pause=lambda tries: 0.0)
    failed = {outcome.entry.uuid: outcome.failure for outcome in outcomes if outcome.failure}
    assert failed.keys() == {items[5].uuid} and len(outcomes) == 12
    assert failed[items[5].uuid].reason == "invalid_tenant"
    assert "is not a valid tenant name" in failed[items[5].uuid].error
    good = witness.collections.get(schema.name).with_tenant("good")
    assert {str(one.uuid) for one in good.query.fetch_objects(limit=100).objects} == {
        one.uuid for one in items if one is not items[5]
    }


@pytest.mark.parametrize("version", [pytest.param("1.39.0", marks=pytest.mark.old_server), "1.39.3"])
def test_a_read_only_shard_is_never_reported_written(version: str) -> None:
    """Weaviate 1.39.0 tells of it on one object of ten."""
    with WeaviateServer(version=version) as server, opened(server) as client:
        schema = create(client, COLLECTIONS["unnamed"])
        encoded = encoded_objects(schema, "unnamed", 10)
        shards = f"/v1/schema/{schema.name}/shards"
        shard = client.rest("GET", shards).json()[0]["name"]

        def set_status(status: str) -> None:
            client.rest("PUT", f"{shards}/{shard}", {"status": status})

        set_status("READONLY")
        with pytest.raises(WeaviateError, match="read-only"):
            send(client, schema, encoded, budget=0.0)

        def pause(tries: int) -> float:
            if tries == 2:
                set_status("READY")
            return 0.0

        outcomes = send(client, schema, encoded, pause=pause)
        assert [one.failure for one in outcomes] == [None] * 10
        with connected_witness(server) as witness:
            assert contents(witness, schema) == given_contents(encoded)
            assert missing(witness, schema, "unnamed", encoded) == 0
