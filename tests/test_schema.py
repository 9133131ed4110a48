from __future__ import annotations

import pickle
from typing import Any

import pytest

from weaviate_io.schema import (
    DEFAULT_VECTOR,
    TENANT_NAME,
    CollectionSchema,
    Property,
    VectorIndex,
    collection_name,
    property_name,
)

# Answers of a server (1.39.3), without the index settings that nothing reads.
INDEX = {"distance": "cosine", "multivector": {"aggregation": "maxSim", "enabled": False}, "skip": False}
LEGACY = {
    "class": "Article",
    "multiTenancyConfig": {"autoTenantActivation": False, "autoTenantCreation": False, "enabled": False},
    "properties": [
        {"dataType": ["text"], "indexFilterable": True, "name": "title", "tokenization": "word"},
        {
            "dataType": ["object"],
            "name": "o",
            "nestedProperties": [
                {"dataType": ["int[]"], "indexFilterable": True, "name": "n"},
                {
                    "dataType": ["object[]"],
                    "name": "deep",
                    "nestedProperties": [{"dataType": ["date"], "name": "d"}],
                },
            ],
        },
        {"dataType": ["Article"], "indexFilterable": True, "name": "self"},
    ],
    "vectorIndexConfig": INDEX,
    "vectorIndexType": "hnsw",
    "vectorizer": "none",
    "replicationConfig": {"deletionStrategy": "TimeBasedResolution", "factor": 1, "asyncEnabled": False},
}
SKIPPED = {
    "class": "Bare",
    "multiTenancyConfig": {"enabled": False},
    "properties": None,
    "vectorIndexConfig": {**INDEX, "skip": True},
    "vectorIndexType": "hnsw",
    "vectorizer": "none",
}
VECTORIZED = {
    "class": "Made",
    "moduleConfig": {"text2vec-bigram": {"vectorizeClassName": True}},
    "properties": [{"dataType": ["text"], "moduleConfig": {"text2vec-bigram": {"skip": False}}, "name": "t"}],
    "vectorIndexConfig": INDEX,
    "vectorIndexType": "hnsw",
    "vectorizer": "text2vec-bigram",
}
NAMED = {
    "class": "Named",
    "multiTenancyConfig": {"autoTenantActivation": False, "autoTenantCreation": False, "enabled": True},
    "properties": [
        {"dataType": ["Article", "Bare"], "name": "both"},
        {"dataType": ["blobHash"], "name": "h"},
    ],
    "vectorConfig": {
        "colbert": {
            "vectorIndexConfig": {**INDEX, "multivector": {"aggregation": "maxSim", "enabled": True}},
            "vectorIndexType": "hnsw",
            "vectorizer": {"none": {}},
        },
        "flat": {
            "vectorIndexConfig": {"distance": "cosine"},
            "vectorIndexType": "flat",
            "vectorizer": {"none": {}},
        },
        "made": {
            "vectorIndexConfig": INDEX,
            "vectorIndexType": "hnsw",
            "vectorizer": {"text2vec-bigram": {"vectorizeClassName": True}},
        },
        "skipped": {
            "vectorIndexConfig": {**INDEX, "skip": True},
            "vectorIndexType": "hnsw",
            "vectorizer": {"none": {}},
        },
    },
}


def test_properties_with_their_types_nesting_and_references():
    schema = CollectionSchema.from_rest(LEGACY)
    deep = Property("deep", "object[]", {"d": Property("d", "date")})
    assert schema.name == "Article"
    assert schema.properties == {
        "title": Property("title", "text"),
        "o": Property("o", "object", {"n": Property("n", "int[]"), "deep": deep}),
        "self": Property("self", "reference", targets=("Article",)),
    }


def test_a_reference_keeps_all_its_targets():
    assert CollectionSchema.from_rest(NAMED).properties["both"].targets == ("Article", "Bare")


@pytest.mark.parametrize("properties", [{}, {"properties": None}, {"properties": []}])
def test_a_collection_without_properties(properties):
    assert CollectionSchema.from_rest({"class": "Bare", **properties}).properties == {}


@pytest.mark.parametrize(
    ("description", "vectors"),
    [
        (LEGACY, [VectorIndex(DEFAULT_VECTOR)]),
        (SKIPPED, [VectorIndex(DEFAULT_VECTOR, index_type="none")]),
        (VECTORIZED, [VectorIndex(DEFAULT_VECTOR, vectorizer="text2vec-bigram")]),
        ({"class": "Old"}, [VectorIndex(DEFAULT_VECTOR)]),
        (
            NAMED,
            [
                VectorIndex("colbert", multi=True),
                VectorIndex("flat", index_type="flat"),
                VectorIndex("made", vectorizer="text2vec-bigram"),
                VectorIndex("skipped", index_type="none"),
            ],
        ),
    ],
)
def test_vectors_with_their_kind_maker_and_index(description, vectors):
    assert CollectionSchema.from_rest(description).vectors == {v.name: v for v in vectors}


@pytest.mark.parametrize(
    ("description", "multi_tenant", "makes", "indexes"),
    [
        (LEGACY, False, False, True),
        (SKIPPED, False, False, False),
        (VECTORIZED, False, True, True),
        (NAMED, True, True, True),
        ({"class": "Old", "multiTenancyConfig": None}, False, False, True),
    ],
)
def test_what_a_write_has_to_know(description, multi_tenant, makes, indexes):
    schema = CollectionSchema.from_rest(description)
    assert (schema.multi_tenant, schema.makes_vectors, schema.indexes_vectors) == (multi_tenant, makes, indexes)


def test_only_auto_schema_leaves_a_collection_open_ended():
    assert not CollectionSchema.from_rest(LEGACY).open_ended
    assert CollectionSchema.from_rest(LEGACY, open_ended=True).open_ended
    unknown = CollectionSchema.unknown("New")
    assert (unknown.open_ended, unknown.properties, list(unknown.vectors)) == (True, {}, [DEFAULT_VECTOR])


def test_the_same_description_gives_equal_schemas_so_that_a_change_is_seen():
    assert CollectionSchema.from_rest(NAMED) == CollectionSchema.from_rest(NAMED)
    assert CollectionSchema.from_rest(LEGACY) != CollectionSchema.from_rest({**LEGACY, "properties": []})


def test_a_schema_pickles():
    schema = CollectionSchema.from_rest(NAMED)
    assert pickle.loads(pickle.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("given", "expected"),
    [("Article", "Article"), ("article", "Article"), ("A_1", "A_1"), ("x", "X"), ("A" * 255, "A" * 255)],
)
def test_collection_names_are_those_that_the_server_keeps(given, expected):
    assert collection_name(given) == expected


@pytest.mark.parametrize(
    "given", ["", "1a", "_a", "a-b", "a b", "A\n", "Ä", "ß", "ſa", "A" * 256, None, 5, b"Article", ["Article"]]
)
def test_what_is_no_collection_name_is_refused(given):
    with pytest.raises(ValueError, match="is not a collection name: use a capital letter"):
        collection_name(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Title", "title"),
        ("title", "title"),
        ("URL", "uRL"),
        ("", ""),
        ("_X", "_X"),
        ("\u212aelvin", "\u212aelvin"),
    ],
)
def test_property_names_are_those_that_the_server_keeps(given, expected):
    assert property_name(given) == expected


@pytest.mark.parametrize(("name", "valid"), [("a", True), ("A-b_9" * 12, True), ("a" * 65, False), ("", False)])
def test_tenant_names(name, valid):
    assert bool(TENANT_NAME.fullmatch(name)) == valid


def test_references_tell_their_targets_and_whether_they_take_duplicates():
    schema = CollectionSchema.from_rest(
        {
            "class": "Author",
            "properties": [
                {"name": "once", "dataType": ["Paper"], "disableDuplicatedReferences": True},
                {"name": "often", "dataType": ["Paper", "Book"]},
            ],
        }
    )
    assert schema.properties["once"] == Property(
        "once", "reference", targets=("Paper",), unique_references=True
    )
    assert schema.properties["often"] == Property("often", "reference", targets=("Paper", "Book"))


@pytest.mark.parametrize(
    ("kind", "config", "compressed", "cutoff"),
    [
        ("hnsw", {}, False, 40_000),
        ("hnsw", {"rq": {"enabled": True}, "bq": {"enabled": False}, "flatSearchCutoff": 0}, True, 0),
        ("dynamic", {"hnsw": {"pq": {"enabled": True}, "flatSearchCutoff": 7}, "flat": {}}, True, 7),
    ],
)
def test_what_a_search_of_an_index_scans(kind: str, config: Any, compressed: bool, cutoff: int) -> None:
    description = {"class": "Article", "vectorIndexType": kind, "vectorIndexConfig": config}
    index = CollectionSchema.from_rest(description).vectors[""]
    assert (index.compressed, index.flat_search_cutoff, index.index_type) == (compressed, cutoff, kind)
