from __future__ import annotations

import base64
import copy
import datetime as dt
import hashlib
import math
import struct
import uuid
from array import array

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weaviate_io import proto
from weaviate_io.encoding import (
    ObjectEncoder,
    decode_object,
    encoded_object,
    join_request,
    vector_names,
    with_nudged_vectors,
    with_vectors,
)
from weaviate_io.errors import RowError
from weaviate_io.objects import WeaviateObject
from weaviate_io.request import Entry
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema, Property, VectorIndex
from weaviate_io.vectors import encode_vector

ID = "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8"
OTHER_ID = "568f8024-7da4-5476-9824-c9a9e60f665d"
UTC = dt.timezone.utc


def schema_of(properties, vectors=(VectorIndex(DEFAULT_VECTOR),), **given):
    declared = (p if isinstance(p, Property) else Property(*p) for p in properties)
    return CollectionSchema("Article", {p.name: p for p in declared}, {v.name: v for v in vectors}, **given)


TITLE = schema_of([("title", "text"), ("views", "int"), ("tags", "text[]")])
NAMED = schema_of([("title", "text")], [VectorIndex("title"), VectorIndex("body"), VectorIndex("tokens", True)])
TENANTS = schema_of([("title", "text")], multi_tenant=True)
LINKED = schema_of(
    [
        ("title", "text"),
        Property("author", "reference", targets=("Person",)),
        Property("about", "reference", targets=("Person", "Place")),
    ]
)


def encode(schema, obj, **settings):
    return ObjectEncoder(schema, **settings).encode(obj)


def message_of(encoded):
    return proto.BatchObject.FromString(encoded.payload)


def refusal(schema, obj, **settings):
    with pytest.raises(RowError) as refused:
        encode(schema, obj, **settings)
    assert "\n" not in str(refused.value)
    return refused.value.reason, str(refused.value)


# --- The encoder against the generated message classes ---------------------------------------------------

TEXT = st.text(max_size=40) | st.text("ab", min_size=100, max_size=300)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = {
    # data type: values, and what is stored of one
    "text": (TEXT, lambda v: v),
    "int": (st.integers(-(2**53), 2**53), float),
    "number": (DOUBLES, float),
    "boolean": (st.booleans(), bool),
    "uuid": (st.uuids(), str),
    "date": (
        st.datetimes(timezones=st.just(UTC)),
        lambda v: v.isoformat(timespec="microseconds").replace("+00:00", "").rstrip("0").rstrip(".") + "Z",
    ),
}
PLAIN = {
    **SCALARS,
    "blob": (st.binary(min_size=1, max_size=20), lambda v: base64.b64encode(v).decode()),
    "geoCoordinates": (
        st.fixed_dictionaries({"latitude": st.floats(-90, 90), "longitude": st.floats(-180, 180)}),
        dict,
    ),
    "phoneNumber": (st.fixed_dictionaries({"input": TEXT}, optional={"defaultCountry": TEXT}), dict),
}
NAMES = st.text("abcdefgh_ü", min_size=1, max_size=9)


@st.composite
def typed_values(draw, depth=2):
    """A property of some type without its name, and pairs of a value for it and what is stored."""
    kinds = sorted(PLAIN) + [f"{kind}[]" for kind in sorted(SCALARS)]
    kind = draw(st.sampled_from(kinds + (["object", "object[]"] if depth else [])))
    if kind in PLAIN:
        values, stores = PLAIN[kind]
        value = draw(st.none() | values)
        return (kind, {}), (value, None if value is None else stores(value))
    if kind.removesuffix("[]") in SCALARS:
        values, stores = SCALARS[kind.removesuffix("[]")]
        chosen = draw(st.lists(values, max_size=4))
        return (kind, {}), (chosen, [stores(v) for v in chosen])
    members = draw(st.dictionaries(NAMES, typed_values(depth=depth - 1), max_size=3))
    nested = {name: Property(name, *declared) for name, (declared, _) in members.items()}
    given = {name: value for name, (_, (value, _)) in members.items()}
    stored = {name: stored for name, (_, (_, stored)) in members.items() if stored is not None}
    if kind == "object":
        return (kind, nested), (given, stored)
    count = draw(st.integers(0, 2))
    return (kind, nested), ([given] * count, [stored] * count)


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
LENGTHS = st.integers(1, 5) | st.just(700)


@st.composite
def vectors_of_a_collection(draw):
    """Indexes, and a value for ``WeaviateObject.vector``."""
    if draw(st.booleans()):
        value = st.just([0.5] * 700) | st.lists(FLOAT32, min_size=1, max_size=5)
        return [VectorIndex(DEFAULT_VECTOR)], draw(st.none() | value)
    indexes, values = [], {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        multi = draw(st.booleans())
        row = st.lists(FLOAT32, min_size=3, max_size=3)
        indexes.append(VectorIndex(name, multi))
        values[name] = draw(st.none() | (st.lists(row, min_size=1, max_size=3) if multi else row))
    return indexes, values


@st.composite
def cases(draw):
    """A schema, an object that fits it, and the message that the generated classes make of it."""
    members = draw(st.dictionaries(NAMES, typed_values(), max_size=5))
    indexes, vector = draw(vectors_of_a_collection())
    tenant = draw(st.none() | st.text("abc-_9", min_size=1, max_size=64))
    object_id = draw(st.uuids())
    schema = schema_of(
        [(name, *declared) for name, (declared, _) in members.items()], indexes, multi_tenant=tenant is not None
    )
    message = proto.BatchObject(uuid=str(object_id), collection="Article", tenant=tenant or "")
    message.properties.non_ref_properties.SetInParent()
    stored = {name: stored for name, (_, (_, stored)) in members.items() if stored is not None}
    message.properties.non_ref_properties.update(stored)
    if isinstance(vector, list):
        message.vector_bytes = struct.pack(f"<{len(vector)}f", *vector)
    for name, value in sorted((vector or {}).items()) if isinstance(vector, dict) else ():
        if value is not None:
            multi = isinstance(value[0], list)
            flat = [x for row in value for x in row] if multi else value
            data = (struct.pack("<H", 3) if multi else b"") + struct.pack(f"<{len(flat)}f", *flat)
            message.vectors.add(name=name, vector_bytes=data, type=2 if multi else 1)
    given = {name: value for name, (_, (value, _)) in members.items()}
    return schema, WeaviateObject(given, object_id, vector, tenant), message


@given(cases())
@settings(max_examples=300, deadline=None)
def test_the_bytes_are_those_of_the_generated_message_classes(case):
    schema, obj, expected = case
    before = copy.deepcopy(obj)
    encoded = encode(schema, obj)
    assert message_of(encoded) == expected
    assert len(encoded.payload) == expected.ByteSize()
    assert (encoded.uuid, encoded.tenant) == (expected.uuid, obj.tenant)
    again = encoded_object(encoded.payload)
    assert (again.payload, again.key, again.has_vectors) == (encoded.payload, encoded.key, encoded.has_vectors)
    assert obj == before


@given(cases())
@settings(max_examples=200, deadline=None)
def test_a_decoded_object_encodes_to_the_same_message_and_id(case):
    schema, obj, expected = case
    encoder = ObjectEncoder(schema)
    decoded = decode_object(encoder.encode(obj).payload, schema)
    assert message_of(encoder.encode(decoded)) == expected
    try:
        content_id = encoder.encode(obj._replace(uuid=None)).uuid
    except RowError as error:
        assert error.reason == "empty_object"
        return
    assert encoder.encode(decoded._replace(uuid=None)).uuid == content_id


@given(st.lists(cases(), max_size=4), st.sampled_from([None, *proto.CONSISTENCY_LEVELS.values()]))
@settings(max_examples=50, deadline=None)
def test_a_joined_request_holds_the_objects_and_sizes_are_exact(several, level):
    encoded = [encode(schema, obj) for schema, obj, _ in several]
    joined = join_request(encoded, level)
    expected = proto.BatchObjectsRequest(objects=[m for _, _, m in several], consistency_level=level)
    assert proto.BatchObjectsRequest.FromString(joined) == expected
    assert sum(e.size for e in encoded) + (0 if level is None else 2) == len(joined)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_the_size_is_exact_at_every_width_of_a_length(length):
    encoded = Entry((b"x" * length,), ID)
    assert encoded.size == len(join_request([encoded]))


def test_integers_are_ints_again_where_the_schema_says_so():
    schema = schema_of(
        [
            ("a", "int"),
            ("b", "number"),
            ("c", "int[]"),
            Property("o", "object[]", {"n": Property("n", "int"), "x": Property("x", "number")}),
        ]
    )
    given = {"a": 2**53, "b": 2.0, "c": [1, 2], "o": [{"n": 1, "x": 1.0}]}
    decoded = decode_object(encode(schema, WeaviateObject(given)).payload, schema)
    assert decoded.properties == given
    assert [type(v) for v in (decoded.properties["a"], *decoded.properties["c"])] == [int, int, int]
    assert type(decoded.properties["b"]) is float
    assert type(decoded.properties["o"][0]["n"]) is int


# --- Ids of content --------------------------------------------------------------------------------------

PINNED = [
    (TITLE, WeaviateObject({"title": "Dune", "views": 412}), "4c277262-2997-5e1d-903a-af60531ae636"),
    (
        TITLE,
        WeaviateObject({"title": "Dune", "views": 412}, vector=[0.5, 1.5]),
        "4c277262-2997-5e1d-903a-af60531ae636",
    ),
    (TITLE, WeaviateObject({}, vector=[0.5, 1.5]), "7cdfb9dc-de06-5015-9276-312cc146fb9a"),
    (TITLE, WeaviateObject({"title": "é", "tags": ["a", "b"]}), "703f1af7-4def-5aa3-9360-900a6f04b6e9"),
    (NAMED, WeaviateObject({}, vector={"body": [0.5], "title": [1.5]}), "eeaa0281-0ebc-525c-9490-57febc1d2bdf"),
    (TENANTS, WeaviateObject({"title": "Dune"}, tenant="anna"), "434ce9ef-bc7b-5b03-8186-b03bc0e8c26b"),
]


@pytest.mark.parametrize(("schema", "obj", "expected"), PINNED)
def test_ids_of_content_never_change(schema, obj, expected):
    assert encode(schema, obj).uuid == expected


def test_an_id_is_uuid5_of_the_collection_and_the_sorted_entries_of_the_properties():
    properties = {"title": "Dune", "views": 412, "tags": ["a"]}
    entries = []
    for name, value in properties.items():
        one = proto.BatchObject.Properties()
        one.non_ref_properties.update({name: value})
        entries.append(one.non_ref_properties.SerializeToString())
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "weaviate-io:content:1")
    content = b"Article\0" + b"".join(sorted(entries))
    digest = hashlib.sha1(namespace.bytes + content).digest()
    assert encode(TITLE, WeaviateObject(properties)).uuid == str(uuid.UUID(bytes=digest[:16], version=5))


SAME_CONTENT = {
    "order of keys": (
        TITLE,
        [WeaviateObject(p) for p in ({"title": "a", "views": 1}, {"views": 1, "title": "a"})],
    ),
    "equal numbers": (TITLE, [WeaviateObject({"views": v}) for v in (1, 1.0, np.int64(1), np.uint8(1))]),
    "case of the first letter": (TITLE, [WeaviateObject({n: "a"}) for n in ("title", "Title")]),
    "nulls": (TITLE, [WeaviateObject({"title": "a", **m}) for m in ({}, {"views": None}, {"views": pd.NA})]),
    "empty lists": (TITLE, [WeaviateObject({"title": "a", **m}) for m in ({}, {"tags": []}, {"tags": None})]),
    "kinds of lists": (TITLE, [WeaviateObject({"tags": t}) for t in (["a"], ("a",), np.array(["a"]))]),
    "kinds of vectors": (
        TITLE,
        [
            WeaviateObject({}, vector=v)
            for v in ([0.1, 2], (0.1, 2.0), np.array([0.1, 2]), np.float32([0.1, 2]), array("f", [0.1, 2]))
        ],
    ),
    "order of vectors": (
        NAMED,
        [WeaviateObject({}, vector=v) for v in ({"title": [1], "body": [2]}, {"body": [2], "title": [1]})],
    ),
    "tenant": (TENANTS, [WeaviateObject({"title": "a"}, tenant=t) for t in ("anna", "bob")]),
    "vector beside properties": (TITLE, [WeaviateObject({"title": "a"}, vector=v) for v in (None, [1], [2])]),
}
OTHER_CONTENT = {
    "value": (TITLE, [WeaviateObject({"title": t}) for t in ("a", "b")]),
    "property": (schema_of([("a", "text"), ("b", "text")]), [WeaviateObject({n: "x"}) for n in "ab"]),
    "type": (schema_of([("a", "text"), ("b", "int")]), [WeaviateObject({"a": "1"}), WeaviateObject({"b": 1})]),
    "cut between values": (
        schema_of([("a", "text"), ("b", "text")]),
        [WeaviateObject({"a": "xy", "b": ""}), WeaviateObject({"a": "x", "b": "y"})],
    ),
    "text that ends like an empty list": (
        TITLE,
        [
            WeaviateObject({"title": "a", **m})
            for m in ({}, {"tags": ["\x022\x00"]}, {"tags": ["\x02", "2\x00"]})
        ],
    ),
    "vector": (TITLE, [WeaviateObject({}, vector=v) for v in ([1.0], [2.0], [1.0, 2.0])]),
    "name of a vector": (NAMED, [WeaviateObject({}, vector={n: [1.0]}) for n in ("title", "body")]),
}


@pytest.mark.parametrize("case", SAME_CONTENT)
def test_what_does_not_matter_does_not_change_the_id(case):
    schema, objects = SAME_CONTENT[case]
    assert len({encode(schema, obj).uuid for obj in objects}) == 1


@pytest.mark.parametrize("case", OTHER_CONTENT)
def test_other_content_has_another_id(case):
    schema, objects = OTHER_CONTENT[case]
    assert len({encode(schema, obj).uuid for obj in objects}) == len(objects)


def test_the_collection_is_part_of_the_id():
    other = CollectionSchema("Book", TITLE.properties, TITLE.vectors)
    obj = WeaviateObject({"title": "a"})
    assert encode(TITLE, obj).uuid != encode(other, obj).uuid


def test_an_id_is_the_same_before_and_after_the_server_has_learned_the_properties():
    phone = {"input": "1", "defaultCountry": "de"}
    given = {"title": "a", "views": 1, "tags": [], "at": dt.datetime(2024, 5, 1, tzinfo=UTC), "phone": phone}
    learned = schema_of(
        [("title", "text"), ("views", "number"), ("tags", "text[]"), ("at", "date"), ("phone", "phoneNumber")]
    )
    ids = {encode(s, WeaviateObject(given)).uuid for s in (CollectionSchema.unknown("Article"), learned)}
    assert len(ids) == 1


def test_an_id_of_content_is_a_uuid_of_version_5():
    assert uuid.UUID(encode(TITLE, WeaviateObject({"title": "a"})).uuid).version == 5


@pytest.mark.parametrize(
    "obj",
    [
        WeaviateObject({}),
        WeaviateObject({"title": None}),
        WeaviateObject({"tags": []}),
        WeaviateObject({}, None, {}),
    ],
)
def test_nothing_gives_no_id(obj):
    assert refusal(TITLE, obj)[0] == "empty_object"


@pytest.mark.parametrize("given", [ID, ID.upper(), uuid.UUID(ID)])
def test_a_given_id_is_sent_in_canonical_form(given):
    assert message_of(encode(TITLE, WeaviateObject({}, given))).uuid == ID


@pytest.mark.parametrize("given", ["", "abc", ID[:-1], "{" + ID + "}", 5, True, b"x", "\ud800"])
def test_what_is_no_uuid_is_refused(given):
    reason, message = refusal(TITLE, WeaviateObject({"title": "a"}, given))
    assert reason == "invalid_uuid"
    assert "is not a UUID (8-4-4-4-12 hexadecimal digits)" in message


# --- What is refused, and in which words -----------------------------------------------------------------

DEEP = []
DEEP.append(DEEP)
OPEN = CollectionSchema.unknown("Article")
VECTOR = np.ones(3, np.float32)

REFUSED = [
    (
        TITLE,
        {"properties": {"title": 5}},
        "invalid_property",
        "property 'title' of Article expects text, not int 5",
    ),
    (
        TITLE,
        {"properties": {"views": 2**53 + 1}},
        "invalid_property",
        "property 'views' of Article expects an integer within 2^53, which is what the server can keep exactly, "
        "not int 9007199254740993",
    ),
    (
        TITLE,
        {"properties": {"nope": 5}},
        "unknown_property",
        "collection Article has no property 'nope' (it has 'title', 'views', 'tags'); add it to the schema, "
        "pick or rename with properties=, or set unknown_properties='drop'",
    ),
    (TITLE, {"properties": {"nope": None}}, "unknown_property", "has no property 'nope'"),
    (TITLE, {"properties": {5: "a"}}, "unknown_property", "has no property 5"),
    (TITLE, {"properties": {"": "a"}}, "unknown_property", "has no property ''"),
    (schema_of([]), {"properties": {"a": "a"}}, "unknown_property", "(it has none)"),
    (
        TITLE,
        {"properties": {"title": "a", "Title": "b"}},
        "invalid_property",
        "two fields are property 'title'",
    ),
    (
        LINKED,
        {"properties": {"author": ID}},
        "invalid_property",
        "references, which are given as WeaviateObject(",
    ),
    (OPEN, {"properties": {5: "a"}}, "unknown_property", "has no property 5"),
    (OPEN, {"properties": {"\ud800": "a"}}, "unknown_property", "is no name for a property"),
    (OPEN, {"properties": {"a": DEEP}}, "invalid_property", "expects less nesting"),
    (TITLE, {"vector": [1.0, math.nan]}, "invalid_vector", "the vector: component 1 is NaN"),
    (TITLE, {"vector": "abc"}, "invalid_vector", "the vector: a vector is a list of numbers"),
    (
        TITLE,
        {"vector": [[1.0]]},
        "invalid_vector",
        "the vector is a multi-vector, collection Article expects one",
    ),
    (TITLE, {"vector": {"title": VECTOR}}, "unknown_vector", "has no vector 'title' (it has an unnamed one)"),
    (
        TITLE,
        {"vector": {"": VECTOR, "default": VECTOR}},
        "unknown_vector",
        "one unnamed vector, the object has 2",
    ),
    (NAMED, {"vector": VECTOR}, "unknown_vector", "3 named vectors ('title', 'body', 'tokens'); say which"),
    (
        NAMED,
        {"vector": {"nope": VECTOR}},
        "unknown_vector",
        "has no vector 'nope' (it has 'title', 'body', 'tokens')",
    ),
    (NAMED, {"vector": {5: VECTOR}}, "unknown_vector", "has no vector 5"),
    (NAMED, {"vector": {"title": []}}, "invalid_vector", "vector 'title': a vector has at least one number"),
    (
        NAMED,
        {"vector": {"tokens": VECTOR}},
        "invalid_vector",
        "vector 'tokens' is one vector, collection Article",
    ),
    (TENANTS, {}, "invalid_tenant", "collection Article has tenants; say whose the object is"),
    (TENANTS, {"tenant": ""}, "invalid_tenant", "'' is not a tenant name: text of 1 to 64 letters, digits"),
    (TENANTS, {"tenant": "a" * 65}, "invalid_tenant", "is not a tenant name"),
    (TENANTS, {"tenant": "a\n"}, "invalid_tenant", "is not a tenant name"),
    (TENANTS, {"tenant": "ä"}, "invalid_tenant", "is not a tenant name"),
    (TENANTS, {"tenant": 5}, "invalid_tenant", "5 is not a tenant name: text of"),
    (
        TITLE,
        {"tenant": "anna"},
        "invalid_tenant",
        "collection Article has no tenants, but the object names one",
    ),
    (TITLE, {"references": {"author": ID}}, "invalid_reference", "has no reference 'author'"),
    (LINKED, {"references": {"title": ID}}, "invalid_reference", "has no reference 'title'"),
    (LINKED, {"references": {5: ID}}, "invalid_reference", "has no reference 5"),
    (
        LINKED,
        {"references": [ID]},
        "invalid_reference",
        "references are a mapping of property to uuids, not list",
    ),
    (
        LINKED,
        {"references": {"author": "abc"}},
        "invalid_reference",
        "reference 'author' wants uuids, not 'abc'",
    ),
    (LINKED, {"references": {"author": [ID, None]}}, "invalid_reference", "wants uuids, not None"),
    (
        LINKED,
        {"references": {"about": ID}},
        "invalid_reference",
        "wants a mapping of 'Person', 'Place' to uuids",
    ),
    (
        LINKED,
        {"references": {"about": {"Book": ID}}},
        "invalid_reference",
        "wants a mapping of 'Person', 'Place'",
    ),
]


@pytest.mark.parametrize(("schema", "given", "reason", "message"), REFUSED)
def test_what_does_not_fit_is_refused_with_a_reason(schema, given, reason, message):
    given = {"properties": {"title": "a"}, "uuid": ID, **given}
    found_reason, found = refusal(schema, WeaviateObject(**given))
    assert found_reason == reason
    assert message in found


def test_a_vector_of_another_length_is_refused():
    obj = WeaviateObject({"title": "a"}, vector={"title": [1.0] * 767})
    assert refusal(NAMED, obj, dimensions={"title": 768}) == (
        "invalid_vector",
        "vector 'title' has 767 values, collection Article expects 768",
    )
    encode(NAMED, obj, dimensions={"body": 768})


def test_a_multi_vector_is_measured_by_its_rows():
    obj = WeaviateObject({"title": "a"}, vector={"tokens": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]})
    encode(NAMED, obj, dimensions={"tokens": 2})
    assert refusal(NAMED, obj, dimensions={"tokens": 3})[0] == "invalid_vector"


def test_unknown_properties_are_dropped_on_request_at_every_depth():
    schema = schema_of([("title", "text"), Property("o", "object", {"a": Property("a", "text")})])
    given = {"title": "a", "nope": 5, 7: "x", "o": {"a": "b", "nope": math.nan}}
    decoded = decode_object(encode(schema, WeaviateObject(given), unknown_properties="drop").payload)
    assert decoded.properties == {"title": "a", "o": {"a": "b"}}


def test_names_that_are_dropped_do_not_pile_up():
    encoder = ObjectEncoder(TITLE, unknown_properties="drop")
    for number in range(100):
        encoder.encode(WeaviateObject({"title": "a", f"junk{number}": 1}))
    assert len(encoder._columns) == 1


def test_dates_without_a_zone_take_the_one_that_is_given():
    schema = schema_of([("at", "date"), ("all", "date[]")])
    obj = WeaviateObject({"at": dt.datetime(2024, 5, 1), "all": np.array(["2024-05-01"], "datetime64[ns]")})
    decoded = decode_object(encode(schema, obj, timezone=UTC).payload)
    assert decoded.properties == {"at": "2024-05-01T00:00:00Z", "all": ["2024-05-01T00:00:00Z"]}
    assert "has none (set timezone= to say which is meant)" in refusal(schema, obj)[1]


def test_the_unnamed_vector_is_also_called_default():
    one, two = (encode(TITLE, WeaviateObject({}, ID, v)) for v in ([1.0], {"default": [1.0]}))
    assert one.payload == two.payload


def test_the_only_named_vector_needs_no_name():
    schema = schema_of([("title", "text")], [VectorIndex("body")])
    assert message_of(encode(schema, WeaviateObject({}, ID, [1.0]))).vectors[0].name == "body"


def test_vectors_that_are_null_are_left_out():
    vectors = {"title": None, "body": [1.0], "tokens": pd.NA}
    assert [v.name for v in message_of(encode(NAMED, WeaviateObject({}, ID, vectors))).vectors] == ["body"]


def test_references_of_one_and_of_several_targets():
    obj = WeaviateObject(
        {"title": "a"},
        ID,
        references={
            "Author": [ID, uuid.UUID(OTHER_ID)],
            "about": {"Person": ID, "Place": [OTHER_ID.upper(), ID]},
        },
    )
    properties = message_of(encode(LINKED, obj)).properties
    single = [(r.prop_name, list(r.uuids)) for r in properties.single_target_ref_props]
    several = [(r.prop_name, r.target_collection, list(r.uuids)) for r in properties.multi_target_ref_props]
    assert single == [("author", [ID, OTHER_ID])]
    assert several == [("about", "Person", [ID]), ("about", "Place", [OTHER_ID, ID])]
    decoded = decode_object(encode(LINKED, obj).payload)
    assert encode(LINKED, decoded).payload == encode(LINKED, obj).payload


@pytest.mark.parametrize("references", [None, {}, {"author": None}])
def test_no_references_add_nothing(references):
    plain = encode(LINKED, WeaviateObject({}, ID))
    assert encode(LINKED, WeaviateObject({}, ID, references=references)).payload == plain.payload


@pytest.mark.parametrize("ids", [{"Person": ID}, {"Person": [ID]}, ID, (ID,)])
def test_a_reference_of_one_target_may_name_it(ids):
    (reference,) = message_of(
        encode(LINKED, WeaviateObject({}, ID, references={"author": ids}))
    ).properties.single_target_ref_props
    assert list(reference.uuids) == [ID]


def test_a_reference_of_one_target_to_nothing_is_empty():
    encoded = encode(LINKED, WeaviateObject({}, ID, references={"author": {}}))
    assert list(message_of(encoded).properties.single_target_ref_props[0].uuids) == []


# --- Changing the vectors of encoded objects ---------------------------------------------------------------


def stored_vectors(payload):
    message = proto.BatchObject.FromString(payload)
    return [message.vector_bytes, *((v.name, v.vector_bytes, v.type) for v in message.vectors)]


def without_vectors(payload):
    message = proto.BatchObject.FromString(payload)
    message.vector_bytes = b""
    del message.vectors[:]
    return message


@pytest.mark.parametrize(
    ("schema", "vector", "count"),
    [(TITLE, [0.5, 1.5], 1), (NAMED, {"title": [0.0], "body": [1.5], "tokens": [[1.0, 2.0], [3.0, 4.0]]}, 3)],
)
def test_a_nudge_changes_every_vector_by_one_component_and_nothing_else(schema, vector, count):
    payload = encode(schema, WeaviateObject({"title": "a"}, ID, vector)).payload
    nudged = with_nudged_vectors(payload)
    assert without_vectors(nudged) == without_vectors(payload)
    changed = [(a, b) for a, b in zip(stored_vectors(payload), stored_vectors(nudged), strict=True) if a != b]
    assert len(changed) == count
    decoded, before = decode_object(nudged).vector, decode_object(payload).vector
    for name in before if isinstance(before, dict) else [...]:
        assert np.count_nonzero(decoded[name] != before[name]) == 1


def test_an_object_without_vectors_has_nothing_to_nudge():
    payload = encode(TITLE, WeaviateObject({"title": "a"}, ID)).payload
    assert vector_names(payload) == set()
    assert proto.BatchObject.FromString(with_nudged_vectors(payload)) == proto.BatchObject.FromString(payload)


@pytest.mark.parametrize(("schema", "vector"), [(TITLE, [1.0]), (NAMED, {"tokens": [[1.0]]})])
def test_vectors_of_a_server_are_put_in_and_replace_what_was_there(schema, vector):
    bare = encode(schema, WeaviateObject({"title": "a"}, ID)).payload
    full = encode(schema, WeaviateObject({"title": "a"}, ID, vector)).payload
    message = proto.BatchObject.FromString(full)
    filled = with_vectors(bare, message.vector_bytes, message.vectors)
    assert vector_names(filled) == (set(vector) if isinstance(vector, dict) else {DEFAULT_VECTOR})
    assert proto.BatchObject.FromString(filled) == message
    again = with_vectors(filled, message.vector_bytes, message.vectors)
    assert proto.BatchObject.FromString(again) == message


def test_the_bytes_of_vectors_are_those_of_encode_vector():
    message = message_of(encode(NAMED, WeaviateObject({}, ID, {"tokens": [[1, 2], [3, 4]]})))
    assert message.vectors[0].vector_bytes == encode_vector([[1, 2], [3, 4]]).data
