"""Vectors of one's own beside vectors that the server makes: after an interrupted write all are found."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import Counter
from copy import copy

import grpc
import pytest

from tests.sender.harness import told
from tests.sender.test_sender_on_server import Hurried, connected_witness, known_to_index, send
from weaviate_io import WeaviateObject, proto
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.sender import Sender
from weaviate_io.testing import FaultProxy, WeaviateServer
from weaviate_io.testing.embeddings import FakeEmbeddings, Hold, vector_of

pytestmark = pytest.mark.server

COUNT = 1000
DIMENSIONS = 128
DEADLINES = (0.3, 0.4, 0.25, 0.5, 0.2, 0.65, 0.15, 0.8, 0.1, 1.0) * 2  # seconds
OPENAI = {"vectorizeClassName": False, "properties": ["title"]}
COLLECTIONS = {
    "unnamed": {"vectorizer": "text2vec-openai", "moduleConfig": {"text2vec-openai": OPENAI}},
    "named": {
        "vectorConfig": {
            "own": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
            "made": {"vectorizer": {"text2vec-openai": OPENAI}, "vectorIndexType": "hnsw"},
        }
    },
}


@pytest.fixture
def openai():
    with FakeEmbeddings(dimensions=DIMENSIONS) as running:
        yield running


@pytest.fixture
def client(connect, provider):
    with contextlib.closing(Client(connect(provider))) as client:
        yield client


def until(reached, seconds=60.0):
    give_up = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < give_up, "what was waited for did not come"


def create(client, collection, kind):
    return client.schema(collection(**COLLECTIONS[kind]))


def title_of(number):
    return f"Title {number}"


def own_vector(number):
    """What object ``number`` brings: all of them have one where vectors are named, else every second one."""
    return vector_of(f"own {number}", DIMENSIONS)


def given(kind):
    vectors = {"unnamed": lambda n: own_vector(n) if n % 2 else None, "named": lambda n: {"own": own_vector(n)}}
    return [
        WeaviateObject({"title": title_of(n)}, uuid=str(uuid.UUID(int=n + 1)), vector=vectors[kind](n))
        for n in range(COUNT)
    ]


def expected(kind):
    """Title and vectors as they are to be stored, by id."""
    made = [vector_of(title_of(n), DIMENSIONS) for n in range(COUNT)]
    vectors = {
        "unnamed": lambda n: {"default": own_vector(n) if n % 2 else made[n]},
        "named": lambda n: {"own": own_vector(n), "made": made[n]},
    }
    return {str(uuid.UUID(int=n + 1)): (title_of(n), vectors[kind](n)) for n in range(COUNT)}


def contents(witness, schema):
    page = witness.collections.get(schema.name).query.fetch_objects(limit=5000, include_vector=True)
    return {str(one.uuid): (one.properties["title"], one.vector) for one in page.objects}


def missing(witness, schema, encoded):
    """How many objects each vector index does not know."""
    return {
        name: len(encoded) - len(known_to_index(witness, schema, encoded, name))
        for name in sorted(schema.vectors)
    }


def encoded_for(schema, kind):
    encode = ObjectEncoder(schema).encode
    return [encode(one) for one in given(kind)]


def damage_of_a_plain_resend(client, witness, schema, kind, seconds):
    encoded = encoded_for(schema, kind)
    request = join_request(encoded, None)
    client.batch_objects(request, seconds).code()
    again = client.batch_objects(request, 90)
    assert not proto.BatchObjectsReply.FromString(again.result()).errors
    return missing(witness, schema, encoded)


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_after_a_deadline_every_object_is_found_in_every_index(vectorizing, client, collection, openai, kind):
    client.flow.request_size = lambda name, vectorized: COUNT
    with connected_witness(vectorizing) as witness:
        for seconds in DEADLINES:  # until one passes between store and index
            control = create(client, collection, kind)
            damage = damage_of_a_plain_resend(client, witness, control, kind, seconds)
            before = len(openai.texts)
            schema = create(client, collection, kind)
            encoded = encoded_for(schema, kind)
            hurried = Hurried(client, seconds)
            outcomes = send(hurried, schema, encoded, pause=lambda tries: 0.0)
            left = missing(witness, schema, encoded)
            asked = Counter(openai.texts[before:])
            print(f"{kind}, {seconds} s: not found after a plain resend {damage}, after the repair {left}")
            assert [one.failure for one in outcomes] == [None] * COUNT
            assert not any(left.values())
            assert contents(witness, schema) == expected(kind)
            assert max(asked.values()) <= 1 + hurried.lost  # never for the repair
            if all(damage.values()) and hurried.lost:
                break
        assert all(damage.values()) and hurried.lost


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_after_a_lost_connection_nothing_is_asked_of_the_provider_again(
    vectorizing, connect, collection, provider, openai, kind
):
    openai.script(Hold())
    with (
        FaultProxy(vectorizing.grpc_url) as network,
        contextlib.closing(Client(connect(provider, network.address))) as client,
        connected_witness(vectorizing) as witness,
    ):
        schema = create(client, collection, kind)
        encoded = encoded_for(schema, kind)[:100]
        sender = Sender(client, pause=lambda tries: 0.0)
        sender.submit(schema, [copy(one) for one in encoded])
        openai.wait_held()
        network.swallow_replies = True
        openai.release()
        until(lambda: len(contents(witness, schema)) == 100)
        network.reset_all()
        network.swallow_replies = False
        outcomes = sender.drain()
        assert [one.failure for one in told(outcomes)] == [None] * 100
        assert sender.tally.repaired == 100 and sender.tally.unknown_outcomes >= 1
        assert not any(missing(witness, schema, encoded).values())
        wanted = expected(kind)
        assert contents(witness, schema) == {one.uuid: wanted[one.uuid] for one in encoded}
    assert max(Counter(openai.texts).values()) == 1


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_after_a_kill_of_the_server_every_object_in_flight_is_found_in_every_index(provider, openai, kind):
    """What was acknowledged before the kill is checked to be stored only, as the server may lose it from its index."""
    acknowledged: set[str] = set()
    restarted: list[bool] = []
    with WeaviateServer(version="1.39.3", environment=openai.environment) as server:
        connection = WeaviateConnection(server.url, grpc_url=server.grpc_url, headers=provider.headers())
        with contextlib.closing(Client(connection)) as client:
            properties = [{"name": "title", "dataType": ["text"]}]
            client.rest("POST", "/v1/schema", {"class": "Mixed", "properties": properties, **COLLECTIONS[kind]})
            schema = client.schema("Mixed")
            encoded = encoded_for(schema, kind)

            class Watched(Hurried):
                def batch_objects(self, request, timeout):
                    call = client.batch_objects(request, timeout)
                    uuids = {message.uuid for message in proto.BatchObjectsRequest.FromString(request).objects}
                    call.add_done_callback(lambda done: self._note(done, uuids))
                    return call

                @staticmethod
                def _note(done, uuids):
                    if done.code() is grpc.StatusCode.OK and not restarted:
                        acknowledged.update(uuids)

            def kill():
                openai.wait_held()
                server.kill()
                openai.release()

            def pause(tries):
                if not restarted:
                    killer.join()
                    server.restart()
                    restarted.append(True)
                return 0.1

            openai.script(None, None, None, Hold())
            killer = threading.Thread(target=kill)
            killer.start()
            sender = Sender(Watched(client, 0), max_in_flight=4, pause=pause)
            outcomes = sender.submit(schema, [copy(one) for one in encoded]) + sender.drain()
        assert restarted and [one.failure for one in told(outcomes)] == [None] * COUNT
        with connected_witness(server) as witness:
            interrupted = [one for one in encoded if one.uuid not in acknowledged]
            assert interrupted and not any(missing(witness, schema, interrupted).values())
            assert contents(witness, schema) == expected(kind)
