"""The fake server does what a writer sees of a real one, and fails as it is told."""

from __future__ import annotations

import struct
import threading

import grpc
import pytest
import requests

from weaviate_io import proto
from weaviate_io.testing import (
    Delay,
    Disconnect,
    Errors,
    ErrorsWhere,
    Fail,
    FakeWeaviate,
    Malformed,
    Ok,
    StoreThenFail,
    StoreThenHang,
)

TITLE = {"name": "title", "dataType": ["text"]}
COUNT = {"name": "count", "dataType": ["int"]}
CLIENT_SECONDS = 30.0


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def vector(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def an_object(number, collection="Article", tenant="", values=None, named=None, **properties):
    given = number if isinstance(number, str) else uuid(number)
    message = proto.BatchObject(uuid=given, collection=collection, tenant=tenant)
    if values is not None:
        message.vector_bytes = vector(*values)
    for name, floats in (named or {}).items():
        message.vectors.add(name=name, vector_bytes=vector(*floats), type=proto.VECTOR_SINGLE_FP32)
    message.properties.non_ref_properties.update(properties)
    return message


class Client:
    """Raw calls, as a connector makes them."""

    def __init__(self, fake: FakeWeaviate) -> None:
        self.fake = fake
        self.channel = grpc.insecure_channel(fake.grpc_url)

    def call(self, method, message, seconds=CLIENT_SECONDS, metadata=None):
        return self.channel.unary_unary(method)(message.SerializeToString(), timeout=seconds, metadata=metadata)

    def write(self, *messages, **options):
        reply = self.call(proto.BATCH_OBJECTS, proto.BatchObjectsRequest(objects=messages), **options)
        return {error.index: error.error for error in proto.BatchObjectsReply.FromString(reply).errors}

    def search(self, ids, collection="Article", tenant="", limit=100):
        query = proto.SearchRequest(collection=collection, tenant=tenant, limit=limit, uses_127_api=True)
        query.metadata.uuid = query.metadata.vector = True
        query.filters.operator = proto.CONTAINS_ANY
        query.filters.target.property = "_id"
        query.filters.value_text_array.values.extend(ids)
        return [
            result.metadata for result in proto.SearchReply.FromString(self.call(proto.SEARCH, query)).results
        ]

    def rest(self, method, path, body=None, headers=None):
        return requests.request(
            method, self.fake.url + path, json=body, headers=headers, timeout=CLIENT_SECONDS
        )


@pytest.fixture
def fake():
    with FakeWeaviate() as server:
        server.create_collection({"class": "Article", "properties": [TITLE, COUNT]})
        yield server


@pytest.fixture
def client(fake):
    client = Client(fake)
    yield client
    client.channel.close()


def refusal(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value.code().name, caught.value.details()


def test_objects_are_stored_as_sent_under_their_canonical_id(fake, client):
    message = an_object(uuid(0xAB).upper(), values=(1, 2), title="Dune")
    assert client.write(message) == {}
    assert fake.objects == {("Article", "", uuid(0xAB)): message}


def test_a_second_write_replaces_the_whole_object(fake, client):
    client.write(an_object(1, values=(1, 2), title="old"))
    client.write(an_object(1, count=3))
    assert fake.objects[("Article", "", uuid(1))] == an_object(1, count=3)


def test_the_last_of_several_objects_with_one_id_wins(fake, client):
    assert client.write(an_object(1, title="first"), an_object(1, title="last")) == {}
    assert fake.objects[("Article", "", uuid(1))] == an_object(1, title="last")


def test_bad_objects_fail_alone_and_in_the_words_of_the_server(fake, client):
    errors = client.write(
        an_object(0, title="good"),
        an_object("", title="x"),
        an_object("zz"),
        an_object("0" * 36),
        an_object(4, collection="Nope"),
        an_object(5, tenant="t"),
        an_object(6, bogus=1),
        an_object(7, title=3),
        an_object(8, count=1.5),
        an_object(9, named={"a": (1, 2)}),
    )
    assert errors == {
        1: "invalid UUID length: 0",
        2: "invalid UUID length: 2",
        3: "invalid UUID format",
        4: "class 'Nope' not present in schema",
        5: "class Article has multi-tenancy disabled, but request was with tenant",
        6: "no such prop with name 'bogus' found in class 'Article' in the schema. "
        "Check your schema files for which properties in this class are available",
        7: "invalid text property 'title' on class 'Article': not a string, but float64",
        8: "invalid integer property 'count' on class 'Article': requires an integer, the given value is '1.5'",
        9: "collection Article does not have configuration for vector a",
    }
    assert list(fake.objects) == [("Article", "", uuid(0))]


def test_arrays_and_references_of_unknown_properties_are_refused(client):
    message = an_object(1)
    message.properties.text_array_properties.add(prop_name="tags", values=["a"])
    assert "no such prop with name 'tags'" in client.write(message)[0]


def test_names_start_in_the_case_that_the_server_gives_them(fake, client):
    assert client.write(an_object(1, collection="article", Title="x")) == {}
    assert ("Article", "", uuid(1)) in fake.objects


def test_the_first_vector_fixes_the_length(fake, client):
    client.write(an_object(1, values=(1, 2)))
    errors = client.write(an_object(2, values=(1, 2)), an_object(3, values=(1, 2, 3)))
    assert errors == {
        1: f"Validate vector index for {uuid(3)}: new node has a vector with length 3. "
        "Existing nodes have vectors with length 2: vector dimensions do not match the index dimensions"
    }


def test_mixed_lengths_in_an_empty_collection_are_stored_but_not_indexed(fake, client):
    errors = client.write(an_object(1, values=(1, 2)), an_object(2, values=(1, 2, 3)))
    assert list(errors) == [1] and errors[1].startswith("insert to vector index")
    assert len(fake.objects) == 2
    assert fake.unindexed == {("Article", "", uuid(2))}


def test_named_vectors_are_checked_by_name(fake, client):
    fake.create_collection({"class": "Named", "vectorConfig": {"a": {}, "b": {}}})
    errors = client.write(
        an_object(1, "Named", named={"a": (1, 2), "b": (3,)}),
        an_object(2, "Named", values=(1, 2)),
        an_object(3, "Named", named={"c": (1,)}),
    )
    assert errors == {
        1: "collection Named configuration does not have single vector index",
        2: "collection Named does not have configuration for vector c",
    }


def test_tenants_must_exist_and_be_active(fake, client):
    fake.create_collection({"class": "Multi", "multiTenancyConfig": {"enabled": True}})
    tenants = [{"name": "warm"}, {"name": "cold", "activityStatus": "INACTIVE"}]
    assert client.rest("POST", "/v1/schema/Multi/tenants", tenants).status_code == 200
    errors = client.write(
        an_object(1, "Multi", "warm"),
        an_object(2, "Multi", "cold"),
        an_object(3, "Multi", "none"),
        an_object(4, "Multi"),
    )
    assert errors == {
        1: "tenant not active: 'cold'",
        2: 'tenant not found: "none"',
        3: "class Multi has multi-tenancy enabled, but request was without tenant",
    }
    assert list(fake.objects) == [("Multi", "warm", uuid(1))]


@pytest.mark.parametrize(
    "name, words", [("", "empty tenant name"), ("b d", "'b d' is not a valid tenant name")]
)
def test_a_bad_tenant_name_spoils_the_request_where_tenants_are_created(fake, client, name, words):
    fake.create_collection(
        {"class": "Auto", "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}
    )
    code, details = refusal(client.write, an_object(1, "Auto", "good"), an_object(2, "Auto", name))
    assert code == "UNKNOWN"
    assert details.startswith(
        'auto create tenants: auto-tenant: add tenants to collection "Auto": tenant name at'
    )
    assert words in details
    assert fake.objects == {}
    assert client.write(an_object(1, "Auto", "good")) == {}
    assert fake.tenants["Auto"] == {"good": "HOT"}


def test_an_object_without_collection_spoils_the_request(fake, client):
    code, details = refusal(client.write, an_object(1), an_object(2, collection=""))
    assert (code, details[:14]) == ("UNKNOWN", "panic occurred")
    assert fake.objects == {}


def test_a_request_larger_than_the_limit_is_refused():
    with FakeWeaviate(max_message_size=1000) as fake:
        fake.create_collection({"class": "Article", "properties": [TITLE]})
        client = Client(fake)
        assert client.rest("GET", "/v1/meta").json()["grpcMaxMessageSize"] == 1000
        code, details = refusal(client.write, an_object(1, title="x" * 2000))
        size = fake.requests[0].size
        assert (code, details) == (
            "RESOURCE_EXHAUSTED",
            f"grpc: received message larger than max ({size} vs. 1000)",
        )
        client.channel.close()


def test_a_key_is_asked_for_on_both_sides():
    with FakeWeaviate(api_key="sesame") as fake:
        client = Client(fake)
        assert client.rest("GET", "/v1/.well-known/ready").status_code == 200
        assert client.rest("GET", "/v1/meta").status_code == 401
        wrong = client.rest("GET", "/v1/meta", headers={"authorization": "Bearer nope"})
        assert (wrong.status_code, wrong.json()) == (
            401,
            {"code": 401, "message": "unauthorized: invalid api key"},
        )
        right = {"authorization": "Bearer sesame"}
        assert client.rest("GET", "/v1/meta", headers=right).json()["version"] == "1.39.3"
        answer = refusal(client.write, an_object(1), metadata=[("authorization", "Bearer nope")])
        assert answer == ("UNKNOWN", "extract auth: unauthorized: invalid api key")
        assert client.write(metadata=list(right.items())) == {}
        client.channel.close()


def test_search_finds_objects_by_id_with_their_vectors(fake, client):
    fake.create_collection({"class": "Named", "vectorConfig": {"a": {}}})
    client.write(an_object(2, values=(1, 2)), an_object(1), an_object(1, "Named", named={"a": (3,)}))
    found = client.search([uuid(2), uuid(1), uuid(99), "no uuid"])
    assert {one.id: one.vector_bytes for one in found} == {uuid(1): b"", uuid(2): vector(1, 2)}
    (named,) = client.search([uuid(1)], "Named")
    assert [(one.name, one.type, one.vector_bytes) for one in named.vectors] == [("a", 1, vector(3))]
    assert len(client.search([uuid(2), uuid(1)], limit=1)) == 1
    assert refusal(client.search, [uuid(1)], "Nope") == ("UNKNOWN", "could not find class Nope in schema")


def test_schema_over_rest(fake, client):
    assert client.rest("GET", "/v1/schema/Nope").status_code == 404
    created = client.rest("POST", "/v1/schema", {"class": "book", "properties": [TITLE]})
    assert created.status_code == 200
    book = client.rest("GET", "/v1/schema/Book").json()
    assert (book["class"], book["vectorizer"], book["vectorIndexType"]) == ("Book", "none", "hnsw")
    assert book["properties"][0]["tokenization"] == "word"
    twice = client.rest("POST", "/v1/schema", {"class": "Book"})
    assert (twice.status_code, twice.json()["error"]) == (422, [{"message": "class name Book already exists"}])
    assert client.rest("PUT", "/v1/schema/Book", {**book, "description": "new"}).status_code == 200
    assert fake.schemas["Book"]["description"] == "new"
    assert {one["class"] for one in client.rest("GET", "/v1/schema").json()["classes"]} == {"Article", "Book"}
    assert client.rest("DELETE", "/v1/schema/Book").status_code == 200
    assert "Book" not in fake.schemas


def test_deleted_objects_are_gone_and_listed(fake, client):
    client.write(an_object(1), an_object(2))
    assert client.rest("DELETE", f"/v1/objects/Article/{uuid(1)}").status_code == 204
    client.rest("DELETE", "/v1/schema/Article")
    assert fake.objects == {}
    assert fake.deleted == [("Article", "", uuid(1)), ("Article", "", uuid(2))]


def test_requests_are_logged(fake, client):
    client.write(an_object(1), metadata=[("x-note", "hello")])
    client.search([uuid(1)])
    written, searched = fake.requests
    assert (written.method, written.uuids, written.metadata["x-note"]) == ("BatchObjects", [uuid(1)], "hello")
    assert written.size == len(proto.BatchObjectsRequest(objects=[an_object(1)]).SerializeToString())
    assert written.start <= written.end <= searched.start
    assert (searched.method, searched.uuids) == ("Search", [uuid(1)])


def test_health_is_served_and_unknown_methods_are_not(client):
    assert (
        client.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=CLIENT_SECONDS) == b"\x08\x01"
    )
    call = client.channel.unary_unary(f"{proto.SERVICE}/BatchDelete")
    assert refusal(call, b"", timeout=CLIENT_SECONDS)[0] == "UNIMPLEMENTED"


def test_script_is_used_up_before_the_behaviour(fake, client):
    seen = []

    def choose(request, number):
        seen.append((number, len(request.objects)))
        return Fail(grpc.StatusCode.INTERNAL, "chosen") if number == 2 else None

    fake.script(Fail(grpc.StatusCode.UNAVAILABLE, "scripted"), Ok())
    fake.behave(choose)
    assert refusal(client.write, an_object(1)) == ("UNAVAILABLE", "scripted")
    assert client.write(an_object(1)) == {}
    assert refusal(client.write, an_object(2)) == ("INTERNAL", "chosen")
    assert client.write(an_object(3)) == {}
    assert seen == [(2, 1), (3, 1)]
    assert [key[2] for key in fake.objects] == [uuid(1), uuid(3)]


def test_fail_carries_status_details(fake, client):
    fake.script(Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "limit", (("grpc-status-details-bin", b"\x08\x08"),)))
    with pytest.raises(grpc.RpcError) as caught:
        client.write(an_object(1))
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x08"


def test_an_interrupted_write_stays_out_of_the_index_until_its_vector_changes(fake, client):
    key = ("Article", "", uuid(1))
    fake.script(StoreThenFail(grpc.StatusCode.UNAVAILABLE, "Socket closed"))
    assert refusal(client.write, an_object(1, values=(1, 2))) == ("UNAVAILABLE", "Socket closed")
    assert key in fake.objects and fake.unindexed == {key}
    client.write(an_object(1, values=(1, 2), title="same vector"))
    assert fake.unindexed == {key}
    client.write(an_object(1, values=(1, 2.5)))
    assert fake.unindexed == set()


def test_an_interrupted_write_of_a_vector_that_is_there_harms_nothing(fake, client):
    client.write(an_object(1, values=(1, 2)))
    fake.script(StoreThenFail(grpc.StatusCode.UNAVAILABLE))
    refusal(client.write, an_object(1, values=(1, 2), title="new"))
    assert fake.unindexed == set()


@pytest.mark.parametrize("named", [{"a": (1, 2), "b": (3.5,)}, {"a": (1, 2.5), "b": (3,)}])
def test_any_changed_vector_puts_all_of_them_into_the_index(fake, client, named):
    fake.create_collection({"class": "Named", "vectorConfig": {"a": {}, "b": {}}})
    fake.script(StoreThenFail(grpc.StatusCode.UNAVAILABLE))
    refusal(client.write, an_object(1, "Named", named={"a": (1, 2), "b": (3,)}))
    assert len(fake.unindexed) == 1
    client.write(an_object(1, "Named", named=named))
    assert fake.unindexed == set()


def test_deleting_takes_an_object_out_of_the_unindexed(fake, client):
    fake.script(Disconnect(stored=True))
    assert refusal(client.write, an_object(1, values=(1,)))[0] == "UNAVAILABLE"
    assert len(fake.unindexed) == 1
    client.rest("DELETE", f"/v1/objects/Article/{uuid(1)}")
    assert fake.unindexed == set()


def test_a_disconnect_before_the_write_stores_nothing(fake, client):
    fake.script(Disconnect())
    assert refusal(client.write, an_object(1)) == ("UNAVAILABLE", "Socket closed")
    assert fake.objects == {}


def test_errors_by_index_leave_the_others_stored(fake, client):
    fake.script(Errors({1: "tenant not found", 7: "out of range"}))
    assert client.write(*(an_object(n) for n in range(3))) == {1: "tenant not found", 7: "out of range"}
    assert {key[2] for key in fake.objects} == {uuid(0), uuid(2)}


def test_errors_can_be_stored_without_index(fake, client):
    fake.script(Errors({1: "insert to vector index: no"}, stored=True))
    client.write(*(an_object(n, values=(1, n)) for n in range(3)))
    assert len(fake.objects) == 3
    assert fake.unindexed == {("Article", "", uuid(1))}


def test_a_read_only_shard_may_lose_objects_that_look_written(fake, client):
    fake.script(Errors({0: "store is read-only"}, others_stored=False))
    assert client.write(an_object(1), an_object(2)) == {0: "store is read-only"}
    assert fake.objects == {}


def test_errors_chosen_by_object(fake, client):
    fake.script(ErrorsWhere(lambda message: "bad" if message.uuid == uuid(1) else None))
    assert client.write(an_object(0), an_object(1)) == {1: "bad"}
    assert {key[2] for key in fake.objects} == {uuid(0)}


def test_a_malformed_reply_comes_as_given(fake, client):
    fake.script(Malformed(b"\xff"))
    request = proto.BatchObjectsRequest(objects=[an_object(1)])
    assert client.call(proto.BATCH_OBJECTS, request) == b"\xff"
    assert len(fake.objects) == 1


def in_background(call, *arguments, **options):
    """Run a call in a thread; the function that it returns waits for its result or gives its error."""
    result = []

    def run():
        try:
            result.append(call(*arguments, **options))
        except grpc.RpcError as error:
            result.append(error.code().name)

    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(CLIENT_SECONDS)
        return result[0]

    return wait


def abandon(fake, client, message):
    """Send an object and give up once the fake lets it hang."""
    request = proto.BatchObjectsRequest(objects=[message]).SerializeToString()
    call = client.channel.unary_unary(proto.BATCH_OBJECTS).future(request, timeout=CLIENT_SECONDS)
    fake.wait_until(lambda: fake.hanging)
    assert call.cancel()


def wait_until_answered(fake, count=1):
    fake.wait_until(lambda: sum(request.end is not None for request in fake.requests) >= count)


def test_a_hanging_write_is_indexed_if_its_client_waits(fake, client):
    fake.script(StoreThenHang(3600))
    answer = in_background(client.write, an_object(1, values=(1,)))
    fake.wait_until(lambda: fake.hanging)
    assert fake.unindexed == set(fake.objects)
    fake.release()
    assert answer() == {}
    assert fake.unindexed == set()


def test_a_hanging_write_is_not_indexed_if_its_client_goes(fake, client):
    fake.script(StoreThenHang(3600))
    abandon(fake, client, an_object(1, values=(1,)))
    wait_until_answered(fake)
    assert fake.unindexed == set(fake.objects) == {("Article", "", uuid(1))}


def test_a_delayed_write_is_not_applied_if_its_client_goes(fake, client):
    fake.script(Delay(3600))
    abandon(fake, client, an_object(1))
    wait_until_answered(fake)
    assert fake.objects == {}


def test_a_late_write_lands_behind_a_newer_one(fake, client):
    fake.script(Delay(3600, late=True))
    abandon(fake, client, an_object(1, title="old"))
    client.write(an_object(1, title="new"))
    fake.release()
    wait_until_answered(fake, 2)
    assert fake.objects[("Article", "", uuid(1))] == an_object(1, title="old")


def test_a_delay_leads_to_its_action(fake, client):
    fake.script(Delay(0.01, Fail(grpc.StatusCode.ABORTED, "later")))
    assert refusal(client.write, an_object(1)) == ("ABORTED", "later")


def test_writes_from_many_threads_are_all_stored(fake, client):
    answers = [
        in_background(client.write, *(an_object(100 * t + n, values=(n,)) for n in range(50)))
        for t in range(20)
    ]
    assert [answer() for answer in answers] == [{}] * 20
    assert len(fake.objects) == len({key[2] for key in fake.objects}) == 1000
    assert len(fake.requests) == 20


def test_reset_makes_it_new(fake, client):
    client.write(an_object(1, values=(1,)))
    fake.script(Fail(grpc.StatusCode.INTERNAL))
    fake.reset()
    assert (fake.objects, fake.schemas, fake.requests, fake.deleted) == ({}, {}, [], [])
    assert client.write(an_object(1)) == {0: "class 'Article' not present in schema"}


def test_closing_ends_hanging_requests_and_leaves_no_thread():
    before = set(threading.enumerate())
    with FakeWeaviate() as fake:
        fake.create_collection({"class": "Article"})
        fake.script(StoreThenHang(3600))
        client = Client(fake)
        answer = in_background(client.write, an_object(1))
        fake.wait_until(lambda: fake.requests)
    assert answer() in ("CANCELLED", "UNAVAILABLE", {})
    client.channel.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("fake-weaviate")}


def test_tenants_are_created_by_one_call_and_woken_by_another(fake, client):
    fake.create_collection({"class": "Multi", "multiTenancyConfig": {"enabled": True}})
    path = "/v1/schema/Multi/tenants"
    assert client.rest("POST", path, [{"name": "a", "activityStatus": "INACTIVE"}]).status_code == 200
    assert client.rest("POST", path, [{"name": "a"}, {"name": "b"}]).status_code == 200
    assert fake.tenants["Multi"] == {"a": "COLD", "b": "HOT"}
    assert client.rest("PUT", path, [{"name": "a", "activityStatus": "ACTIVE"}]).status_code == 200
    assert fake.tenants["Multi"] == {"a": "HOT", "b": "HOT"}
    refused = client.rest("PUT", path, [{"name": "nobody", "activityStatus": "ACTIVE"}])
    assert refused.status_code == 422 and "shard not found: nobody" in refused.text
