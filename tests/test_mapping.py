from __future__ import annotations

import copy
import datetime as dt
import enum
import pickle
import uuid
from collections import ChainMap, OrderedDict, defaultdict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from weaviate_io.encoding import ObjectEncoder, decode_object
from weaviate_io.errors import RowError
from weaviate_io.mapping import Mapper, plain_row, unwrap
from weaviate_io.objects import FailedObject, SourceRow, WeaviateObject, WeaviateReference, generate_uuid5
from weaviate_io.schema import DEFAULT_VECTOR, CollectionSchema, Property, VectorIndex

ID = "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8"
TYPES = {
    "title": "text",
    "views": "int",
    "score": "number",
    "open": "boolean",
    "at": "date",
    "ref": "uuid",
    "photo": "blob",
    "place": "geoCoordinates",
    "phone": "phoneNumber",
    "tags": "text[]",
    "counts": "int[]",
    "author": "object",
}
NESTED = {"author": {"name": Property("name", "text")}}
SCHEMA = CollectionSchema(
    "Article",
    {name: Property(name, kind, NESTED.get(name, {})) for name, kind in TYPES.items()},
    {DEFAULT_VECTOR: VectorIndex(DEFAULT_VECTOR)},
)
ROW = {"doi": "10.1/x", "title": "Dune", "embedding": [0.5], "owner": "anna"}
MAPPER = Mapper("Article", id_field="doi", vector_field="embedding", tenant_field="owner")
MAPPED = WeaviateObject({"title": "Dune"}, generate_uuid5("10.1/x"), [0.5], "anna", "Article")


class Named(NamedTuple):
    doi: str
    title: str
    embedding: Any
    owner: str


@dataclass
class Data:
    doi: str
    title: str
    embedding: Any
    owner: str


@dataclass(frozen=True, slots=True)
class FrozenData:
    doi: str
    title: str
    embedding: Any
    owner: str


class OwnMapping(Mapping):
    def __init__(self, values):
        self._values = values

    def __getitem__(self, name):
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)


class Key(str, enum.Enum):
    DUNE = "10.1/x"


ROWS = {
    "dict": ROW,
    "OrderedDict": OrderedDict(ROW),
    "defaultdict": defaultdict(list, ROW),
    "read-only mapping": MappingProxyType(ROW),
    "ChainMap": ChainMap(ROW),
    "own mapping": OwnMapping(ROW),
    "beam.Row": beam.Row(**ROW),
    "named tuple": Named(**ROW),
    "pandas tuple": next(pd.DataFrame([ROW]).itertuples(index=False)),
    "dataclass": Data(**ROW),
    "frozen dataclass with slots": FrozenData(**ROW),
}


def refusal(mapper, row, schema=SCHEMA, **given):
    with pytest.raises(RowError) as refused:
        mapper.map(row, schema, **given)
    assert "\n" not in str(refused.value)
    return refused.value.reason, str(refused.value)


@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_of_row_becomes_the_same_object(kind):
    assert MAPPER.map(ROWS[kind], SCHEMA) == MAPPED


PLAIN = ["dict", "beam.Row", "named tuple", "pandas tuple", "dataclass", "frozen dataclass with slots"]


@pytest.mark.parametrize("kind", PLAIN)
def test_the_fields_of_a_plain_row_are_those_it_is_mapped_by(kind):
    assert plain_row(ROWS[kind]) == ROW


@pytest.mark.parametrize(
    "element",
    [
        None,
        5,
        "text",
        ("tuple",),
        Data,
        Named,
        defaultdict(list, ROW),
        WeaviateObject(ROW),
        SourceRow(ROW, "a.csv: row 1", text=True),
        SourceRow(WeaviateObject(ROW), "a.json: row 1"),
        FailedObject("r", "e", 0, None, None, None, None, ROW, None),
        namedtuple("Elsewhere", FailedObject._fields)("r", "e", 0, None, None, None, None, ROW, None),
        WeaviateReference("a", "b", "c"),
        pa.table({"title": ["Dune"]}),
    ],
    ids=lambda element: type(element).__name__,
)
def test_what_is_more_or_less_than_its_fields_is_no_plain_row(element):
    assert plain_row(element) is None


def test_a_row_whose_fields_cannot_be_had_is_no_plain_row():
    class Broken(Named):
        def _asdict(self):
            raise KeyError("title")

    assert plain_row(Broken(**ROW)) is None


@pytest.mark.parametrize("kind", ["dict", "defaultdict", "dataclass"])
def test_the_row_is_not_changed(kind):
    row = copy.deepcopy(ROWS[kind])
    mapped = MAPPER.map(row, SCHEMA)
    mapped.properties["more"] = 1
    assert row == ROWS[kind]


def test_looking_for_a_field_does_not_put_it_into_a_defaultdict():
    row = defaultdict(list, title="Dune")
    assert refusal(Mapper("Article", id_field="doi"), row)[0] == "missing_id"
    assert dict(row) == {"title": "Dune"}


@pytest.mark.parametrize("row", [None, 5, "text", b"bytes", ["list"], ("tuple",), object(), Data, Named])
def test_what_is_no_row_is_refused(row):
    reason, message = refusal(MAPPER, row)
    assert reason == "invalid_row"
    assert "is no row; use a mapping, beam.Row, named tuple, dataclass or WeaviateObject" in message


def test_a_mapper_crosses_to_a_worker():
    MAPPER.map(ROW, SCHEMA)
    assert pickle.loads(pickle.dumps(MAPPER)).map(ROW, SCHEMA) == MAPPED


# --- WeaviateObject --------------------------------------------------------------------------------------


def test_an_explicit_object_is_kept_as_it_is():
    given = WeaviateObject({"title": "Dune"}, ID, {"body": [0.5]}, "bob", None, {"author": ID})
    assert MAPPER.map(given, SCHEMA) == given._replace(collection="Article")


@pytest.mark.parametrize(("own", "expected"), [(None, "anna"), ("bob", "bob"), ("", "")])
def test_the_tenant_of_the_write_is_for_objects_that_name_none(own, expected):
    mapper = Mapper("Article", tenant="anna")
    assert mapper.map(WeaviateObject({}, tenant=own), SCHEMA).tenant == expected


@pytest.mark.parametrize("properties", [None, [("title", "Dune")], "Dune"])
def test_properties_of_an_object_are_a_mapping(properties):
    assert refusal(MAPPER, WeaviateObject(properties)) == (
        "invalid_row",
        f"properties are a mapping, not {type(properties).__name__}",
    )


# --- Where a row goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collection", "row", "expected"),
    [
        ("Article", ROW, "Article"),
        ("article", ROW, "Article"),
        (lambda row: row["title"], ROW, "Dune"),
        ("Article", WeaviateObject({}, collection="book"), "Book"),
        (lambda row: "Article", WeaviateObject({}, collection="Book"), "Book"),
    ],
)
def test_the_collection_is_a_name_a_function_or_the_objects_own(collection, row, expected):
    assert Mapper(collection).destination(row) == expected


@pytest.mark.parametrize(
    ("collection", "reason", "message"),
    [
        ("a b", "invalid_collection", "'a b' is not a collection name"),
        (lambda row: None, "invalid_collection", "None is not a collection name"),
        (lambda row: row["nope"], "invalid_row", "collection= raised KeyError: 'nope'"),
    ],
)
def test_a_row_without_a_destination_is_refused(collection, reason, message):
    with pytest.raises(RowError) as refused:
        Mapper(collection).destination(ROW)
    assert refused.value.reason == reason
    assert message in str(refused.value)


# --- Ids -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (ID, ID),
        (ID.upper(), ID),
        (uuid.UUID(ID), ID),
        ("10.1/x", generate_uuid5("10.1/x")),
        (np.str_("10.1/x"), generate_uuid5("10.1/x")),
        (Key.DUNE, generate_uuid5("10.1/x")),
        (" ", generate_uuid5(" ")),
        (7, generate_uuid5(7)),
        (-7, generate_uuid5("-7")),
        (np.int64(7), generate_uuid5(7)),
        (np.uint8(7), generate_uuid5(7)),
        (2**70, generate_uuid5(2**70)),
    ],
)
def test_an_id_is_a_uuid_or_made_of_a_key(key, expected):
    assert Mapper("Article", id_field="id").map({"id": key}, SCHEMA).uuid == expected
    assert Mapper("Article", id_field=lambda row: row["id"]).map({"id": key}, SCHEMA).uuid == expected


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "missing_id"),
        (pd.NA, "missing_id"),
        (pd.NaT, "missing_id"),
        ("", "invalid_uuid"),
        (True, "invalid_uuid"),
        (np.True_, "invalid_uuid"),
        (1.0, "invalid_uuid"),
        (np.float64(1), "invalid_uuid"),
        (Decimal(1), "invalid_uuid"),
        (b"abc", "invalid_uuid"),
        (dt.date(2024, 1, 1), "invalid_uuid"),
        (np.timedelta64(1, "s"), "invalid_uuid"),
        (["a"], "invalid_uuid"),
        ({"a": 1}, "invalid_uuid"),
        ("\ud800", "invalid_uuid"),
        (10**5000, "invalid_uuid"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_key_is_refused_and_never_stringified(key, reason):
    found, message = refusal(Mapper("Article", id_field="id"), {"id": key})
    assert found == reason
    assert "the field 'id' gave no id" in message or "is no id: use a UUID, or text or an integer" in message


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"country": "DE", "number": 7}, '["DE", "7"]'),
        ({"country": "DE", "number": "7"}, '["DE", "7"]'),
        ({"country": "DE", "number": np.int32(7)}, '["DE", "7"]'),
        ({"country": 'D", "E', "number": 7}, '["D\\", \\"E", "7"]'),
        ({"country": "Ö", "number": ID.upper()}, f'["\\u00d6", "{ID}"]'),
        ({"country": Key.DUNE, "number": 7}, '["10.1/x", "7"]'),
    ],
)
def test_an_id_of_several_fields_is_made_of_the_list_of_their_texts(row, text):
    mapped = Mapper("Article", id_field=["country", "number"]).map(row, SCHEMA)
    assert mapped.uuid == generate_uuid5(text)
    assert mapped.properties == {}


def test_fields_of_an_id_that_the_schema_has_are_properties_too():
    mapped = Mapper("Article", id_field=("title", "doi")).map({"title": "Dune", "doi": 1, "views": 2}, SCHEMA)
    assert mapped.properties == {"title": "Dune", "views": 2}


def test_one_field_in_a_list_is_a_key_of_its_own_kind():
    """What the list is made of may not decide what its form is: a second field may come later."""
    assert Mapper("A", id_field=["doi"]).map({"doi": ID}, SCHEMA).uuid == generate_uuid5(f'["{ID}"]')


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        ({"country": "DE"}, "missing_id", "the row has no field 'number' (id_field=); it has 'country'"),
        ({"country": "DE", "number": None}, "missing_id", "the field 'number' gave no id"),
        ({"country": "", "number": 7}, "invalid_uuid", "'' is no id: use a UUID"),
        ({"country": "DE", "number": 7.5}, "invalid_uuid", "7.5 is no id: use a UUID"),
        ({"country": "\ud800", "number": 7}, "invalid_uuid", "is no id: use a UUID"),
    ],
)
def test_every_field_of_an_id_must_give_a_part_of_it(row, reason, words):
    given = refusal(Mapper("Article", id_field=["country", "number"]), row)
    assert given[0] == reason and words in given[1]


def test_without_an_id_field_the_id_is_left_to_the_content():
    assert Mapper("Article").map({"title": "Dune"}, SCHEMA).uuid is None


# --- Missing fields and failing functions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapper", "reason", "message"),
    [
        (
            Mapper("A", id_field="nope"),
            "missing_id",
            "the row has no field 'nope' (id_field=); it has 'doi', 'title'",
        ),
        (Mapper("A", vector_field="nope"), "missing_vector", "the row has no field 'nope' (vector_field=)"),
        (Mapper("A", tenant_field="nope"), "invalid_tenant", "the row has no field 'nope' (tenant_field=)"),
        (
            Mapper("A", vector_field={"a": "nope"}),
            "missing_vector",
            "none of the fields of vector_field=; it has",
        ),
        (
            Mapper("A", properties=["nope"]),
            "invalid_row",
            "the row has none of the fields of properties=; it has",
        ),
        (
            Mapper("A", id_field=lambda row: 1 / 0),
            "invalid_row",
            "id_field= raised ZeroDivisionError: division by",
        ),
        (Mapper("A", vector_field=lambda row: row.x), "invalid_row", "vector_field= raised AttributeError"),
        (Mapper("A", tenant_field=lambda row: row["x"]), "invalid_row", "tenant_field= raised KeyError: 'x'"),
        (Mapper("A", properties=lambda row: row["x"]), "invalid_row", "properties= raised KeyError: 'x'"),
        (Mapper("A", properties=lambda row: None), "invalid_row", "properties= gave no mapping for this row"),
        (Mapper("A", id_field=lambda row: None), "missing_id", "the function id_field= gave no id"),
    ],
)
def test_a_row_that_lacks_what_is_asked_of_it_is_refused(mapper, reason, message):
    found_reason, found = refusal(mapper, ROW)
    assert found_reason == reason
    assert message in found


# --- Vectors, tenants, properties ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vector_field", "row", "expected"),
    [
        (None, {"a": [1]}, None),
        ("a", {"a": [1]}, [1]),
        ("a", {"a": None}, None),
        ("a", {"a": pd.NA}, None),
        (lambda row: row["a"] * 2, {"a": [1]}, [1, 1]),
        (lambda row: {"x": row["a"]}, {"a": [1]}, {"x": [1]}),
        ({"x": "a", "y": "b"}, {"a": [1], "b": [2]}, {"x": [1], "y": [2]}),
        ({"x": "a", "y": "b"}, {"a": [1]}, {"x": [1]}),
        ({"x": "a", "y": "b"}, {"a": None, "b": [2]}, {"y": [2]}),
        ({"x": "a", "y": "b"}, {"a": None, "b": None}, None),
    ],
)
def test_vectors_come_from_a_field_a_function_or_several_fields(vector_field, row, expected):
    mapped = Mapper("Article", vector_field=vector_field).map({**row, "title": "Dune"}, SCHEMA)
    assert mapped.vector == expected
    if vector_field is not None and not callable(vector_field):
        assert mapped.properties == {"title": "Dune"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tenant": "anna"}, "anna"),
        ({"tenant_field": "t"}, "bob"),
        ({"tenant_field": lambda row: row["t"].upper()}, "BOB"),
        ({"tenant_field": "none", "tenant": "anna"}, "anna"),
        ({"tenant_field": "none"}, None),
        ({"tenant_field": "t", "tenant": "anna"}, "bob"),
    ],
)
def test_the_tenant_comes_from_the_row_or_the_write(given, expected):
    assert Mapper("Article", **given).map({"t": "bob", "none": None}, SCHEMA).tenant == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (["title", "views"], {"title": "Dune", "views": 5}),
        (("title", "nope"), {"title": "Dune"}),
        ({"title": "name", "views": "views"}, {"title": "D", "views": 5}),
        (lambda row: {"title": row["title"].upper()}, {"title": "DUNE"}),
        (lambda row: beam.Row(title="a"), {"title": "a"}),
        ([], {}),
    ],
)
def test_properties_are_picked_and_renamed(properties, expected):
    row = {"title": "Dune", "name": "D", "views": 5, "v": [1]}
    assert Mapper("Article", vector_field="v", properties=properties).map(row, SCHEMA).properties == expected


def test_the_id_and_tenant_are_properties_only_where_the_schema_has_them():
    mapper = Mapper("Article", id_field="Title", tenant_field="ref", vector_field="tags")
    row = {"Title": "Dune", "ref": "anna", "tags": [0.5], "views": 5}
    assert mapper.map(row, SCHEMA).properties == {"Title": "Dune", "ref": "anna", "views": 5}
    bare = CollectionSchema("Article", {}, SCHEMA.vectors)
    assert mapper.map(row, bare).properties == {"views": 5}


def test_columns_that_the_schema_lacks_are_left_for_the_encoder_to_judge():
    assert Mapper("Article").map({"nope": 5, 7: "x"}, SCHEMA).properties == {"nope": 5, 7: "x"}


# --- Rows of text ------------------------------------------------------------------------------------------

TEXTS = [
    # property, text, what is stored
    ("title", "01234", "01234"),
    ("title", "true", "true"),
    ("title", '["a"]', '["a"]'),
    ("title", " Dune ", " Dune "),
    ("title", "", ""),
    ("title", None, None),
    ("views", "412", 412),
    ("views", " -7 ", -7),
    ("views", "+007", 7),
    ("views", "9007199254740992", 2**53),
    ("views", "412.0", 412),
    ("views", "1e3", 1000),
    ("views", None, None),
    ("score", "0.1", 0.1),
    ("score", "1e-5", 1e-5),
    ("score", "3", 3.0),
    ("score", "0.10000000000000000555", 0.1),
    ("open", "true", True),
    ("open", "False", False),
    ("open", " TRUE ", True),
    ("at", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z"),
    ("ref", ID.upper(), ID),
    ("photo", "YWI=", "YWI="),
    ("place", '{"latitude": 1, "longitude": 2.5}', {"latitude": 1.0, "longitude": 2.5}),
    ("phone", "+49 30 1", {"input": "+49 30 1"}),
    ("tags", '["a", "b"]', ["a", "b"]),
    ("tags", "[]", []),
    ("counts", "[1, 2]", [1, 2]),
    ("author", '{"name": "Frank"}', {"name": "Frank"}),
    ("Views", "412", 412),
]

BAD_TEXTS = [
    # property, text, message
    ("views", "1,000", "expects an integer, not '1,000'"),
    ("views", "1_000", "expects an integer, not '1_000'"),
    ("views", "", "expects an integer, not ''"),
    ("views", "abc", "expects an integer, not 'abc'"),
    ("views", "1.5", "expects an integer, not Decimal"),
    ("views", "nan", "expects an integer, not Decimal"),
    ("views", "9007199254740993", "expects an integer within 2^53"),
    ("views", "9007199254740993.0", "expects an integer within 2^53"),
    ("views", "1e999999999", "expects an integer within 2^53"),
    ("views", "1e99999999999999999999999", "expects an integer"),
    ("views", "9" * 5000, "expects an integer"),
    ("score", "9007199254740993", "float64 can keep exactly"),
    ("score", "abc", "expects a number, not 'abc'"),
    ("score", "NaN", "expects a finite number"),
    ("score", "inf", "expects a finite number"),
    ("score", "1e400", "expects a finite number"),
    ("open", "1", "expects true or false, not '1'"),
    ("open", "yes", "expects true or false, not 'yes'"),
    ("at", "2024-05-01", "a date with a time zone"),
    ("place", "52.5,13.4", "expects geoCoordinates as JSON, not '52.5,13.4'"),
    ("tags", "a;b", "expects text[] as JSON, not 'a;b'"),
    ("tags", '"a"', "expects a list (text[]), not str 'a'"),
    ("counts", "[1, NaN]", "in item 1: an integer, not float nan"),
    ("author", "{", "expects object as JSON, not '{'"),
    ("author", "[" * 100_000, "expects object as JSON"),
]


@pytest.mark.parametrize(("name", "text", "expected"), TEXTS)
def test_text_is_read_by_the_type_of_its_property(name, text, expected):
    mapped = Mapper("Article").map({name: text, "ref": ID}, SCHEMA, text=True)
    if name == "ref":
        mapped = Mapper("Article").map({name: text}, SCHEMA, text=True)
    decoded = decode_object(ObjectEncoder(SCHEMA).encode(mapped._replace(uuid=ID)).payload, SCHEMA)
    assert decoded.properties.get(name.lower()) == expected
    assert type(decoded.properties.get(name.lower())) is type(expected)


@pytest.mark.parametrize(("name", "text", "message"), BAD_TEXTS, ids=lambda value: str(value)[:30])
def test_text_that_does_not_say_a_value_of_its_type_is_refused(name, text, message):
    with pytest.raises(RowError) as refused:
        ObjectEncoder(SCHEMA).encode(Mapper("Article").map({name: text}, SCHEMA, text=True))
    assert refused.value.reason == "invalid_property"
    assert f"property {name!r} of Article" in str(refused.value)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("vector_field", "row", "expected"),
    [
        ("v", {"v": "[0.5, 1]"}, [0.5, 1]),
        ("v", {"v": "[[0.5], [1]]"}, [[0.5], [1]]),
        ("v", {"v": None}, None),
        ({"a": "v", "b": "w"}, {"v": "[1]", "w": None}, {"a": [1]}),
        (lambda row: [float(row["v"])], {"v": "0.5"}, [0.5]),
    ],
)
def test_vectors_of_text_rows_are_json(vector_field, row, expected):
    assert Mapper("Article", vector_field=vector_field).map(row, SCHEMA, text=True).vector == expected


@pytest.mark.parametrize(
    ("vector_field", "text", "message"),
    [
        ("v", "0.5 1.0", "the vector expects a JSON list of numbers, not '0.5 1.0'"),
        ("v", "", "the vector expects a JSON list of numbers, not ''"),
        ("v", "[" * 100_000, "the vector expects a JSON list of numbers"),
        ({"body": "v"}, "x", "vector 'body' expects a JSON list of numbers, not 'x'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_vector_that_is_no_json_is_refused(vector_field, text, message):
    reason, found = refusal(Mapper("Article", vector_field=vector_field), {"v": text}, text=True)
    assert reason == "invalid_vector"
    assert message in found


def test_keys_of_text_rows_give_the_ids_of_the_same_integers():
    mapper = Mapper("Article", id_field="id")
    assert mapper.map({"id": "7"}, SCHEMA, text=True).uuid == mapper.map({"id": 7}, SCHEMA).uuid


def test_text_of_unknown_columns_stays_text():
    assert Mapper("Article").map({"nope": "5", 7: "x"}, SCHEMA, text=True).properties == {"nope": "5", 7: "x"}


# --- What an element holds -----------------------------------------------------------------------------------

GIVEN = WeaviateObject({"title": "Dune"}, ID)


def failed(**given):
    fields = dict.fromkeys(FailedObject._fields)
    return FailedObject(
        **{**fields, "reason": "r", "error": "e", "attempts": 1, "position": "a.csv: line 2", **given}
    )


@pytest.mark.parametrize(
    ("element", "row", "position", "text", "collection"),
    [
        (ROW, ROW, None, False, None),
        (GIVEN, GIVEN, None, False, None),
        (SourceRow(ROW, "a.json: line 1"), ROW, "a.json: line 1", False, None),
        (SourceRow(ROW, "a.csv: line 2", True), ROW, "a.csv: line 2", True, None),
        (failed(object=GIVEN, collection="Article"), GIVEN, "a.csv: line 2", False, "Article"),
        (failed(row=ROW), ROW, "a.csv: line 2", False, None),
        (failed(row=SourceRow(ROW, "b.csv: line 3", True)), ROW, "b.csv: line 3", True, None),
    ],
)
def test_an_element_is_unwrapped(element, row, position, text, collection):
    source = unwrap(element)
    assert (source.row, source.position, source.text, source.collection) == (row, position, text, collection)


def test_a_replayed_failure_keeps_its_id():
    source = unwrap(failed(object=GIVEN._replace(tenant="anna")))
    assert MAPPER.map(source.row, SCHEMA) == GIVEN._replace(tenant="anna", collection="Article")


def references_of(row, text=False, **options):
    return Mapper("Article", **options).map(row, SCHEMA, text).references


BY_FIELD = {"references_field": {"by": "author", "about": "topics"}}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"author": "Ann", "topics": ["x", "y"]}, {"by": [generate_uuid5("Ann")], "about": ["x", "y"]}),
        ({"author": 7, "topics": None}, {"by": [generate_uuid5(7)], "about": None}),
        ({"author": [], "topics": {"Topic": "x", "Place": []}}, {"by": None, "about": {"Topic": ["x"]}}),
        ({"topics": [None, "x", None]}, {"by": None, "about": ["x"]}),
        ({"author": 1.5}, {"by": [1.5], "about": None}),
    ],
    ids=str,
)
def test_reference_fields_give_the_ids_that_they_are_keys_of(row, expected):
    keys = {key: generate_uuid5(key) for key in "xy"}

    def with_ids(value):
        if isinstance(value, dict):
            return {name: with_ids(item) for name, item in value.items()}
        return [keys.get(one, one) for one in value] if isinstance(value, list) else value

    assert references_of(row, **BY_FIELD) == with_ids(expected)


def test_reference_fields_are_no_properties():
    row = {"title": "Dune", "author": "Ann", "topics": "x"}
    assert Mapper("Article", **BY_FIELD).map(row, SCHEMA).properties == {"title": "Dune"}


def test_a_function_may_give_the_references():
    row = {"title": "Dune", "author": "Ann"}
    assert references_of(row, references_field=lambda row: {"by": row["author"]}) == {
        "by": [generate_uuid5("Ann")]
    }
    assert references_of(row, references_field=lambda row: None) == {}


def test_references_in_text_are_json():
    ann, bob = generate_uuid5("Ann"), generate_uuid5("Bob")
    row = {"author": '["Ann", "Bob"]', "topics": '{"Topic": "Ann"}'}
    assert references_of(row, text=True, **BY_FIELD) == {"by": [ann, bob], "about": {"Topic": [ann]}}


@pytest.mark.parametrize(
    ("row", "options", "reason", "words"),
    [
        ({"title": "x"}, BY_FIELD, "missing_reference", "none of the fields of references_field="),
        (
            {},
            {"references_field": lambda row: row["author"]},
            "invalid_row",
            "references_field= raised KeyError",
        ),
        ({}, {"references_field": lambda row: 17}, "invalid_row", "references_field= gave no mapping"),
    ],
)
def test_a_row_without_its_references_is_refused(row, options, reason, words):
    with pytest.raises(RowError) as error:
        references_of(row, **options)
    assert error.value.reason == reason
    assert words in str(error.value)
