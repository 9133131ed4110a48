from __future__ import annotations

import collections
import dataclasses
import uuid

import apache_beam as beam
import numpy as np
import pytest

from weaviate_io.errors import RowError
from weaviate_io.mapping import Mapper
from weaviate_io.objects import (
    FailedObject,
    WeaviateObject,
    WeaviateReference,
    WrittenObject,
    generate_uuid5,
)
from weaviate_io.references.mapping import ReferenceMapper
from weaviate_io.schema import CollectionSchema

A_UUID = "3f2c0000-0000-4000-8000-00000000000a"


def mapped(row, text=False, **options):
    given = {"from_property": "writesFor", "from_field": "author", "to_field": "papers", **options}
    return list(ReferenceMapper("Author", **given).map(row, text))


def pointed_at(row, text=False, **options):
    return [(one.to_collection, one.to_uuid) for one in mapped(row, text, **options)]


@dataclasses.dataclass
class Record:
    author: str
    papers: str


Named = collections.namedtuple("Named", ["author", "papers"])


@pytest.mark.parametrize(
    "row",
    [
        {"author": "Ann", "papers": "Daily"},
        beam.Row(author="Ann", papers="Daily"),
        Named("Ann", "Daily"),
        Record("Ann", "Daily"),
    ],
    ids=lambda row: type(row).__name__,
)
def test_every_form_of_a_row_gives_its_reference(row):
    ann, daily = generate_uuid5("Ann"), generate_uuid5("Daily")
    assert mapped(row) == [WeaviateReference(ann, "writesFor", daily)]


@pytest.mark.parametrize(
    ("papers", "expected"),
    [
        ("Daily", [(None, "Daily")]),
        (["Daily", "Weekly"], [(None, "Daily"), (None, "Weekly")]),
        (("Daily",), [(None, "Daily")]),
        (np.array(["Daily", "Weekly"]), [(None, "Daily"), (None, "Weekly")]),
        (np.array([7, 8]), [(None, 7), (None, 8)]),
        (np.array("Daily"), [(None, "Daily")]),
        (7, [(None, 7)]),
        (np.int64(7), [(None, 7)]),
        (
            {"Paper": "Daily", "Author": ["Bob", "Cid"]},
            [("Paper", "Daily"), ("Author", "Bob"), ("Author", "Cid")],
        ),
        ({"Paper": None, "Author": []}, []),
        (None, []),
        ([], []),
        ([None, "Daily", None], [(None, "Daily")]),
        ({}, []),
    ],
    ids=str,
)
def test_what_a_row_points_at(papers, expected):
    wanted = [(collection, generate_uuid5(key)) for collection, key in expected]
    assert pointed_at({"author": "Ann", "papers": papers}) == wanted


def test_uuids_are_used_as_they_are_on_both_sides():
    (one,) = mapped({"author": A_UUID.upper(), "papers": uuid.UUID(A_UUID)})
    assert (one.from_uuid, one.to_uuid) == (A_UUID, A_UUID)


def test_ids_are_those_that_a_write_of_objects_makes():
    schema = CollectionSchema.from_rest({"class": "Author", "properties": []})
    for key in ("Ann", 17, A_UUID):
        written = Mapper("Author", id_field="author").map({"author": key}, schema).uuid
        (one,) = mapped({"author": key, "papers": key})
        assert one.from_uuid == one.to_uuid == written


def test_functions_of_the_row_stand_for_fields():
    (one,) = mapped(
        {"x": "Ann", "y": "Daily", "z": "acme", "kind": "paper"},
        from_field=lambda row: row["x"],
        to_field=lambda row: row["y"],
        to_collection=lambda row: row["kind"],
        tenant_field=lambda row: row["z"],
    )
    assert one == WeaviateReference(
        generate_uuid5("Ann"), "writesFor", generate_uuid5("Daily"), "Paper", "acme"
    )


def test_a_collection_that_the_row_names_beats_that_of_the_write():
    row = {"author": "Ann", "papers": {"Author": "Bob"}}
    assert pointed_at(row, to_collection="Paper") == [("Author", generate_uuid5("Bob"))]


def test_text_holds_lists_and_mappings_as_json():
    daily = generate_uuid5("Daily")
    for papers in ("Daily", '["Daily"]', '{"Paper": ["Daily"]}'):
        ((_, found),) = pointed_at({"author": "Ann", "papers": papers}, text=True)
        assert found == daily
    with pytest.raises(RowError, match="no JSON list of ids") as error:
        mapped({"author": "Ann", "papers": "[Daily"}, text=True)
    assert error.value.reason == "invalid_reference"


def test_an_explicit_reference_stays_as_it_is_but_for_the_tenant_of_the_write():
    given = WeaviateReference(A_UUID, "likes", A_UUID, "Paper")
    assert mapped(given) == [given]
    assert mapped(given, tenant="acme") == [given._replace(tenant="acme")]
    assert mapped(given._replace(tenant="own"), tenant="acme")[0].tenant == "own"


def test_what_a_write_gave_is_a_row():
    row = WrittenObject("Author", A_UUID, "acme")
    (one,) = mapped(row, from_field="uuid", to_field=lambda _: "Daily", tenant_field="tenant")
    assert (one.from_uuid, one.tenant) == (A_UUID, "acme")


@pytest.mark.parametrize(
    ("row", "options", "reason", "words"),
    [
        (17, {}, "invalid_row", "a int is no row"),
        ({"papers": "Daily"}, {}, "missing_id", "no field 'author' (from_field=); it has 'papers'"),
        ({"author": None, "papers": "Daily"}, {}, "missing_id", "the field 'author' gave no id"),
        ({"author": 1.5, "papers": "Daily"}, {}, "invalid_uuid", "1.5 is no id"),
        ({"author": "Ann"}, {}, "missing_reference", "no field 'papers' (to_field=)"),
        (
            {"author": "Ann", "papers": "x"},
            {"to_field": lambda row: row["none"]},
            "invalid_row",
            "to_field= raised",
        ),
        (
            {"author": "Ann", "papers": "x"},
            {"tenant_field": "t"},
            "invalid_tenant",
            "no field 't' (tenant_field=)",
        ),
        (
            {"author": "Ann", "papers": "x"},
            {"to_collection": lambda _: "b d"},
            "invalid_collection",
            "'b d' is not",
        ),
        (WeaviateObject({}), {}, "invalid_row", "give it to WriteToWeaviate"),
        (
            FailedObject("r", "e", 0, None, None, None, None, {}, None),
            {},
            "invalid_row",
            "give it to WriteToWeaviate",
        ),
        (
            {"author": "A"},
            {"from_property": None, "from_field": None, "to_field": None},
            "invalid_row",
            "from_property=",
        ),
    ],
)
def test_a_row_that_gives_no_reference_says_why(row, options, reason, words):
    with pytest.raises(RowError) as error:
        mapped(row, **options)
    assert error.value.reason == reason
    assert words in str(error.value)


def test_an_id_that_is_none_is_left_to_the_encoder_alone():
    row = {"author": "Ann", "papers": ["Daily", 1.5, ""]}
    assert [target for _, target in pointed_at(row)] == [generate_uuid5("Daily"), 1.5, ""]


def test_rows_are_not_changed():
    row = {"author": "Ann", "papers": ["Daily", None]}
    mapped(row)
    assert row == {"author": "Ann", "papers": ["Daily", None]}
