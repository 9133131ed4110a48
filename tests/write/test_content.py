"""What is written is what the official client reads back, for every type, vector, tenant and kind of row."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import uuid
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import weaviate.util
from weaviate.classes.query import MetadataQuery, QueryReference
from weaviate.classes.tenants import Tenant

from weaviate_io import WeaviateConnection, WeaviateObject, WriteToWeaviate, generate_uuid5
from weaviate_io.testing import FaultProxy

UTC = datetime.timezone.utc
SCALARS = ("text", "int", "number", "boolean", "date", "uuid")
ONE_UUID, OTHER_UUID = uuid.UUID(int=1 << 100), uuid.UUID(int=2 << 100)
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
PLACE = {"latitude": 52.5, "longitude": 13.375}
NESTED = [{"name": "name", "dataType": ["text"]}, {"name": "size", "dataType": ["int"]}]
PROPERTIES = [
    *({"name": f"{kind}_one", "dataType": [kind]} for kind in SCALARS),
    *({"name": f"{kind}_many", "dataType": [f"{kind}[]"]} for kind in SCALARS),
    {"name": "place", "dataType": ["geoCoordinates"]},
    {"name": "phone", "dataType": ["phoneNumber"]},
    {"name": "image", "dataType": ["blob"]},
    {"name": "maker", "dataType": ["object"], "nestedProperties": NESTED},
    {"name": "parts", "dataType": ["object[]"], "nestedProperties": NESTED},
]
FULL = {
    "text_one": "Grüße, \x00 世界 🎉",
    "int_one": 2**53,
    "number_one": 0.1,
    "boolean_one": False,
    "date_one": MOMENT,
    "uuid_one": ONE_UUID,
    "text_many": ["", "b"],
    "int_many": [-(2**53), 0],
    "number_many": [1e300, -5e-324],
    "boolean_many": [True, False],
    "date_many": [MOMENT, MOMENT.replace(year=4)],
    "uuid_many": [ONE_UUID, OTHER_UUID],
    "place": PLACE,
    "phone": {"input": "020 1234567", "defaultCountry": "nl"},
    "image": b"\x00\xff raw",
    "maker": {"name": "Ada", "size": 3},
    "parts": [{"name": "one", "size": 1}, {"name": "two", "size": None}],
}


@pytest.fixture
def at(server: Any) -> dict[str, str]:
    """Where the server is, as keywords."""
    return {"url": server.url, "grpc_url": server.grpc_url}


def test_every_property_type_reads_back_equal(write, at, witness, new_name):
    name = new_name()
    schema = {"class": name, "properties": PROPERTIES}
    nothing = dict.fromkeys(FULL)
    empty = {f"{kind}_many": [] for kind in SCALARS}
    given = [
        WeaviateObject(values, uuid=uuid.UUID(int=i), vector=[1.0])
        for i, values in enumerate((FULL, nothing, empty), 1)
    ]
    done = write(given, WriteToWeaviate(name, schema=schema, **at))
    assert not done.failed
    collection = witness.collections.get(name)
    wanted = [p["name"] for p in PROPERTIES]
    full, none, lists = (
        collection.query.fetch_object_by_id(uuid.UUID(int=i), return_properties=wanted).properties
        for i in (1, 2, 3)
    )
    plain = {k: v for k, v in FULL.items() if k not in ("place", "phone", "image", "maker", "parts")}
    assert {k: full[k] for k in plain} == plain
    assert (full["place"].latitude, full["place"].longitude) == (52.5, 13.375)
    assert full["phone"].international_formatted == "+31 20 123 4567"
    assert base64.b64decode(full["image"]) == FULL["image"]
    assert full["maker"] == FULL["maker"]
    assert [{"size": None, **part} for part in full["parts"]] == FULL["parts"]
    assert {k: v for k, v in none.items() if v is not None} == {}
    assert {k: v for k, v in lists.items() if v is not None} == empty


def vectors_of(name: str, witness: Any, *, tenant: str | None = None) -> dict[str, Any]:
    collection = witness.collections.get(name)
    if tenant:
        collection = collection.with_tenant(tenant)
    return {str(o.uuid): o.vector for o in collection.iterator(include_vector=True)}


@pytest.mark.parametrize("kind", ["list", "numpy", "bytes", "float64"])
def test_vectors_are_stored_and_found(write, at, witness, new_name, kind):
    name = new_name()
    exact = np.random.default_rng(7).standard_normal((50, 8)).astype(np.float32)
    form = {
        "list": lambda v: v.tolist(),
        "numpy": lambda v: v,
        "bytes": lambda v: v.tobytes(),
        "float64": lambda v: v.astype(np.float64),
    }[kind]
    rows = [{"number": i, "embedding": form(v)} for i, v in enumerate(exact)]
    schema = {"class": name, "properties": [{"name": "number", "dataType": ["int"]}]}
    transform = WriteToWeaviate(name, schema=schema, id_field="number", vector_field="embedding", **at)
    assert not write(rows, transform).failed
    collection = witness.collections.get(name)
    stored = vectors_of(name, witness)
    for i, vector in enumerate(exact):
        assert stored[generate_uuid5(i)]["default"] == vector.tolist()
        found = collection.query.near_vector(
            vector.tolist(), limit=1, return_metadata=MetadataQuery(distance=True)
        )
        assert found.objects[0].properties["number"] == i
        assert found.objects[0].metadata.distance == pytest.approx(0, abs=1e-5)


def test_named_vectors_and_multi_vectors(write, at, witness, new_name):
    name = new_name()
    none = {"vectorizer": {"none": {}}}
    colbert = {**none, "vectorIndexType": "hnsw", "vectorIndexConfig": {"multivector": {"enabled": True}}}
    schema = {"class": name, "vectorConfig": {"title": none, "body": none, "tokens": colbert}}
    rows = [
        {"key": "all", "t": [1.0, 0.0], "b": [0.0, 1.0, 0.0], "k": np.eye(3, 2, dtype=np.float32)},
        {"key": "title", "t": [0.0, 1.0], "b": None, "k": None},
    ]
    fields = {"title": "t", "body": "b", "tokens": "k"}
    done = write(rows, WriteToWeaviate(name, schema=schema, id_field="key", vector_field=fields, **at))
    assert not done.failed
    collection = witness.collections.get(name)
    stored = vectors_of(name, witness)
    assert stored[generate_uuid5("all")] == {
        "title": [1.0, 0.0],
        "body": [0.0, 1.0, 0.0],
        "tokens": [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]],
    }
    assert stored[generate_uuid5("title")] == {"title": [0.0, 1.0]}
    found = collection.query.near_vector([0.0, 1.0], target_vector="title", limit=1)
    assert str(found.objects[0].uuid) == generate_uuid5("title")
    found = collection.query.near_vector([[1.0, 0.0]], target_vector="tokens", limit=1)
    assert str(found.objects[0].uuid) == generate_uuid5("all")


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_tenants_by_field(write, at, witness, new_name, batching):
    name = new_name()
    schema = {
        "class": name,
        "properties": [{"name": "number", "dataType": ["int"]}],
        "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True},
    }
    rows = [{"number": i, "who": f"tenant-{i % 3}", "v": [float(i), 1.0]} for i in range(9)]
    transform = WriteToWeaviate(
        name, schema=schema, id_field="number", tenant_field="who", vector_field="v", batching=batching, **at
    )
    done = write([*rows, {"number": 9, "who": "no tenant!", "v": [0.0, 1.0]}], transform)
    assert [(one.reason, one.tenant) for one in done.failed] == [("invalid_tenant", "no tenant!")]
    assert {one.tenant for one in done.written} == {"tenant-0", "tenant-1", "tenant-2"}
    for tenant in range(3):
        of_tenant = witness.collections.get(name).with_tenant(f"tenant-{tenant}")
        assert {o.properties["number"] for o in of_tenant.iterator()} == set(range(tenant, 9, 3))
        assert vectors_of(name, witness, tenant=f"tenant-{tenant}") == {
            generate_uuid5(i): {"default": [float(i), 1.0]} for i in range(tenant, 9, 3)
        }


def test_a_tenant_that_does_not_exist_fails_alone(write, at, witness, new_name):
    name = new_name()
    properties = [{"name": "number", "dataType": ["int"]}]
    witness.collections.create_from_dict(
        {"class": name, "properties": properties, "multiTenancyConfig": {"enabled": True}}
    )
    witness.collections.get(name).tenants.create([Tenant(name="known")])
    rows = [{"number": i, "who": who} for i, who in enumerate(["known", "unknown", "known"])]
    done = write(rows, WriteToWeaviate(name, tenant_field="who", **at))
    assert [(one.reason, one.tenant) for one in done.failed] == [("tenant_not_found", "unknown")]
    assert len(done.written) == 2


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_many_collections_chosen_by_a_function(write, at, witness, new_name, batching):
    names = [new_name() for _ in range(4)]
    schema = {"properties": [{"name": "number", "dataType": ["int"]}]}
    transform = WriteToWeaviate(
        lambda row: names[row["number"] % 4], schema=lambda name: schema, batching=batching, **at
    )
    done = write([{"number": i} for i in range(40)], transform)
    assert len(done.written) == 40 and not done.failed
    for place, name in enumerate(names):
        numbers = {o.properties["number"] for o in witness.collections.get(name).iterator()}
        assert numbers == set(range(place, 40, 4))
        assert sum(one.collection == name for one in done.written) == 10


def test_references_are_written_with_their_objects(write, at, witness, new_name):
    author, place, article = new_name(), new_name(), new_name()
    schema = {
        "class": article,
        "properties": [
            {"name": "author", "dataType": [author]},
            {"name": "about", "dataType": [author, place]},
        ],
    }
    for name in (author, place):
        schema_of = {"class": name, "properties": [{"name": "name", "dataType": ["text"]}]}
        given = [WeaviateObject({"name": "x"}, uuid=ONE_UUID), WeaviateObject({"name": "y"}, uuid=OTHER_UUID)]
        assert not write(given, WriteToWeaviate(name, schema=schema_of, **at)).failed
    references = {"author": [ONE_UUID, str(OTHER_UUID)], "about": {place: ONE_UUID, author: [OTHER_UUID]}}
    missing = {"author": str(uuid.UUID(int=77))}
    given = [
        WeaviateObject({}, uuid=ONE_UUID, references=references),
        WeaviateObject({}, uuid=OTHER_UUID, references=missing),
    ]
    done = write(given, WriteToWeaviate(article, schema=schema, **at))
    assert [(one.uuid, one.reason) for one in done.failed] == [(str(OTHER_UUID), "invalid_reference")]
    stored = witness.collections.get(article).query.fetch_object_by_id(
        ONE_UUID,
        return_references=[
            QueryReference(link_on="author"),
            QueryReference.MultiTarget(link_on="about", target_collection=author),
            QueryReference.MultiTarget(link_on="about", target_collection=place),
        ],
    )
    assert {o.uuid for o in stored.references["author"].objects} == {ONE_UUID, OTHER_UUID}
    assert {o.uuid for o in stored.references["about"].objects} == {ONE_UUID, OTHER_UUID}


class Tuple(NamedTuple):
    number: int
    title: str
    embedding: Any


@dataclasses.dataclass(frozen=True)
class Data:
    number: int
    title: str
    embedding: Any


def one_of_each_kind() -> list[Any]:
    """The same kind of article as each type of element, numbered."""
    columns = {"number": [5, 6], "title": ["t5", "t6"], "embedding": [[5.0, 1.0], [6.0, 1.0]]}
    fixed = pa.array([[7.0, 1.0], [8.0, 1.0]], pa.list_(pa.float32(), 2))
    return [
        {"number": 0, "title": "t0", "embedding": [0.0, 1.0]},
        beam.Row(number=1, title="t1", embedding=np.array([1.0, 1.0])),
        Tuple(2, "t2", (2.0, 1.0)),
        Data(3, "t3", np.array([3.0, 1.0], np.float32).tobytes()),
        WeaviateObject({"number": 4, "title": "t4"}, uuid=generate_uuid5(4), vector=[4.0, 1.0]),
        pa.table(columns),
        pa.RecordBatch.from_arrays(
            [pa.array([7, 8]), pa.array(["t7", "t8"]).dictionary_encode(), fixed],
            ["number", "title", "embedding"],
        ),
    ]


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
def test_elements_of_every_kind_in_one_pcollection(write, at, runner, witness, new_name, batching):
    name = new_name()
    properties = [{"name": "number", "dataType": ["int"]}, {"name": "title", "dataType": ["text"]}]
    transform = WriteToWeaviate(
        name,
        schema={"class": name, "properties": properties},
        id_field="number",
        vector_field="embedding",
        batching=batching,
        **at,
    )
    done = write(one_of_each_kind(), transform, runner)
    assert not done.failed
    stored = {str(o.uuid): (o.properties, o.vector) for o in witness.collections.get(name).iterator(True)}
    assert stored == {
        generate_uuid5(i): ({"number": i, "title": f"t{i}"}, {"default": [float(i), 1.0]}) for i in range(9)
    }


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
@pytest.mark.parametrize("id_field", ["number", None])
def test_running_twice_leaves_the_same_objects(write, at, witness, new_name, batching, id_field):
    name = new_name()
    properties = [{"name": "number", "dataType": ["int"]}, {"name": "title", "dataType": ["text"]}]
    transform = WriteToWeaviate(
        name,
        schema={"class": name, "properties": properties},
        id_field=id_field,
        vector_field="embedding",
        batching=batching,
        **at,
    )

    def objects() -> dict[str, Any]:
        return {str(o.uuid): (o.properties, o.vector) for o in witness.collections.get(name).iterator(True)}

    first = write(one_of_each_kind()[:4], transform)
    once = objects()
    second = write(one_of_each_kind()[:4], transform)
    assert len(once) == 4
    assert objects() == once
    assert sorted(first.written) == sorted(second.written)
    assert (
        witness.collections.get(name).query.near_vector([3.0, 1.0], limit=10).objects[0].properties["number"]
        == 3
    )


def test_an_id_of_several_fields_is_one_that_anybody_can_make(write, at, witness, new_name):
    name = new_name()
    properties = [{"name": "country", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}]
    rows = [{"country": country, "number": i} for country in ("DE", "AT") for i in range(3)]
    transform = WriteToWeaviate(
        name, schema={"class": name, "properties": properties}, id_field=["country", "number"], **at
    )
    write(rows, transform)
    write(pa.table({"country": ["DE"], "number": pa.array([2], pa.int8())}).to_batches(), transform)
    stored = {str(o.uuid): o.properties for o in witness.collections.get(name).iterator()}
    assert stored == {
        weaviate.util.generate_uuid5(json.dumps([row["country"], str(row["number"])])): row for row in rows
    }


def test_compression_sends_less_and_stores_the_same(write, server, witness, new_name):
    rows = [{"title": "Call me Ishmael. " * 50 + str(i)} for i in range(500)]
    sent, stored = {}, {}
    for compression in (None, "gzip"):
        name = new_name()
        schema = {"class": name, "properties": [{"name": "title", "dataType": ["text"]}]}
        with FaultProxy(server.grpc_url) as proxy:
            connection = WeaviateConnection(server.url, grpc_url=proxy.address, compression=compression)
            assert len(write(rows, WriteToWeaviate(name, connection=connection, schema=schema)).written) == 500
            sent[compression] = proxy.bytes_up
        stored[compression] = sorted(o.properties["title"] for o in witness.collections.get(name).iterator())
    assert sent["gzip"] < sent[None] / 5
    assert stored["gzip"] == stored[None] == sorted(row["title"] for row in rows)


def test_rows_that_become_one_object_are_counted(write, at, witness, new_name):
    name = new_name()
    properties = [{"name": "key", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}]
    rows = [{"key": f"key {i % 10}", "number": i} for i in range(25)]
    transform = WriteToWeaviate(name, schema={"class": name, "properties": properties}, id_field="key", **at)
    done = write(rows, transform)
    assert done.counters["duplicates"] == 15
    assert done.counters["written"] == len(done.written) == 25
    stored = {o.properties["key"]: o.properties["number"] for o in witness.collections.get(name).iterator()}
    assert stored == {row["key"]: row["number"] for row in rows}  # the last one of each


def test_a_table_of_all_types_with_nulls_named_vectors_and_a_tenant(write, at, witness, new_name):
    name, count = new_name(), 700
    kinds = ["text", "int", "number", "boolean", "date", "uuid", "text[]", "int[]", "number[]", "boolean[]"]
    schema = {
        "class": name,
        "properties": [{"name": kind.replace("[]", "s"), "dataType": [kind]} for kind in kinds],
        "multiTenancyConfig": {"enabled": True},
        "vectorConfig": {
            vector: {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"} for vector in ("title", "body")
        },
    }
    moment = datetime.datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows = [
        {
            "key": n,
            "tenant": f"t{n % 2}",
            "text": None if n % 7 == 0 else f"text {n}",
            "int": None if n % 5 == 0 else n,
            "number": None if n % 3 == 0 else n / 4,
            "boolean": None if n % 11 == 0 else n % 2 == 0,
            "date": None if n % 13 == 0 else moment + datetime.timedelta(seconds=n),
            "uuid": str(uuid.UUID(int=n)),
            "texts": [f"a{n}", "b"],
            "ints": [n],
            "numbers": [n / 2, 0.25],
            "booleans": [True, False],
            "title_vector": [float(n), 1.0],
            "body_vector": None if n % 17 == 0 else [0.5, float(n), -1.0],
        }
        for n in range(count)
    ]
    table = pa.Table.from_pylist(rows)
    fixed = pa.array(table["title_vector"].to_pylist(), pa.list_(pa.float32(), 2))
    table = table.set_column(table.column_names.index("title_vector"), "title_vector", fixed)
    transform = WriteToWeaviate(
        name,
        schema=schema,
        id_field="key",
        tenant_field="tenant",
        create_tenants=True,
        vector_field={"title": "title_vector", "body": "body_vector"},
        **at,
    )
    done = write([table], transform)
    assert not done.failed and len(done.written) == count
    stored = {}
    for tenant in ("t0", "t1"):
        for one in witness.collections.get(name).with_tenant(tenant).iterator(include_vector=True):
            stored[str(one.uuid)] = (tenant, one.properties, one.vector)
    for row in rows:
        tenant, properties, vectors = stored.pop(generate_uuid5(row["key"]))
        given = {kind: row[kind.replace("[]", "s")] for kind in kinds}
        found = {kind: properties[kind.replace("[]", "s")] for kind in kinds}
        assert tenant == row["tenant"] and found == {**given, "uuid": uuid.UUID(row["uuid"])}
        expected = {"title": row["title_vector"], "body": row["body_vector"]}
        assert vectors == {name: vector for name, vector in expected.items() if vector is not None}
    assert not stored
