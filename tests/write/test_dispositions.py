"""Collections that are absent, full or empty before a write: created, refused, emptied, made as they were."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
import requests

from tests.write.running import TWO_PROCESSES
from weaviate_io import CreateDisposition, WeaviateConnection, WeaviateObject, WriteDisposition, WriteToWeaviate
from weaviate_io.client import Client
from weaviate_io.creation import create
from weaviate_io.emptying import look, require_empty, truncate
from weaviate_io.errors import WeaviateError

NUMBER = {"name": "number", "dataType": ["int"]}
ROWS = [{"number": i} for i in range(20)]
NONE = {"vectorizer": {"none": {}}}
COLLECTIONS = {
    "legacy": {
        "description": "Of no importance",
        "properties": [NUMBER, {"name": "title", "dataType": ["text"], "tokenization": "field"}],
        "vectorizer": "none",
        "vectorIndexConfig": {"distance": "dot", "efConstruction": 77},
        "invertedIndexConfig": {"indexNullState": True},
    },
    "named": {
        "properties": [NUMBER, {"name": "part", "dataType": ["object"], "nestedProperties": [NUMBER]}],
        "vectorConfig": {
            "title": {**NONE, "vectorIndexType": "flat", "vectorIndexConfig": {"distance": "l2-squared"}},
            "tokens": {
                **NONE,
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"multivector": {"enabled": True}},
            },
        },
    },
    "multi-tenant": {
        "properties": [NUMBER],
        "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True},
    },
}


@pytest.fixture
def at(server: Any) -> dict[str, str]:
    return {"url": server.url, "grpc_url": server.grpc_url}


@pytest.fixture
def client(at: Any) -> Iterator[Client]:
    opened = Client(WeaviateConnection(**at))
    yield opened
    opened.close()


def numbers(witness: Any, name: str, tenant: str | None = None) -> list[int]:
    collection = witness.collections.get(name)
    found = (collection.with_tenant(tenant) if tenant else collection).iterator()
    return sorted(o.properties["number"] for o in found)


def schema_of(name: str) -> dict[str, Any]:
    return {"class": name, "properties": [NUMBER]}


@pytest.mark.parametrize("source", ["mapping", "path", "text path"])
def test_an_absent_collection_is_created_from_its_schema(write, at, witness, new_name, tmp_path, source):
    name = new_name()
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema_of(name)))
    schema = {"mapping": schema_of(name), "path": path, "text path": str(path)}[source]
    done = write(ROWS, WriteToWeaviate(name, schema=schema, **at))
    assert numbers(witness, name) == list(range(20)) and not done.failed


def test_a_schema_without_a_name_takes_that_of_the_write(write, at, witness, new_name):
    name = new_name()
    write(ROWS, WriteToWeaviate(name[0].lower() + name[1:], schema={"properties": [NUMBER]}, **at))
    assert numbers(witness, name) == list(range(20))


def test_a_function_gives_the_schemas_of_several_collections(write, at, witness, new_name):
    names = [new_name(), new_name()]
    write(ROWS, WriteToWeaviate(lambda row: names[row["number"] % 2], schema=schema_of, **at))
    assert [numbers(witness, name) for name in names] == [list(range(0, 20, 2)), list(range(1, 20, 2))]


def test_what_exists_is_not_made_anew(write, at, witness, new_name):
    name = new_name()
    write(ROWS, WriteToWeaviate(name, schema=schema_of(name), **at))
    write([{"number": 99}], WriteToWeaviate(name, schema={**schema_of(name), "description": "other"}, **at))
    assert numbers(witness, name) == [*range(20), 99]
    assert witness.collections.get(name).config.get().description is None


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_a_named_collection_that_is_missing_fails_the_job(write, at, new_name, batching):
    name = new_name()
    with pytest.raises(
        Exception, match=f"collection {name} does not exist; create it, give schema= to"
    ) as caught:
        write(ROWS, WriteToWeaviate(name, batching=batching, **at))
    assert "WeaviateError" in type(caught.value).__name__ + str(caught.value)


def test_create_never_does_not_create(write, at, witness, new_name):
    name = new_name()
    with pytest.raises(
        Exception, match=f"collection {name} does not exist, and create_disposition is CREATE_NEVER"
    ):
        write(ROWS, WriteToWeaviate(name, schema=schema_of(name), create_disposition="CREATE_NEVER", **at))
    assert not witness.collections.exists(name)


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_a_missing_collection_chosen_by_a_function_costs_its_rows_only(write, at, witness, new_name, batching):
    known, unknown = new_name(), new_name()
    witness.collections.create_from_dict(schema_of(known))
    transform = WriteToWeaviate(
        lambda row: unknown if row["number"] % 5 == 0 else known, batching=batching, **at
    )
    done = write(ROWS, transform)
    assert [(one.reason, one.collection) for one in done.failed] == [("collection_not_found", unknown)] * 4
    assert sorted(one.row["number"] for one in done.failed) == [0, 5, 10, 15]
    assert numbers(witness, known) == [i for i in range(20) if i % 5]


def test_a_refused_schema_fails_the_job_in_the_words_of_the_server(write, at, new_name):
    name = new_name()
    schema = {"class": name, "properties": [{"name": "number", "dataType": ["integer"]}]}
    with pytest.raises(Exception, match=f"collection {name} cannot be created: .*integer"):
        write(ROWS, WriteToWeaviate(name, schema=schema, **at))


def test_two_processes_may_create_at_once(write, at, witness, new_name):
    name = new_name()
    done = write(ROWS, WriteToWeaviate(name, schema=schema_of(name), **at), TWO_PROCESSES, bundles=8)
    assert numbers(witness, name) == list(range(20)) and not done.failed


def test_many_clients_may_create_at_once(at, witness, new_name):
    name = new_name()
    clients = [Client(WeaviateConnection(**at)) for _ in range(6)]
    together = threading.Barrier(len(clients))
    errors = []

    def create_together(opened: Client) -> None:
        together.wait()
        try:
            create(opened, schema_of(name))
            assert opened.schema(name) is not None
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=create_together, args=(opened,)) for opened in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for opened in clients:
        opened.close()
    assert errors == []
    assert witness.collections.exists(name)


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_auto_schema_creates_collections_and_properties(write, at, witness, new_name, batching):
    name = new_name()
    done = write(ROWS, WriteToWeaviate(name, auto_schema=True, batching=batching, **at))
    assert numbers(witness, name) == list(range(20)) and not done.failed
    write([{"number": 20, "title": "new"}], WriteToWeaviate(name, auto_schema=True, batching=batching, **at))
    assert {p.name for p in witness.collections.get(name).config.get().properties} == {"number", "title"}


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_truncate_leaves_only_what_it_wrote_each_time(write, at, witness, new_name, batching):
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS["legacy"], "class": name})
    transform = WriteToWeaviate(name, write_disposition="WRITE_TRUNCATE", batching=batching, **at)
    write(ROWS, WriteToWeaviate(name, **at))
    for first in (100, 200):
        done = write([{"number": first + i} for i in range(5)], transform)
        assert len(done.written) == 5
        assert numbers(witness, name) == [first + i for i in range(5)]
    described = witness.collections.get(name).config.get().description
    assert described.startswith("Of no importance [emptied") and described.count("emptied") == 1


def test_two_truncating_writes_of_one_pipeline_empty_once(write, at, witness, new_name):
    name = new_name()
    write(ROWS, WriteToWeaviate(name, schema=schema_of(name), **at))

    def second(result: Any) -> None:
        # After the first write, so that emptying again would show.
        rows = (
            result.written | beam.combiners.Count.Globally() | beam.Map(lambda count: {"number": 1000 + count})
        )
        rows | "Second" >> WriteToWeaviate(name, write_disposition="WRITE_TRUNCATE", **at)

    transform = WriteToWeaviate(name, write_disposition=WriteDisposition.WRITE_TRUNCATE, **at)
    write([{"number": 50}, {"number": 51}], transform, also=second)
    assert numbers(witness, name) == [50, 51, 1002]


def test_truncate_of_a_missing_collection_creates_it(write, at, witness, new_name):
    name = new_name()
    transform = WriteToWeaviate(name, schema=schema_of(name), write_disposition="WRITE_TRUNCATE", **at)
    write(ROWS, transform)
    assert numbers(witness, name) == list(range(20))


def test_truncate_of_a_missing_collection_without_schema_fails_the_job(write, at, new_name):
    name = new_name()
    with pytest.raises(Exception, match=f"collection {name} does not exist; create it"):
        write(ROWS, WriteToWeaviate(name, write_disposition="WRITE_TRUNCATE", **at))


def test_truncate_with_a_schema_makes_the_collection_by_it(write, at, witness, new_name):
    name = new_name()
    write(ROWS, WriteToWeaviate(name, schema=schema_of(name), **at))
    schema = {"class": name, "properties": [NUMBER, {"name": "more", "dataType": ["text"]}]}
    transform = WriteToWeaviate(name, schema=schema, write_disposition="WRITE_TRUNCATE", **at)
    write([{"number": 1, "more": "x"}], transform)
    assert numbers(witness, name) == [1]
    assert {p.name for p in witness.collections.get(name).config.get().properties} == {"number", "more"}


def described(server: Any, name: str) -> dict[str, Any]:
    return requests.get(f"{server.url}/v1/schema/{name}", timeout=60).json()


def tenants_of(server: Any, name: str) -> dict[str, str]:
    found = requests.get(f"{server.url}/v1/schema/{name}/tenants", timeout=60).json()
    return {tenant["name"]: tenant["activityStatus"] for tenant in found}


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_truncate_makes_a_collection_as_it_was(server, client, witness, new_name, kind):
    """What GET gives can be posted back: nothing but the description differs afterwards."""
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS[kind], "class": name})
    tenants = [{"name": "warm", "activityStatus": "ACTIVE"}, {"name": "cold", "activityStatus": "INACTIVE"}]
    if kind == "multi-tenant":
        client.rest("POST", f"/v1/schema/{name}/tenants", json=tenants)
    was, before = described(server, name), look(client, name)
    truncate(client, name, before, None, "first")
    now = described(server, name)
    assert now.pop("description").endswith("[emptied by weaviate-io run first]")
    was.pop("description", None)
    for sharding in (was.get("shardingConfig"), now.get("shardingConfig")):
        assert sharding is None or sharding.pop("actualCount") == sharding.get("desiredCount")
    assert now == was
    if kind == "multi-tenant":
        assert tenants_of(server, name) == {"warm": "HOT", "cold": "COLD"}


@pytest.mark.parametrize("kind", ["legacy", "multi-tenant"])
def test_a_late_second_try_deletes_nothing(write, at, client, witness, new_name, kind):
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS[kind], "class": name})
    before = look(client, name)
    truncate(client, name, before, None, "this")
    tenant = "someone" if kind == "multi-tenant" else None
    write(ROWS, WriteToWeaviate(name, tenant=tenant, **at))
    truncate(client, name, before, None, "this")
    assert numbers(witness, name, tenant) == list(range(20))
    truncate(client, name, look(client, name), None, "another")
    assert numbers(witness, name, tenant) == []


def test_a_second_try_finishes_what_the_first_began(server, client, witness, new_name):
    """The first try may end after dropping the collection, or after making it, before its tenants."""
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS["multi-tenant"], "class": name})
    client.rest("POST", f"/v1/schema/{name}/tenants", json=[{"name": "a"}, {"name": "b"}])
    before = look(client, name)
    client.rest("DELETE", f"/v1/schema/{name}")
    truncate(client, name, before, None, "this")
    assert tenants_of(server, name) == {"a": "HOT", "b": "HOT"}
    client.rest("DELETE", f"/v1/schema/{name}/tenants", json=["a"])
    truncate(client, name, before, None, "this")
    assert tenants_of(server, name) == {"a": "HOT", "b": "HOT"}


def test_truncate_in_a_pipeline_keeps_tenants(write, at, server, witness, new_name):
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS["multi-tenant"], "class": name})
    write(ROWS, WriteToWeaviate(name, tenant="old", **at))
    done = write([{"number": 7}], WriteToWeaviate(name, tenant="new", write_disposition="WRITE_TRUNCATE", **at))
    assert not done.failed
    assert numbers(witness, name, "old") == []
    assert numbers(witness, name, "new") == [7]


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_write_empty_passes_or_fails(write, at, witness, new_name, kind):
    name = new_name()
    witness.collections.create_from_dict({**COLLECTIONS[kind], "class": name})
    tenant = "someone" if kind == "multi-tenant" else None
    transform = WriteToWeaviate(name, tenant=tenant, write_disposition="WRITE_EMPTY", **at)
    write(ROWS, transform)
    assert numbers(witness, name, tenant) == list(range(20))
    where = r" \(tenant someone\)" if tenant else ""
    with pytest.raises(
        Exception, match=f"collection {name}{where} is not empty, and write_disposition is WRITE_EMPTY"
    ):
        write([{"number": 99}], transform)
    assert numbers(witness, name, tenant) == list(range(20))


def test_write_empty_takes_a_collection_that_is_missing(write, at, witness, new_name, client):
    name = new_name()
    require_empty(client, name, look(client, name))
    transform = WriteToWeaviate(
        name,
        schema=schema_of(name),
        create_disposition=CreateDisposition.CREATE_IF_NEEDED,
        write_disposition=WriteDisposition.WRITE_EMPTY,
        **at,
    )
    write(ROWS, transform)
    assert numbers(witness, name) == list(range(20))


@pytest.mark.parametrize("disposition", ["WRITE_TRUNCATE", "WRITE_EMPTY"])
def test_a_dry_run_touches_nothing(write, at, witness, new_name, disposition):
    name, absent = new_name(), new_name()
    write([WeaviateObject({"number": 1})], WriteToWeaviate(name, schema=schema_of(name), **at))
    done = write(ROWS, WriteToWeaviate(name, write_disposition=disposition, dry_run=True, **at))
    assert len(done.written) == 20
    assert numbers(witness, name) == [1]
    done = write([*ROWS, {"bad": 1}], WriteToWeaviate(absent, schema=schema_of(absent), dry_run=True, **at))
    assert len(done.written) == 20
    assert [one.reason for one in done.failed] == ["unknown_property"]
    assert not witness.collections.exists(absent)


def test_a_schema_function_that_gives_no_schema_fails_the_job(write, at, new_name):
    name = new_name()
    with pytest.raises(Exception, match="schema= gave no mapping for collection"):
        write(ROWS, WriteToWeaviate(name, schema=lambda _: ["not", "one"], **at))


def test_no_connection_fails_in_one_line(write, server):
    with pytest.raises(
        Exception, match=r"no Weaviate at http://127.0.0.1:1 \(gRPC at 127.0.0.1:50051\): nothing listens there"
    ) as caught:
        write(ROWS, WriteToWeaviate("Article", url="http://127.0.0.1:1"))
    assert WeaviateError.__name__ in type(caught.value).__name__ + str(caught.value)
