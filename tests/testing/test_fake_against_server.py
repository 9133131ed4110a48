"""The fake answers the same requests in the same words as a real server."""

from __future__ import annotations

import re
import struct

import grpc
import pytest
import requests

from weaviate_io import proto
from weaviate_io.testing import FakeWeaviate, WeaviateServer

pytestmark = pytest.mark.server

PROPERTIES = [{"name": "title", "dataType": ["text"]}, {"name": "count", "dataType": ["int"]}]
PROPERTIES += [{"name": "price", "dataType": ["number"]}, {"name": "sold", "dataType": ["boolean"]}]
COLLECTIONS = [
    {"class": "Plain", "properties": PROPERTIES},
    {"class": "Named", "vectorConfig": {name: {"vectorizer": {"none": {}}} for name in "ab"}},
    {"class": "One", "vectorConfig": {"a": {"vectorizer": {"none": {}}}}},
    {"class": "Multi", "multiTenancyConfig": {"enabled": True}},
    {"class": "Auto", "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}},
    {
        "class": "Linked",
        "properties": [
            {"name": "title", "dataType": ["text"]},
            {"name": "to", "dataType": ["Plain"]},
            {"name": "once", "dataType": ["Plain"], "disableDuplicatedReferences": True},
            {"name": "toMany", "dataType": ["Plain", "Named"]},
            {"name": "toMulti", "dataType": ["Multi"]},
        ],
    },
    {
        "class": "LinkedMulti",
        "multiTenancyConfig": {"enabled": True},
        "properties": [{"name": "to", "dataType": ["Plain"]}, {"name": "toMulti", "dataType": ["Multi"]}],
    },
]


def an_object(number, collection="Plain", tenant="", values=(), named=(), **properties):
    given = number if isinstance(number, str) else f"00000000-0000-4000-8000-{number:012x}"
    message = proto.BatchObject(uuid=given, collection=collection, tenant=tenant)
    message.vector_bytes = struct.pack(f"<{len(values)}f", *values)
    for name, floats in named:
        message.vectors.add(name=name, vector_bytes=struct.pack(f"<{len(floats)}f", *floats), type=1)
    message.properties.non_ref_properties.update(properties)
    return message


def a_reference(number, to, name="to", into=None, collection="Linked", tenant=""):
    given = [one if isinstance(one, str) else an_object(one).uuid for one in (number, to)]
    message = proto.BatchReference(
        name=name, from_collection=collection, from_uuid=given[0], to_uuid=given[1], tenant=tenant
    )
    if into is not None:
        message.to_collection = into
    return message


def linked(number):
    """An object that is written with references of both forms."""
    message = an_object(number, "Linked")
    message.properties.single_target_ref_props.add(prop_name="to", uuids=[an_object(1).uuid])
    message.properties.multi_target_ref_props.add(
        prop_name="toMany", target_collection="Named", uuids=[an_object(1).uuid]
    )
    return message


WRITES = {
    "good": [an_object(1, values=(1, 2), title="x", count=1), an_object(2, collection="plain", Title="y")],
    "uuids": [
        *(an_object(bad) for bad in ("", "zz", "0" * 36, "0" * 37 + "-", "x" * 45, "g" * 32)),
        an_object("{00000000-0000-4000-8000-0000000000AA}"),
        an_object("00000000000040008000" + "0" * 10 + "AB"),
    ],
    "no collection": [an_object(3), an_object(4, collection="")],
    "missing collection": [an_object(3, collection="Nope"), an_object(4, collection="b-d")],
    "properties": [
        an_object(5, bogus=1),
        an_object(6, title=3),
        an_object(7, count=1.5),
        an_object(8, count="one"),
        an_object(9, price="cheap"),
        an_object(10, sold="yes"),
        an_object(11, title=None, bogus=None),
        an_object(12, title=True),
    ],
    "vector of a wrong name": [
        an_object(13, named=[("a", (1, 2))]),
        an_object(14, named=[("default", (1, 2))]),
    ],
    "vector of a wrong length": [an_object(15, values=(1, 2, 3)), an_object(16, values=(3, 4))],
    "named": [
        an_object(1, "Named", named=[("a", (1, 2)), ("b", (3,))]),
        an_object(2, "Named", values=(1,)),
        an_object(3, "Named", named=[("c", (1,))]),
        an_object(4, "Named", named=[("b", (5,))]),
    ],
    "named of a wrong length": [an_object(5, "Named", named=[("a", (1, 2, 3))])],
    "unnamed for the only name": [an_object(1, "One", values=(1, 2))],
    "tenants": [an_object(n, "Multi", tenant) for n, tenant in enumerate(["warm", "cold", "none", ""])],
    "tenant of a plain collection": [an_object(17, tenant="warm")],
    "new tenants": [an_object(1, "Auto", "t1"), an_object(2, "Auto", "t2")],
    "empty tenant": [an_object(1, "Auto", "t3"), an_object(2, "Auto", "")],
    "bad tenant": [an_object(1, "Auto", "t3"), an_object(2, "Auto", "b d")],
    "duplicates": [an_object(18, title="first"), an_object(18, title="last")],
    "nothing": [],
    "linked": [an_object(1, "Linked", title="x"), an_object(2, "Linked"), linked(3), linked(4)],
    "linked of a tenant": [an_object(0, "LinkedMulti", "warm")],
}

REFERENCES = {
    "good": [a_reference(1, 1), a_reference(1, 2, into="Plain"), a_reference(1, 99, into="Plain")],
    "again": [a_reference(1, 1), a_reference(1, 1), a_reference(3, 1)],
    "without duplicates": [
        a_reference(2, 1, "once"),
        a_reference(2, 1, "once", "Plain"),
        a_reference(2, 2, "once"),
    ],
    "of many": [
        a_reference(2, 1, "toMany", "Named"),
        a_reference(2, 1, "toMany"),
        a_reference(2, 1, "toMany", "Auto"),
    ],
    "names": [
        a_reference(2, 1, "nope"),
        a_reference(2, 1, ""),
        a_reference(2, 1, "To"),
        a_reference(2, 1, into="Nope"),
        a_reference(2, 1, into="plain"),
        a_reference(2, 1, collection="linked"),
        a_reference(2, 1, collection="Nope"),
        a_reference(2, 1, collection=""),
    ],
    "ids": [
        a_reference("zz", 1),
        a_reference("", 1),
        a_reference(2, "zz"),
        a_reference(2, "zz", into="Plain"),
        a_reference(99, 1),
        a_reference("00000000-0000-4000-8000-00000000000A", 1),
    ],
    "tenants": [
        a_reference(2, 1, tenant="warm"),
        a_reference(2, 0, "toMulti"),
        *(
            a_reference(0, 0, "toMulti", collection="LinkedMulti", tenant=t)
            for t in ("warm", "cold", "none", "")
        ),
        a_reference(0, 99, "toMulti", collection="LinkedMulti", tenant="warm"),
        a_reference(99, 0, "toMulti", collection="LinkedMulti", tenant="warm"),
        a_reference(0, 1, collection="LinkedMulti", tenant="warm"),
        a_reference(0, 99, collection="LinkedMulti", tenant="warm"),
    ],
    "nothing": [],
}

SEARCHES = {
    "by id": ("Plain", "", [1, 2, 0xAA, 0xAB, 11, 14, 16, 99]),
    "named": ("Named", "", [1, 2, 3, 4, 5]),
    "the only name": ("One", "", [1]),
    "tenant": ("Multi", "warm", [0, 1]),
    "missing collection": ("Nope", "", [1]),
    "missing tenant": ("Multi", "none", [1]),
    "cold tenant": ("Multi", "cold", [1]),
    "no tenant": ("Multi", "", [1]),
}

REST = [
    ("GET", "/v1/schema/Nope", None),
    ("POST", "/v1/schema", {"class": "Plain"}),
    ("POST", "/v1/schema", {"class": "PLAIN"}),
    ("POST", "/v1/schema", {"class": "b-d"}),
    ("PUT", "/v1/schema/Nope", {"class": "Nope"}),
    ("POST", "/v1/schema/Multi/tenants", [{"name": "b d"}]),
    ("DELETE", "/v1/schema/Nope", None),
    ("DELETE", "/v1/objects/Plain/00000000-0000-4000-8000-000000000002", None),
    *(
        ("GET", f"/v1/objects/Linked/{an_object(n).uuid}?consistency_level=QUORUM", None)
        for n in (1, 2, 3, 4, 99)
    ),
    *(("GET", f"/v1/objects/LinkedMulti/{an_object(0).uuid}?tenant={t}", None) for t in ("warm", "none")),
    ("GET", f"/v1/objects/LinkedMulti/{an_object(0).uuid}", None),
    ("DELETE", "/v1/schema/One", None),
    ("GET", "/v1/schema/One", None),
]


def answers(server):
    """All answers of a server that a client can tell apart, by the name of the request."""
    seen = {}

    def rest(method, path, body=None):
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, server.url + path, json=body, timeout=60)

    def call(method, message):
        try:
            return channel.unary_unary(method)(message.SerializeToString(), timeout=60)
        except grpc.RpcError as error:
            # The server goes through the tenants of a request in random order.
            return error.code().name, re.sub(
                r"tenant name at index \d+", "tenant name at index N", error.details()
            )

    for body in COLLECTIONS:
        response = rest("POST", "/v1/schema", body)
        assert response.status_code == 200, response.text
    for multi in ("Multi", "LinkedMulti"):
        tenants = [{"name": "warm"}, {"name": "cold", "activityStatus": "INACTIVE"}]
        rest("POST", f"/v1/schema/{multi}/tenants", tenants)
    with grpc.insecure_channel(server.grpc_url) as channel:
        written = [
            (f"write {name}", proto.BATCH_OBJECTS, proto.BatchObjectsRequest(objects=messages))
            for name, messages in WRITES.items()
        ]
        written += [
            (f"refer {name}", proto.BATCH_REFERENCES, proto.BatchReferencesRequest(references=messages))
            for name, messages in REFERENCES.items()
        ]
        for name, method, message in written:
            reply = call(method, message)
            if isinstance(reply, bytes):
                errors = proto.BatchObjectsReply.FromString(reply).errors
                reply = sorted((error.index, error.error) for error in errors)
            seen[name] = reply
        for name, (collection, tenant, numbers) in SEARCHES.items():
            query = proto.SearchRequest(collection=collection, tenant=tenant, limit=100, uses_127_api=True)
            query.metadata.uuid = query.metadata.vector = True
            query.filters.operator = proto.CONTAINS_ANY
            query.filters.target.property = "_id"
            for number in numbers:
                query.filters.value_text_array.values.append(an_object(number).uuid)
            reply = call(proto.SEARCH, query)
            if isinstance(reply, bytes):
                found = (result.metadata for result in proto.SearchReply.FromString(reply).results)
                reply = {
                    one.id: (one.vector_bytes, sorted((v.name, v.type, v.vector_bytes) for v in one.vectors))
                    for one in found
                }
            seen[f"search {name}"] = reply
    for method, path, body in REST:
        response = rest(method, path, body)
        texts = re.findall(r'"(?:message|beacon)":\s*(".*?[^\\]")', response.text)
        seen[f"{method} {path} {body}"] = response.status_code, sorted(texts)
    return seen


def test_the_fake_answers_like_a_real_server():
    with WeaviateServer(environment={"AUTOSCHEMA_ENABLED": "false"}) as server:
        real = answers(server)
    with FakeWeaviate() as fake:
        imitated = answers(fake)
    different = {name: (imitated[name], real[name]) for name in real if imitated[name] != real[name]}
    assert different == {}
