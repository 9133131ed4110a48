from __future__ import annotations

import uuid

import pytest

from tests.references.harness import MEMBER, SCHEMA
from weaviate_io import proto
from weaviate_io.encoding import join_request
from weaviate_io.errors import RowError
from weaviate_io.objects import WeaviateReference
from weaviate_io.references.encoding import ReferenceEncoder, encoded_reference
from weaviate_io.schema import CollectionSchema

ONE, OTHER = "3f2c0000-0000-4000-8000-00000000000a", "3f2c0000-0000-4000-8000-00000000000b"
MEMBERS = CollectionSchema.from_rest(MEMBER)


def encode(*given, schema=SCHEMA):
    return ReferenceEncoder(schema).encode(WeaviateReference(*given))


def test_a_reference_is_sent_in_canonical_form():
    encoded = encode(uuid.UUID(ONE), "WritesFor", OTHER.upper(), "paper")
    assert encoded.reference == WeaviateReference(ONE, "writesFor", OTHER, "Paper", None, "Author")
    assert proto.BatchReference.FromString(encoded.payload) == proto.BatchReference(
        name="writesFor", from_collection="Author", from_uuid=ONE, to_collection="Paper", to_uuid=OTHER
    )


def test_what_was_encoded_comes_back_from_its_bytes():
    for encoded in (
        encode(ONE, "likes", OTHER, "Author"),
        encode(ONE, "reads", OTHER, None, "acme", schema=MEMBERS),
    ):
        again = encoded_reference(encoded.payload)
        assert (again.payload, again.reference, again.key) == (encoded.payload, encoded.reference, encoded.key)
        assert encoded.tenant == encoded.reference.tenant


def test_a_request_is_a_join_of_references():
    encoded = [encode(ONE, "writesFor", OTHER), encode(OTHER, "likes", ONE, "Author")]
    joined = join_request(encoded, proto.CONSISTENCY_LEVELS["ALL"])
    message = proto.BatchReferencesRequest.FromString(joined)
    assert [one.name for one in message.references] == ["writesFor", "likes"]
    assert message.consistency_level == proto.CONSISTENCY_LEVELS["ALL"]
    assert sum(one.size for one in encoded) == len(joined) - 2


def test_only_equal_references_have_one_key():
    given = [
        encode(ONE, "writesFor", OTHER),
        encode(ONE, "kept", OTHER),
        encode(OTHER, "writesFor", ONE),
        encode(ONE, "likes", OTHER, "Paper"),
        encode(ONE, "likes", OTHER, "Author"),
        *(encode(ONE, "reads", OTHER, None, tenant, schema=MEMBERS) for tenant in ("a", "b")),
    ]
    assert len({one.key for one in given}) == len(given)
    assert encode(ONE.upper(), "writesFor", OTHER, "Paper").key == given[0].key


@pytest.mark.parametrize(
    ("given", "schema", "reason", "words"),
    [
        ((ONE, "nope", OTHER), SCHEMA, "unknown_property", "'writesFor', 'kept', 'likes'"),
        ((ONE, None, OTHER), SCHEMA, "unknown_property", "has no property None"),
        (
            (ONE, "name", OTHER),
            SCHEMA,
            "invalid_reference",
            "property 'name' of Author is text, not a reference",
        ),
        ((ONE, "likes", OTHER), SCHEMA, "invalid_reference", "points into 'Paper', 'Author'; say which"),
        ((ONE, "likes", OTHER, "Member"), SCHEMA, "invalid_reference", "not 'Member'"),
        ((ONE, "kept", OTHER, "Author"), SCHEMA, "invalid_reference", "points into 'Paper', not 'Author'"),
        ((ONE, "kept", OTHER, "b d"), SCHEMA, "invalid_reference", "not a collection name"),
        ((ONE, "kept", OTHER, 17), SCHEMA, "invalid_reference", "not a collection name"),
        (("Ann", "kept", OTHER), SCHEMA, "invalid_uuid", "from_uuid 'Ann' is not a UUID"),
        ((ONE, "kept", 1.5), SCHEMA, "invalid_uuid", "to_uuid 1.5 is not a UUID"),
        ((None, "kept", OTHER), SCHEMA, "invalid_uuid", "from_uuid None"),
        ((ONE, "kept", OTHER, None, "acme"), SCHEMA, "invalid_tenant", "has no tenants"),
        ((ONE, "reads", OTHER), MEMBERS, "invalid_tenant", "has tenants; say whose"),
        ((ONE, "reads", OTHER, None, "b d"), MEMBERS, "invalid_tenant", "not a tenant name"),
    ],
)
def test_what_cannot_be_a_reference_is_refused_with_its_reason(given, schema, reason, words):
    with pytest.raises(RowError) as error:
        encode(*given, schema=schema)
    assert error.value.reason == reason
    assert words in str(error.value)
