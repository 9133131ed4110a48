"""Whatever an element holds, it becomes the bytes that mean it, or a failure of one line that can be kept."""

from __future__ import annotations

import datetime as dt
from typing import Any

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import ODD, VALUES
from tests.write.test_poison import LISTS, TYPES, field, schema
from weaviate_io import WeaviateObject, WeaviateReference, proto
from weaviate_io.dead_letter import failed_reference_row, failed_row
from weaviate_io.encoding import ObjectEncoder, decode_object
from weaviate_io.errors import RowError, costs_its_row
from weaviate_io.failures import failure_from_json, failure_to_json
from weaviate_io.mapping import Mapper, unwrap
from weaviate_io.references.encoding import ReferenceEncoder
from weaviate_io.references.mapping import ReferenceMapper
from weaviate_io.schema import CollectionSchema

STRICT = CollectionSchema.from_rest(schema("Article"))
GUESSING = CollectionSchema(STRICT.name, STRICT.properties, STRICT.vectors, open_ended=True)
LINKED = CollectionSchema.from_rest(
    {"class": "Article", "properties": [{"name": "by", "dataType": ["Person"]}]}
)
PROPERTIES = [*map(field, TYPES + LISTS), "object", "parts", "label"]
MAPPERS = [
    Mapper("Article", id_field="key", vector_field={"one": "one", "many": "many"}),
    Mapper("Article", vector_field={"one": "one"}, tenant_field="who", properties=PROPERTIES),
    Mapper("Article", id_field=["key", "label"]),
    Mapper(lambda row: row["key"], properties=lambda row: row["label"], references_field=lambda row: row["object"]),
    Mapper("Article", id_field="key", references_field={"by": "object"}),
]  # fmt: skip
KEYS = st.sampled_from([*PROPERTIES, "key", "one", "many", "who", "unknown", "", 1, None, "\ud800", "P_text"])
ROWS = st.one_of(
    st.dictionaries(KEYS, VALUES, max_size=4).map(lambda row: {"key": "k", **row}),
    VALUES,
    st.builds(
        WeaviateObject,
        st.dictionaries(KEYS, VALUES, max_size=2) | VALUES,
        VALUES,
        VALUES,
        VALUES,
        VALUES,
        VALUES,
    ),
)


def check_failure(failure: Any) -> None:
    assert failure.reason and failure.error and len(failure.error.splitlines()) == 1, failure.error
    assert len(failure.error) < 2_000
    coder = beam.coders.registry.get_coder(type(failure))
    assert type(coder.decode(coder.encode(failure))) is type(failure)
    assert type(failure_from_json(failure_to_json(failure))) is type(failure)


def check(
    element: Any, mapper: Mapper, text: bool = False, of: CollectionSchema = STRICT, zone: Any = None
) -> None:
    source, mapped = unwrap(element), None
    encoder = ObjectEncoder(of, timezone=zone)
    try:
        mapper.destination(source.row)
        mapped = mapper.map(source.row, of, text)
        payload = encoder.encode(mapped).payload
    except RowError as error:
        check_failure(failed_row(error, source, None if text else mapped))
        return
    message = proto.BatchObject.FromString(payload)
    again = encoder.encode(decode_object(payload, of)).payload  # what its bytes say is what they were made of
    assert proto.BatchObject.FromString(again) == message


@given(ROWS, st.sampled_from(MAPPERS), st.booleans(), st.sampled_from([STRICT, GUESSING]), st.booleans())
def test_any_row(row: Any, mapper: Mapper, text: bool, of: CollectionSchema, in_utc: bool) -> None:
    check(row, mapper, text, of, dt.timezone.utc if in_utc else None)


@pytest.mark.parametrize("number", range(len(ODD)))
def test_an_odd_value_anywhere(number: int) -> None:
    value = ODD[number]
    for of in (STRICT, GUESSING):
        for name in (*PROPERTIES, "one", "many", "key", "unknown"):
            check({"key": "k", "label": "l", name: value}, MAPPERS[0], of=of)
    for mapper in MAPPERS:
        check({"other": value, "p_int": 10**5000}, mapper)  # no coder takes the one, and repr not the other
        for name in ("key", "label", "object", "who"):
            check({"key": "Article", "label": {"label": "l"}, "object": None, "who": None, name: value}, mapper)
    for name in WeaviateObject._fields:
        check(WeaviateObject({"label": "l"})._replace(**{name: value}), MAPPERS[0])
    check(value, MAPPERS[0])


def check_reference(element: Any, mapper: ReferenceMapper) -> None:
    source, given = unwrap(element), None
    encoder = ReferenceEncoder(LINKED)
    try:
        mapper.destination(source.row)
        for given in map_all(mapper, source.row):
            message = proto.BatchReference.FromString(encoder.encode(given).payload)
            assert message.name == "by" and message.to_collection == "Person"
    except RowError as error:
        check_failure(failed_reference_row(error, source, given))


def map_all(mapper: ReferenceMapper, row: Any) -> list[WeaviateReference]:
    return costs_its_row(lambda: list(mapper.map(row)))()


@given(
    st.fixed_dictionaries({"of": VALUES | st.just("a"), "to": VALUES, "who": VALUES | st.none()})
    | st.builds(WeaviateReference, VALUES, VALUES | st.just("by"), VALUES, VALUES, VALUES, VALUES)
    | VALUES
)
def test_any_reference(row: Any) -> None:
    check_reference(row, ReferenceMapper("Article", "by", "of", "to", None, "who", None))
