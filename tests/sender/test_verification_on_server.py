"""A writer that is killed, and what a second one does about it, on a real server."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import grpc
import numpy as np
import pytest

from tests.sender.harness import told
from tests.sender.test_sender_on_server import (
    connected_witness,
    contents,
    create,
    given_contents,
    missing,
    opened,
    unit_rows,
)
from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.indexing import is_synchronous
from weaviate_io.objects import WeaviateObject
from weaviate_io.outcome import Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Entry
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import WeaviateServer
from weaviate_io.verification import by_ids, unindexed_ids

DIMENSIONS = 256
COUNT = 2000
_TEXT = [{"name": "title", "dataType": ["text"]}]
_NONE: dict[str, Any] = {"none": {}}


def unnamed(distance: str = "cosine", **config: Any) -> dict[str, Any]:
    index = {"distance": distance, **config}
    return {"vectorizer": "none", "properties": _TEXT, "vectorIndexConfig": index}


def named(distance: str = "cosine", index_type: str = "hnsw", **config: Any) -> dict[str, Any]:
    index = {"vectorizer": _NONE, "vectorIndexType": index_type}
    index["vectorIndexConfig"] = {"distance": distance, **config}
    return {"properties": _TEXT, "vectorConfig": {"one": index, "two": index}}


MUVERA: dict[str, Any] = {
    "properties": _TEXT,
    "vectorConfig": {
        "tokens": {
            "vectorizer": _NONE,
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": {"multivector": {"enabled": True, "muvera": {"enabled": True}}},
        }
    },
}
TENANTS = {**unnamed(), "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}


@pytest.fixture(scope="module")
def server() -> Iterator[WeaviateServer]:
    """A server of this module alone, that makes vectors of text."""
    with WeaviateServer(version="1.39.3", environment={"ENABLE_MODULES": "text2vec-bigram"}) as running:
        yield running


@pytest.fixture
def client(server: WeaviateServer) -> Iterator[Client]:
    with opened(server) as client:
        yield client


def vectors(count: int, distance: str, seed: int = 17) -> np.ndarray:
    """Vectors that suit the distance: under dot of very different norms, under hamming of two values."""
    random = np.random.default_rng(seed)
    made = random.standard_normal((count, DIMENSIONS)).astype(np.float32)
    if distance == "dot":
        made *= random.uniform(0.1, 1e6, (count, 1)).astype(np.float32)
    return np.sign(made) if distance == "hamming" else made


def encoded(
    schema: CollectionSchema, vectors: Sequence[Any], tenant: str | None = None, start: int = 0
) -> list[Entry]:
    encode = ObjectEncoder(schema).encode
    objects = []
    for number, vector in enumerate(vectors, start):
        given = vector if DEFAULT_VECTOR in schema.vectors else dict.fromkeys(schema.vectors, vector)
        title = f"object {number:x} of {number * 7919:x}"
        objects.append(
            encode(WeaviateObject({"title": title}, str(uuid.UUID(int=number + 1)), given, tenant=tenant))
        )
    return objects


def write(
    client: Client, schema: CollectionSchema, objects: Sequence[Entry], verify: str = "existing"
) -> Tally:
    """Write as a process does that knows of no other; everything must be reported written."""
    tally = Tally()
    method = BatchObjects(verify, tally, lambda collection: is_synchronous(client, collection))
    sender = Sender(client, method, tally=tally)
    outcomes = sender.submit(schema, [copy(one) for one in objects]) + sender.drain()
    assert [one.failure for one in told(outcomes)] == [None] * len(objects)
    return tally


_WRITER = """
import sys
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.framing import varint
url, grpc_url, requests = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = Client(WeaviateConnection(url, grpc_url=grpc_url))
calls = []
for _ in range(requests):
    size = int(sys.stdin.buffer.readline())
    calls.append(client.batch_objects(sys.stdin.buffer.read(size), 90))
print("sent", flush=True)
sys.stdin.buffer.read()
"""


def killed_writer(server: WeaviateServer, client: Client, objects: Sequence[Entry]) -> None:
    """A process that sends all objects, 250 a request, and is killed once some are stored."""
    parts = [join_request(objects[i : i + 250]) for i in range(0, len(objects), 250)]
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, server.url, server.grpc_url, str(len(parts))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdin is not None and writer.stdout is not None
    for part in parts:
        writer.stdin.write(b"%d\n" % len(part) + part)
    writer.stdin.flush()
    assert writer.stdout.readline() == b"sent\n"
    while not any(is_stored(client, objects[index]) for index in range(0, len(objects), 250)):
        pass
    writer.kill()
    writer.communicate()


def is_stored(client: Client, one: Entry) -> bool:
    collection = proto.BatchObject.FromString(one.payload).collection
    try:
        return bool(client.search(by_ids(collection, one.tenant, [one.uuid])).results)
    except grpc.RpcError:  # its tenant is still to be created
        return False


def lost_in(client: Client, schema: CollectionSchema, objects: Sequence[Entry]) -> int:
    """How many objects the worst of the indexes does not know."""
    worst = 0
    for index in schema.vectors.values():
        lost = 0
        for tenant in {one.tenant for one in objects}:
            ids = [one.uuid for one in objects if one.tenant == tenant]
            for start in range(0, len(ids), 500):
                lost += len(unindexed_ids(client.search, schema, index, tenant, ids[start : start + 500]))
        worst = max(worst, lost)
    return worst


def damaged(
    server: WeaviateServer, client: Client, description: dict[str, Any], objects_of: Any
) -> tuple[CollectionSchema, list[Entry], int]:
    """A collection whose first writer was killed, and that a second one wrote again without looking."""
    for _ in range(8):  # until a kill comes between store and index
        schema = create(client, description)
        objects = objects_of(schema)
        killed_writer(server, client, objects)
        write(client, schema, objects, "off")
        lost = lost_in(client, schema, objects)
        if lost:
            return schema, objects, lost
    raise AssertionError("no kill left an object out of the index")


@pytest.mark.parametrize(
    "description",
    [unnamed(), unnamed("dot"), named(), named("dot")],
    ids=["unnamed cosine", "unnamed dot", "named cosine", "named dot"],
)
def test_what_a_killed_writer_left_unfindable_the_next_run_repairs(
    server: WeaviateServer, client: Client, description: dict[str, Any]
) -> None:
    distance = "dot" if "dot" in repr(description) else "cosine"
    schema, objects, lost = damaged(
        server, client, description, lambda schema: encoded(schema, vectors(COUNT, distance))
    )
    kind = "named" if len(schema.vectors) > 1 else "unnamed"
    with connected_witness(server) as witness:
        assert missing(witness, schema, kind, objects) == lost
        tally = write(client, schema, objects)
        assert missing(witness, schema, kind, objects) == 0
        print(f"{kind} {distance}: {lost} of {COUNT} were unfindable after the retry; {tally}")
        assert tally.unindexed >= lost and tally.verified >= COUNT
        stored = {uuid: vector for uuid, (_, vector) in contents(witness, schema).items()}
        assert stored == {uuid: vector for uuid, (_, vector) in given_contents(objects).items()}
    assert write(client, schema, objects).unindexed == 0


def test_damage_is_repaired_in_the_tenant_that_has_it(server: WeaviateServer, client: Client) -> None:
    def of_two_tenants(schema: CollectionSchema) -> list[Entry]:
        half = COUNT // 2
        given = vectors(COUNT, "cosine")
        return encoded(schema, given[:half], "one") + encoded(schema, given[half:], "two", half)

    schema, objects, lost = damaged(server, client, TENANTS, of_two_tenants)
    print(f"tenants: {lost} of {COUNT} were unfindable after the retry")
    assert write(client, schema, objects).unindexed == lost
    assert lost_in(client, schema, objects) == 0


def test_damage_of_vectors_that_the_server_makes_is_repaired(server: WeaviateServer, client: Client) -> None:
    description = {"vectorizer": "text2vec-bigram", "properties": _TEXT}
    schema, objects, lost = damaged(server, client, description, lambda schema: encoded(schema, [None] * COUNT))
    print(f"made by the server: {lost} of {COUNT} were unfindable after the retry")
    assert write(client, schema, objects).unindexed == lost
    assert lost_in(client, schema, objects) == 0


def test_damage_of_muvera_is_repaired(server: WeaviateServer, client: Client) -> None:
    def of_tokens(schema: CollectionSchema) -> list[Entry]:
        random = np.random.default_rng(5)
        return encoded(schema, [unit_rows(random.standard_normal((4, 64))) for _ in range(500)])

    schema, objects, lost = damaged(server, client, MUVERA, of_tokens)
    print(f"muvera: {lost} of 500 were unfindable after the retry")
    assert write(client, schema, objects).unindexed >= lost
    assert lost_in(client, schema, objects) == 0


def test_with_all_a_retry_while_the_dead_writer_is_still_at_work_leaves_nothing_unfindable(
    server: WeaviateServer, client: Client
) -> None:
    schema = create(client, unnamed())
    objects = encoded(schema, vectors(COUNT, "cosine"))
    killed_writer(server, client, objects)
    write(client, schema, objects, "all")
    assert lost_in(client, schema, objects) == 0


HEALTHY = {
    "cosine": unnamed(),
    "dot": unnamed("dot"),
    "l2-squared": unnamed("l2-squared"),
    "manhattan": unnamed("manhattan"),
    "hamming": unnamed("hamming"),
    "bq": unnamed(bq={"enabled": True}),
    "rq": unnamed(rq={"enabled": True}),
    "named": named(),
    "named flat": named(index_type="flat"),
    "unnamed flat": {**unnamed(), "vectorIndexType": "flat"},
    "hfresh": {**unnamed(), "vectorIndexType": "hfresh"},
    "tenants": TENANTS,
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_import_that_is_run_again_gives_no_alarm(client: Client, kind: str) -> None:
    schema = create(client, HEALTHY[kind])
    given = vectors(600, kind)
    given[100:200] = given[0]  # duplicates
    given[200:230] = 0
    given[230:300] = given[230:300] * 2  # of one direction: ties under cosine
    given[300:330] = -given[300:330]
    objects = encoded(schema, given, "one" if schema.multi_tenant else None)
    assert write(client, schema, objects).verified == 0
    tally = write(client, schema, objects)
    assert (tally.verified, tally.unindexed, tally.repaired) == (600, 0, 0)


def test_objects_that_were_deleted_and_added_again_give_no_alarm(
    client: Client, server: WeaviateServer
) -> None:
    schema = create(client, unnamed())
    objects = encoded(schema, vectors(300, "cosine"))
    write(client, schema, objects)
    for one in objects[:40]:
        client.rest("DELETE", f"/v1/objects/{schema.name}/{one.uuid}", accept=(204,))
    tally = write(client, schema, objects)
    assert (tally.verified, tally.unindexed) == (260, 0)
    tally = write(
        client, schema, encoded(schema, vectors(300, "cosine", seed=18))
    )  # all have other vectors now
    assert (tally.verified, tally.unindexed) == (300, 0)
    tally = write(client, schema, objects)
    assert (tally.verified, tally.unindexed, tally.repaired) == (300, 0, 0)


def test_more_objects_than_a_search_may_give_are_verified(client: Client) -> None:
    schema = create(client, unnamed())
    objects = encoded(schema, vectors(11_000, "cosine")[:, :16])
    write(client, schema, objects)
    tally = write(client, schema, objects)
    assert (tally.verified, tally.unindexed, tally.repaired) == (11_000, 0, 0)


def test_objects_that_had_no_vector_before_give_no_alarm(client: Client) -> None:
    schema = create(client, unnamed())
    write(client, schema, encoded(schema, [None] * 50))
    tally = write(client, schema, encoded(schema, vectors(50, "cosine")))
    assert (tally.verified, tally.unindexed, tally.repaired) == (50, 0, 0)


def test_vectors_of_another_length_than_stored_are_refused_without_delay(client: Client) -> None:
    schema = create(client, unnamed())
    write(client, schema, encoded(schema, vectors(20, "cosine")))
    sender = Sender(client, BatchObjects("existing"))
    longer = encoded(schema, np.ones((20, DIMENSIONS + 1), np.float32))
    outcomes = sender.submit(schema, [copy(one) for one in longer]) + sender.drain()
    assert {outcome.failure.reason for outcome in outcomes if outcome.failure} == {"invalid_vector"}
    assert len(outcomes) == 20


def test_into_a_collection_that_the_server_is_still_to_create_everything_is_new(client: Client) -> None:
    schema = CollectionSchema.unknown(f"WeaviateIoTest_{uuid.uuid4().hex[:12]}")
    objects = encoded(schema, vectors(20, "cosine"))
    assert write(client, schema, objects).verified == 0
    assert write(client, schema, objects).verified == 20
