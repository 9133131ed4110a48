"""Vectors made by a real server with a model provider: who is asked, how often, and what errors say."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from copy import copy

import pytest

from tests.sender.harness import told
from weaviate_io import WeaviateObject, WriteToWeaviate
from weaviate_io.client import Client
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.errors import Meaning, WeaviateError, object_verdict
from weaviate_io.flow import Flow
from weaviate_io.outcome import errors_by_index
from weaviate_io.providers import ModelProvider
from weaviate_io.sender import Sender
from weaviate_io.testing import FaultProxy
from weaviate_io.testing.embeddings import FakeEmbeddings, Hold, Refuse, Vectors, vector_of
from weaviate_io.write import CreateDisposition

from .conftest import DIMENSIONS

pytestmark = pytest.mark.server


def uuid_of(number):
    return str(uuid.UUID(int=number + 1))


def objects(count, start=0):
    return [
        WeaviateObject({"title": f"Title {number}"}, uuid=uuid_of(number))
        for number in range(start, start + count)
    ]


def made_of(*titles):
    return [vector_of(title, DIMENSIONS) for title in titles]


def vectors_of(found):
    return [found[key]["vector"] for key in sorted(found)]


@contextmanager
def opened(connection, name):
    client = Client(connection)
    try:
        yield client, client.schema(name)
    finally:
        client.close()


def encoded(schema, given):
    encoder = ObjectEncoder(schema)
    return [encoder.encode(one) for one in given]


def answers(connection, name, given):
    """The errors of one BatchObjects call by index; what the server says, before anybody judges it."""
    with opened(connection, name) as (client, schema):
        payload = join_request(encoded(schema, given), None)
        return errors_by_index(client.batch_objects(payload, 60.0).result(), len(given))


def sent(connection, name, given, **options):
    """What becomes of objects that a sender of its own sends, and its tally."""
    with opened(connection, name) as (client, schema):
        sender = Sender(client, **options)
        outcomes = sender.submit(schema, [copy(one) for one in encoded(schema, given)]) + sender.drain()
        return told(outcomes), sender.tally


FOR_EVER = 1e9


def tries_until(last):
    """Pauses that take no time, until the one after so many tries, that takes more than there is."""
    return lambda tries: 0.0 if tries < last else FOR_EVER


def until(reached, seconds=60.0):
    give_up = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < give_up, "what was waited for did not come"


# What is asked of the provider


def test_written_objects_have_the_vectors_that_the_provider_makes(
    write, connect, collection, stored, provider, openai
):
    name = collection()
    done = write(objects(30), WriteToWeaviate(name, connection=connect(provider)))
    assert (len(done.written), done.failed) == (30, [])
    expected = made_of(*(f"Title {number}" for number in range(30)))
    assert vectors_of(stored(name)) == expected
    assert sorted(openai.texts) == sorted(f"Title {number}" for number in range(30))


@pytest.mark.parametrize("keyword", ["headers", "model_providers"])
def test_providers_are_taken_by_the_transform_itself(
    write, vectorizing, collection, provider, openai, stored, keyword
):
    name = collection()
    given = {"headers": provider.headers(), "model_providers": provider}[keyword]
    transform = WriteToWeaviate(name, url=vectorizing.url, grpc_url=vectorizing.grpc_url, **{keyword: given})
    assert len(write(objects(2), transform).written) == 2
    assert vectors_of(stored(name)) == made_of("Title 0", "Title 1")


def test_one_call_asks_for_all_vectors_of_a_request(connect, collection, provider, openai):
    assert answers(connect(provider), collection(), objects(500)) == {}
    assert [len(request.texts) for request in openai.requests] == [500]


def test_without_rates_the_first_object_asks_for_the_limits(connect, collection, openai, new_key):
    plain = ModelProvider("openai", api_key=lambda: new_key, base_url=openai.url)
    assert answers(connect(plain), collection(), objects(20)) == {}
    assert [len(request.texts) for request in openai.requests] == [1, 19]


def test_without_rates_a_provider_that_tells_no_limits_is_called_for_each_object(connect, collection, new_key):
    with FakeEmbeddings(dimensions=DIMENSIONS, limits=None) as silent:
        plain = ModelProvider("openai", api_key=lambda: new_key, base_url=silent.url)
        assert answers(connect(plain), collection(), objects(20)) == {}
        assert silent.calls == 20


@pytest.mark.parametrize("rate", ["requests_per_minute", "tokens_per_minute"])
def test_one_rate_is_enough_for_a_provider_that_tells_no_limits(connect, collection, new_key, rate):
    with FakeEmbeddings(dimensions=DIMENSIONS, limits=None) as silent:
        rated = ModelProvider("openai", api_key=lambda: new_key, base_url=silent.url, **{rate: 100_000})
        assert answers(connect(rated), collection(), objects(20)) == {}
        assert [len(request.texts) for request in silent.requests] == [20]


def test_key_and_organization_reach_openai(connect, collection, openai, new_key):
    mine = ModelProvider("openai", api_key=lambda: new_key, base_url=openai.url, organization="mine")
    assert answers(connect(mine), collection(), objects(1)) == {}
    assert {(request.key, request.organization) for request in openai.requests} == {(new_key, "mine")}


def test_key_and_deployment_reach_azure(connect, collection, openai, new_key):
    azure = ModelProvider(
        "azure",
        api_key=lambda: new_key,
        base_url=openai.url,
        resource_name="mine",
        deployment_id="of-the-header",
        requests_per_minute=1000,
    )
    name = collection({"resourceName": "theirs", "deploymentId": "of-the-schema"})
    assert answers(connect(azure), name, objects(3)) == {}
    assert [(len(r.texts), r.key, r.deployment) for r in openai.requests] == [(3, new_key, "of-the-header")]


def test_objects_with_a_vector_of_their_own_are_not_asked_for(connect, collection, provider, openai, stored):
    name = collection()
    given = [WeaviateObject({"title": "Own"}, uuid=uuid_of(0), vector=[1.0, 2.0, 3.0, 4.0]), *objects(1, 1)]
    assert answers(connect(provider), name, given) == {}
    assert openai.texts == ["Title 1"]
    assert vectors_of(stored(name)) == [[1.0, 2.0, 3.0, 4.0], *made_of("Title 1")]


def test_a_created_collection_is_vectorized_too(write, connect, collection, provider, openai):
    name = collection() + "New"
    schema = {
        "class": name,
        "vectorizer": "text2vec-openai",
        "moduleConfig": {"text2vec-openai": {"vectorizeClassName": False}},
        "properties": [{"name": "title", "dataType": ["text"]}],
    }
    connection = connect(provider)
    transform = WriteToWeaviate(
        name, connection=connection, schema=schema, create_disposition=CreateDisposition.CREATE_IF_NEEDED
    )
    try:
        assert len(write(objects(5), transform).written) == 5
        assert openai.calls == 1
    finally:
        with opened(connection, name) as (client, _):
            client.rest("DELETE", f"/v1/schema/{name}")


# What errors say, and what becomes of the objects

LIMIT = "Rate limit reached for text-embedding-3-small on requests per min (RPM): Limit 3, Used 3, Requested 1."
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
ERRORS = [
    (
        Refuse(429),
        f"connection to: OpenAI API failed with status: 429 error: {LIMIT}",
        (Meaning.THROTTLED, "rate_limited"),
    ),
    (
        Refuse(500, headers={"x-request-id": "req_1"}),
        "connection to: OpenAI API failed with status: 500 request-id: req_1 error: "
        "The server had an error while processing your request. Sorry about that!",
        (Meaning.PROVIDER_DOWN, "vectorizer_failed"),
    ),
    (
        Refuse(503),
        "connection to: OpenAI API failed with status: 503 error: "
        "The engine is currently overloaded, please try again later",
        (Meaning.PROVIDER_DOWN, "vectorizer_failed"),
    ),
    (
        Refuse(400, "too many tokens"),
        "connection to: OpenAI API failed with status: 400 error: too many tokens",
        (Meaning.BLAMED, "vectorizer_refused"),
    ),
    (
        Refuse(429, QUOTA),
        f"connection to: OpenAI API failed with status: 429 error: {QUOTA}",
        (Meaning.NO_ACCESS, "usage_limit"),
    ),
    (
        Hold(),
        'send POST request: Post "{url}/v1/embeddings": context deadline exceeded',
        (Meaning.PROVIDER_DOWN, "vectorizer_failed"),
    ),
]


@pytest.mark.parametrize(("fault", "text", "verdict"), ERRORS, ids=[repr(fault)[:12] for fault, *_ in ERRORS])
def test_every_object_of_a_call_has_the_error_of_the_provider(
    connect, collection, provider, openai, stored, fault, text, verdict
):
    name = collection()
    openai.behave(fault)
    errors = answers(connect(provider), name, objects(3))
    assert errors == dict.fromkeys(range(3), text.format(url=openai.url))
    assert object_verdict(errors[0]) == verdict
    assert stored(name) == {}


def test_vectors_that_are_missing_cost_their_objects_alone(connect, collection, provider, openai, stored):
    name = collection()
    openai.script(Vectors(2))
    errors = answers(connect(provider), name, objects(3))
    assert errors == {2: "vectorizer returned fewer vectors than requested"}
    assert object_verdict(errors[2]) == (Meaning.PROVIDER_DOWN, "vectorizer_failed")
    assert vectors_of(stored(name)) == made_of("Title 0", "Title 1")


def test_a_provider_that_is_away_is_tried_again(connect, collection, new_key):
    with FakeEmbeddings() as gone:
        url = gone.url
    away = ModelProvider("openai", api_key=lambda: new_key, base_url=url)
    errors = answers(connect(away), collection(), objects(1))
    assert errors == {
        0: f'send POST request: Post "{url}/v1/embeddings": dial tcp {url[7:]}: connect: connection refused'
    }
    assert object_verdict(errors[0]) == (Meaning.PROVIDER_DOWN, "vectorizer_failed")


@pytest.mark.parametrize("fault", [Refuse(429), Refuse(500), Vectors(7)], ids=["429", "500", "fewer vectors"])
def test_objects_are_written_once_the_provider_is_well_again(
    write, connect, collection, provider, openai, stored, fault
):
    name = collection()
    openai.script(fault)
    done = write(objects(10), WriteToWeaviate(name, connection=connect(provider)))
    assert (len(done.written), done.failed) == (10, [])
    assert openai.calls == 2
    assert vectors_of(stored(name)) == made_of(*(f"Title {number}" for number in range(10)))


WRONG_KEY = (
    "connection to: OpenAI API failed with status: 401 error: Incorrect API key provided. "
    "You can find your API key at https://platform.openai.com/account/api-keys."
)
NO_KEY = (
    "API Key: no api key found neither in request header: X-Openai-Api-Key "
    "nor in environment variable under OPENAI_APIKEY"
)


@pytest.mark.parametrize(
    ("settings", "text", "cure", "calls"),
    [
        ({"api_key": lambda: "wrong", "requests_per_minute": 1000}, WRONG_KEY, "see to the model provider", 1),
        ({}, NO_KEY, "give the api_key of 'openai' in model_providers=", 0),
    ],
    ids=["wrong", "missing"],
)
def test_a_wrong_or_missing_key_fails_the_job_at_once(write, connect, collection, settings, text, cure, calls):
    with FakeEmbeddings(api_key="right", dimensions=DIMENSIONS) as openai:
        refused = ModelProvider("openai", base_url=openai.url, **settings)
        name = collection()
        with pytest.raises(Exception) as raised:
            write(objects(500), WriteToWeaviate(name, connection=connect(refused)))
        assert openai.calls <= 2 * calls  # two requests are in flight
    assert f"no object of {name} gets through: {text} (vectorizer_refused); {cure}" in str(raised.value)


def test_an_account_without_money_fails_the_job_at_once(write, connect, collection, provider, openai):
    openai.behave(Refuse(429, QUOTA))
    with pytest.raises(Exception, match=r"gets through: .* You exceeded your current quota, .*usage_limit"):
        write(objects(50), WriteToWeaviate(collection(), connection=connect(provider)))
    assert openai.calls == 1


def test_without_a_key_objects_with_vectors_of_their_own_are_written(
    write, connect, collection, openai, stored
):
    name = collection()
    own = [one._replace(vector=[1.0, 2.0, 3.0, 4.0]) for one in objects(3)]
    keyless = connect(ModelProvider("openai", base_url=openai.url))
    assert len(write(own, WriteToWeaviate(name, connection=keyless)).written) == 3
    with pytest.raises(Exception, match="no api key found"):
        write([*own, *objects(1, 3)], WriteToWeaviate(name, connection=keyless))
    assert len(stored(name)) == 3 and openai.calls == 0


def test_a_key_that_ran_out_is_read_again(connect, collection, stored):
    with FakeEmbeddings(api_key="new", dimensions=DIMENSIONS) as openai:
        keys = iter(["old"])
        name = collection()
        provider = ModelProvider(
            "openai", api_key=lambda: next(keys, "new"), base_url=openai.url, requests_per_minute=100
        )
        outcomes, tally = sent(connect(provider), name, objects(10), pause=lambda tries: 0.0)
        assert [one.failure for one in outcomes] == [None] * 10
        assert [(request.key, len(request.texts)) for request in openai.requests] == [("old", 10), ("new", 10)]
    assert len(stored(name)) == 10 and tally.retries == 1


@pytest.mark.parametrize("limit", [LIMIT, "slow down"])
def test_rate_limits_are_waited_out_and_cost_neither_tries_nor_budget(
    connect, collection, provider, openai, stored, limit
):
    name = collection()
    openai.script(*[Refuse(429, limit)] * 20)
    waits = []

    def wait(waited, text):
        waits.append((waited, text))
        return 0.0

    outcomes, tally = sent(connect(provider), name, objects(30), budget=0.0, wait=wait)
    assert [one.failure for one in outcomes] == [None] * 30
    assert vectors_of(stored(name)) == made_of(*(f"Title {number}" for number in range(30)))
    assert {text for _, text in waits} == {f"connection to: OpenAI API failed with status: 429 error: {limit}"}
    assert len(waits) == tally.retries == 20 and waits == sorted(waits)
    assert openai.calls == 21


def test_a_rate_limit_that_is_never_lifted_fails_the_job_with_the_words_of_the_provider(
    connect, collection, provider, openai
):
    openai.behave(Refuse(429))
    name = collection()
    waits = iter([0.0, 0.0, 0.0])
    with pytest.raises(
        WeaviateError, match=f"no object of {name} gets through: .*: Rate limit reached .*Limit 3"
    ):
        sent(connect(provider), name, objects(30), wait=lambda waited, text: next(waits, FOR_EVER))
    assert openai.calls == 4


@pytest.mark.parametrize("status", [500, 503])
def test_a_provider_that_is_down_for_the_whole_budget_fails_the_job(
    connect, collection, provider, openai, status
):
    openai.behave(Refuse(status))
    name = collection()
    with pytest.raises(WeaviateError, match=f"no object of {name} gets through: .* status: {status} "):
        sent(connect(provider), name, objects(30), pause=tries_until(2))
    assert openai.calls == 3


@pytest.mark.parametrize(
    ("status", "reason", "most_calls"), [(400, "vectorizer_refused", 15), (500, "vectorizer_failed", 25)]
)
def test_a_text_that_the_provider_cannot_do_costs_its_object_alone(
    connect, collection, provider, openai, stored, status, reason, most_calls
):
    name = collection()
    openai.behave(lambda request: Refuse(status, "too long") if "Title 13" in request.texts else None)
    outcomes, _ = sent(connect(provider), name, objects(100), pause=tries_until(12))
    failed = [outcome for outcome in outcomes if outcome.failure]
    assert [(one.entry.uuid, one.failure.reason) for one in failed] == [(uuid_of(13), reason)]
    assert failed[0].failure.error.endswith(f"status: {status} error: too long")
    assert len(outcomes) == 100 and len(stored(name)) == 99
    assert openai.calls <= most_calls


def test_a_provider_that_takes_no_object_at_all_fails_the_job(connect, collection, provider, openai):
    openai.behave(Refuse(400, "no such setting"))
    name = collection()
    with pytest.raises(
        WeaviateError, match=f"no object of {name} gets through, 10 were refused one by one: .*such"
    ):
        sent(connect(provider), name, objects(100))
    assert openai.calls < 60  # the requests under way are halved side by side


def test_requests_start_with_100_objects_and_grow(write, connect, collection, provider, openai):
    transform = WriteToWeaviate(collection(), connection=connect(provider))
    assert len(write(objects(1000), transform).written) == 1000
    sizes = [len(request.texts) for request in openai.requests]
    assert max(sizes[:2]) == 100 and max(sizes) > 100 and sum(sizes) == 1000
    assert len(set(openai.texts)) == 1000


# What is not asked for again


def test_objects_that_are_stored_with_the_same_text_are_not_asked_for_again(
    connect, collection, provider, openai, stored
):
    name, connection = collection(), connect(provider)
    given = [
        WeaviateObject({"title": "Ünï \u2028 𝔘", "tags": ["a", "B"], "number": 1}, uuid=uuid_of(0)),
        WeaviateObject({"title": "", "tags": ["a", ""]}, uuid=uuid_of(1)),
        WeaviateObject({"title": None, "tags": ["only tags"]}, uuid=uuid_of(2)),
        WeaviateObject({"title": "dated", "day": "2024-02-29T12:00:00.123Z"}, uuid=uuid_of(3)),
        WeaviateObject({"title": "empty array", "tags": []}, uuid=uuid_of(4)),
        WeaviateObject({"number": 5}, uuid=uuid_of(5)),
    ]
    assert answers(connection, name, given) == {}
    calls, before = openai.calls, stored(name)
    assert answers(connection, name, given) == {}
    assert openai.calls == calls
    assert {key: found["vector"] for key, found in stored(name).items()} == {
        key: found["vector"] for key, found in before.items()
    }


def test_only_objects_with_another_text_are_asked_for_again(connect, collection, provider, openai, stored):
    name, connection = collection(), connect(provider)
    assert answers(connection, name, objects(3)) == {}
    changed = [*objects(2), WeaviateObject({"title": "another"}, uuid=uuid_of(2))]
    assert answers(connection, name, changed) == {}
    assert openai.texts[3:] == ["another"]
    assert vectors_of(stored(name)) == made_of("Title 0", "Title 1", "another")


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
def test_a_repair_reads_the_vectors_back_and_asks_for_none(
    vectorizing, connect, collection, provider, openai, stored, named
):
    settings = {"text2vec-openai": {"vectorizeClassName": False, "properties": ["title"]}}
    config = {"vectorIndexType": "hnsw", "vectorizer": settings}
    name = collection(vectorConfig={"content": config}) if named else collection()
    openai.behave(Hold())
    with (
        FaultProxy(vectorizing.grpc_url) as network,
        opened(connect(provider, network.address), name) as (client, schema),
    ):
        sender = Sender(client, pause=lambda tries: 0.0)
        sender.submit(schema, [copy(one) for one in encoded(schema, objects(20))])
        openai.wait_held()
        network.swallow_replies = True
        openai.release()
        until(lambda: len(stored(name)) == 20)
        network.reset_all()
        network.swallow_replies = False
        outcomes = sender.drain()
    assert [one.failure for one in told(outcomes)] == [None] * 20
    assert sender.tally.unknown_outcomes >= 1
    assert sender.tally.repaired >= 20
    assert [len(request.texts) for request in openai.requests] == [20]
    found = stored(name)
    vectors = [found[uuid_of(number)] for number in range(20)]
    vectors = [one["vectors"]["content"] if named else one["vector"] for one in vectors]
    assert vectors == made_of(*(f"Title {number}" for number in range(20)))


def test_vectors_that_came_after_the_deadline_of_their_request_are_asked_for_again(
    connect, collection, provider, openai, stored
):
    """The server throws them away, and stores nothing: another reason why deadlines are long."""
    name = collection()
    openai.script(Hold())
    deadlines = iter([1.5])

    class ShortOnce(Flow):
        def deadline(self, vectorized=False):
            return next(deadlines, 60.0)

    with opened(connect(provider), name) as (client, schema):
        client.flow = ShortOnce(60.0)
        sender = Sender(client, pause=lambda tries: 0.0)
        outcomes = sender.submit(schema, [copy(one) for one in encoded(schema, objects(20))]) + sender.drain()
    assert [one.failure for one in told(outcomes)] == [None] * 20
    # Whether the client or the server is the first to give up, each text was asked for twice.
    assert sorted(openai.texts) == sorted(2 * [f"Title {number}" for number in range(20)])
    assert vectors_of(stored(name)) == made_of(*(f"Title {number}" for number in range(20)))
