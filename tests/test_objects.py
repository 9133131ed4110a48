from __future__ import annotations

import pickle
import uuid
from typing import Any

import pytest
from apache_beam import coders
from hypothesis import given, settings
from hypothesis import strategies as st

from weaviate_io.objects import (
    FailedObject,
    FailedReference,
    SourceRow,
    WeaviateObject,
    WeaviateReference,
    WrittenObject,
    generate_uuid5,
    uuid5_text,
)

FAILED = FailedObject("invalid_vector", "it is empty", 0, "Article", None, None, None, None, "a.csv: line 2")

VECTORS = [
    (("abc",), "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8"),
    (("abc", "Article"), "568f8024-7da4-5476-9824-c9a9e60f665d"),
    ((1,), "b04965e6-a9bb-591f-8f8a-1adcb2c8dc39"),
    ((1.0,), "9550abfc-ee46-5d4a-8ee1-ccb0241ffe38"),
    ((None,), "2155195b-5979-5a02-940e-44a63bc4927c"),
    ((True,), "eafa9d86-1a66-5dda-8697-5ccceb4fcf60"),
    (("é",), "ebfe0af8-3997-5ade-b634-ba92cf69f557"),
    (({"title": "x"},), "01bef4f5-6384-5317-ad20-d1b35ec69a71"),
]


@pytest.mark.parametrize(("arguments", "expected"), VECTORS)
def test_ids_are_those_of_the_official_client(arguments, expected):
    assert generate_uuid5(*arguments) == expected


def test_namespace_and_identifier_are_joined_without_a_separator():
    assert generate_uuid5("b", "a") == generate_uuid5("ab")


@settings(deadline=None)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()), st.text())
def test_ids_follow_the_standard_library(identifier, namespace):
    name = namespace + str(identifier)
    assert generate_uuid5(identifier, namespace) == str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@settings(deadline=None)
@given(st.uuids(), st.binary())
def test_uuid5_text_is_version_5_of_any_bytes(namespace, name):
    made = uuid.UUID(uuid5_text(namespace.bytes, name))
    assert (made.version, made.variant) == (5, uuid.RFC_4122)
    assert uuid5_text(namespace.bytes, name) == str(made)


def test_the_text_of_an_identifier_is_str_and_not_format():
    class Key:
        def __str__(self):
            return "abc"

        def __format__(self, spec):
            return "other"

    assert generate_uuid5(Key()) == generate_uuid5("abc")


@pytest.mark.parametrize(
    "row",
    [
        WrittenObject("Article", "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8", None),
        WrittenObject("Article", "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8", "anna"),
        FAILED,
        FAILED._replace(row={"title": "x"}, position=None),
        FAILED._replace(row=SourceRow({"title": "x"}, "a.csv: line 2", True)),
        FAILED._replace(object=WeaviateObject({"title": "x"}, vector=[0.5], tenant="anna")),
    ],
)
def test_output_rows_cross_a_shuffle_as_what_they_are(row):
    coder = coders.registry.get_coder(type(row))
    assert isinstance(coder, coders.RowCoder)
    decoded = coder.decode(coder.encode(row))
    assert decoded == row
    if hasattr(coders.registry, "register_row"):  # Beam 2.73 makes classes of its own
        assert type(decoded) is type(row)
        assert type(getattr(decoded, "object", None)) is type(getattr(row, "object", None))
    assert type(getattr(decoded, "row", None)) is type(getattr(row, "row", None))


def test_objects_pickle():
    given = WeaviateObject({"title": "x"}, vector={"a": [0.5]}, references={"author": ["1"]})
    assert pickle.loads(pickle.dumps(given)) == given


@pytest.mark.parametrize("kind", [WrittenObject, FailedObject, WeaviateReference, FailedReference])
def test_what_comes_out_is_coded_field_by_field_by_its_type(kind):
    schema = coders.registry.get_coder(kind).schema
    untyped = {field.name for field in schema.fields if field.type.WhichOneof("type_info") == "logical_type"}
    assert untyped == {name for name, type_ in kind.__annotations__.items() if type_ is Any}


def test_the_schema_of_what_was_written_has_the_same_id_in_every_process_and_release():
    schema = coders.registry.get_coder(WrittenObject).schema
    assert schema.id == "67cb1040-1d8a-5128-9ff3-fa8439561583"
