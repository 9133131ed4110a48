"""Columns against rows: whatever a table holds, both ways make the same bytes, or leave a row to the way of rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.strategies import ODD
from weaviate_io import arrow, columns, proto
from weaviate_io.columns import FEW, ColumnEncoder, Rows
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.errors import RowError
from weaviate_io.framing import entry_key
from weaviate_io.mapping import Mapper
from weaviate_io.property_columns import ITEM, entries_of
from weaviate_io.request import Block
from weaviate_io.schema import CollectionSchema
from weaviate_io.tenants import AllowedTenants

SCALARS = ["text", "int", "number", "boolean", "date", "uuid"]
TYPES = [*SCALARS, "blob", *(f"{kind}[]" for kind in SCALARS)]
PROPERTIES = [{"name": kind.replace("[]", "s"), "dataType": [kind]} for kind in TYPES]
NESTED = {
    "name": "object",
    "dataType": ["object"],
    "nestedProperties": [
        {"name": "a", "dataType": ["int"]},
        {"name": "b", "dataType": ["text"]},
        {"name": "dates", "dataType": ["date[]"]},
        {"name": "place", "dataType": ["geoCoordinates"]},
    ],
}
SEVERAL = {**NESTED, "name": "objects", "dataType": ["object[]"]}
DESCRIPTION: dict[str, Any] = {
    "class": "Article",
    "vectorizer": "none",
    "properties": [*PROPERTIES, NESTED, SEVERAL],
}
NAMED = {
    "title": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
    "body": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
    "tokens": {
        "vectorizer": {"none": {}},
        "vectorIndexType": "hnsw",
        "vectorIndexConfig": {"multivector": {"enabled": True}},
    },
}
LIMITS = (1000, 4_000_000)


def schema_of(**more: Any) -> CollectionSchema:
    return CollectionSchema.from_rest({**DESCRIPTION, **more})


def by_rows(table: Any, mapper: Mapper, schema: CollectionSchema, **options: Any) -> list[bytes | str]:
    """The bytes of each row by the way of rows; the reason of one that is refused."""
    encoder = ObjectEncoder(schema, **options)
    found: list[bytes | str] = []
    for row in arrow.rows(table):
        try:
            found.append(encoder.encode(mapper.map(row, schema)).payload)
        except RowError as error:
            found.append(error.reason)
    return found


def encoded(encoder: ColumnEncoder, table: Any, limits: tuple[int, int] = LIMITS) -> Iterator[Any]:
    """A table by columns, be it as small as it may."""
    with mock.patch.object(columns, "FEW", 1):
        yield from encoder.encode_table(table, lambda: limits)


def by_columns(
    table: Any, mapper: Mapper, schema: CollectionSchema, limits: tuple[int, int] = LIMITS, **options: Any
) -> list[bytes | None]:
    """The bytes of each row by the way of columns; None where it is left to the way of rows."""
    found: list[bytes | None] = []
    for part in encoded(ColumnEncoder(mapper, ObjectEncoder(schema, **options), schema), table, limits):
        if isinstance(part, Rows):
            assert part.start == len(found)
            found += [None] * (part.stop - part.start)
        else:
            assert len(part) <= limits[0] and len(part.joined()) == part.size <= limits[1]
            entries = part.opened()
            assert [entry.row for entry in entries] == list(range(len(found), len(found) + len(entries)))
            assert join_request(entries) == join_request(part)
            found += [entry.payload for entry in entries]
    return found


def check(
    table: Any, mapper: Mapper, schema: CollectionSchema, left: int | None = None, **options: Any
) -> list[bytes | None]:
    """Compare the two ways; ``left`` rows are left to the way of rows, and all that are refused."""
    expected, found = by_rows(table, mapper, schema, **options), by_columns(table, mapper, schema, **options)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is None or one == other
    if left is not None:
        assert found.count(None) == left
    return found


def ids(count: int) -> list[str]:
    return [str(uuid.UUID(int=n + 1)) for n in range(count)]


def check_rows(
    rows: list[dict[str, Any]], mapper: Mapper, schema: CollectionSchema, limits: Any = LIMITS, **options: Any
) -> list[bytes | None]:
    """Compare the two ways for rows that are dicts; gives what the way of columns made of each."""
    rows = rows * -(-FEW // len(rows))  # fewer are not encoded together
    encoder = ObjectEncoder(schema, **options)
    found: list[bytes | None] = []
    for part in ColumnEncoder(mapper, encoder, schema).encode_rows(rows, lambda: limits):
        if isinstance(part, Rows):
            found += [None] * (part.stop - part.start)
        else:
            assert part.first_row == len(found)
            assert all(entry.row is None for entry in part.opened())
            found += [entry.payload for entry in part.opened()]
    assert len(found) == len(rows)
    for row, one in zip(rows, found, strict=True):
        try:
            entry = encoder.encode(mapper.map(row, schema))
        except RowError:
            assert one is None
        else:  # fields in another order are other bytes
            assert one is None or proto.BatchObject.FromString(one) == proto.BatchObject.FromString(
                entry.payload
            )
    return found


BY_ID = Mapper("Article", id_field="id")
WITH_VECTOR = Mapper("Article", id_field="id", vector_field="vector")
BY_CONTENT = Mapper("Article", vector_field="vector")

FIRST, LAST = (
    int(dt.datetime(*day, tzinfo=dt.timezone.utc).timestamp()) for day in ((1, 1, 1), (9999, 12, 31))
)
COLUMNS = {
    "text": [
        pa.array(["Dune", "", None, "é" * 200]),
        pa.array(["Dune", "a", None, "b"], pa.large_string()),
        pa.array(["Dune", "a", None, "b"], pa.string_view()),
        pa.array(["Dune", "a", None, "a"]).dictionary_encode(),
        pa.array(["x" * 5_000, "y" * 20_000, None, "z"]),
        pa.array([None, None, None, None], pa.string()),
    ],
    "int": [
        pa.array([1, -(2**53), None, 2**53]),
        pa.array([1, 2, None, 255], pa.uint8()),
        pa.array([1.0, 2.0, None, 4.0]),
        pa.array([Decimal(1), None, Decimal(3), Decimal(4)], pa.decimal128(5)),
    ],
    "number": [
        pa.array([1.5, -0.0, None, 1e300]),
        pa.array([1.5, 0.1, None, 3.0], pa.float32()),
        pa.array(np.array([1.5, 0.1, 2.0, 3.0], np.float16)),
        pa.array([1, 2, None, 4], pa.int16()),
    ],
    "boolean": [pa.array([True, False, None, True])],
    "date": [
        pa.array([0, 1, None, 10**15], pa.timestamp("us", "UTC")),
        pa.array([-1, 10**12, None, 10**12 + 120], pa.timestamp("ms", "UTC")),
        pa.array([LAST, FIRST, None, 1], pa.timestamp("s", "+00:00")),
        pa.array([1_000, 10**9 + 100, None, 10**18 + 120_000], pa.timestamp("ns", "UTC")),
        pa.array([0, LAST + 1, None, 1], pa.timestamp("s", "UTC")),
        pa.array([-(2**63), -(2**63) + 1, None, 2**63 - 1], pa.timestamp("ns", "UTC")),
        pa.array([0, 10**15, None, 1], pa.timestamp("us", "Europe/Berlin")),
        pa.array(["2024-05-01T12:00:00Z", None, "2024-05-01T12:00:00+02:00", None]),
    ],
    "uuid": [
        pa.array([*ids(3), None]),
        pa.array([*ids(3), None], pa.large_string()),
        pa.array([ids(1)[0], None, ids(2)[1].upper(), ids(1)[0]]).dictionary_encode(),
    ],
    "blob": [pa.array([b"abc", None, b"\x00", b"d"])],
    "texts": [
        pa.array([["a", "b"], [], None, ["é"]]),
        pa.array([["a", "b"], [], None, ["x" * 9_000]], pa.large_list(pa.large_string())),
        pa.array([["a", "b"], [], None, ["a"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        pa.array([[], [], None, []], pa.list_(pa.string())),
        pa.array([["a"], ["b"], None, ["c"]], pa.list_(pa.string(), 1)),
        pa.ListArray.from_arrays(
            [0, 1, 2, 3, 4], ["a", "b", "hidden", "c"], mask=pa.array([False, False, True, False])
        ),
    ],
    "ints": [pa.array([[1, 2], [], None, [3]]), pa.array([[1.0, 2.0], [], None, [3.0]])],
    "numbers": [
        pa.array([[1.5], [], None, [2.5, 3.0]]),
        pa.array([[0.1], [], None, [2]], pa.list_(pa.float32())),
    ],
    "booleans": [pa.array([[True], [], None, [False]])],
    "dates": [pa.array([[0, 5], [], None, [10**12]], pa.list_(pa.timestamp("ms", "UTC")))],
    "uuids": [pa.array([ids(2), [], None, ids(1)])],
    "object": [
        pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}, {"a": None, "b": "y"}]),
        pa.array(
            [{"dates": [0, 1]}, None, {"dates": []}, {"dates": None}],
            pa.struct({"dates": pa.list_(pa.timestamp("s", "UTC"))}),
        ),
        pa.array([{"a": 1, "place": {"latitude": 1.0, "longitude": 2.0}}, None, {"a": 2, "place": None}, None]),
        pa.array([{}, None, {}, {}], pa.struct([])),
        pa.array([{"b": "x" * 9_000}, None, {"b": ""}, {"b": "y"}]),
    ],
    "objects": [pa.array([[{"a": 1, "b": "x"}], [], None, [{"a": 2, "b": None}, {"a": None, "b": "y"}]])],
}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        pytest.param(name, one, id=f"{name} from {one.type}")
        for name, columns in COLUMNS.items()
        for one in columns
    ],
)
@pytest.mark.parametrize("part", [slice(0, 4), slice(1, 4), slice(2, 3)], ids=str)
def test_a_column_of_every_type_with_nulls_and_of_slices(name: str, column: Any, part: slice) -> None:
    table = pa.table({"id": ids(len(column)), name: column})
    check(table.slice(part.start, part.stop - part.start), BY_ID, schema_of(), left=0)


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind != "blob"])
def test_the_plain_form_of_a_type_is_encoded_by_kernels(kind: str) -> None:
    known = schema_of().properties[kind]
    column = COLUMNS[kind][0]
    for key in (entry_key(kind), ITEM):
        entries = entries_of(known, key, column, np.zeros(4, bool))
        assert entries is not None
        assert entries.is_null().equals(column.is_null())


VECTORS = {
    "fixed": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    "fixed with nulls": pa.array([[1.0, 2.0], None, [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    "list": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32())),
    "list with nulls": pa.array([[1.0, 2.0], None, [5.0, 6.0]], pa.list_(pa.float32())),
    "fixed with a null whose numbers are null": pa.FixedSizeListArray.from_arrays(
        pa.array([1.0, 2.0, None, None, 5.0, 6.0], pa.float32()), 2, mask=pa.array([False, True, False])
    ),
    "list with a null that has numbers": pa.ListArray.from_arrays(
        [0, 2, 4, 6], pa.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), mask=pa.array([False, True, False])
    ),
    "no vector at all": pa.array([None, None, None], pa.list_(pa.float32())),
    "large list of float64": pa.array([[1.0, 2.0], [0.1, 4.0], [5.0, 6.0]], pa.large_list(pa.float64())),
    "float16": pa.FixedSizeListArray.from_arrays(pa.array(np.array([1, 2, 0.5, 4, 5, 6], np.float16)), 2),
    "integers": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32())),
    "bytes": pa.array([np.array([1, 2], "<f4").tobytes()] * 3),
    "nothing": pa.nulls(3),
}


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("start", [0, 1])
def test_vectors_of_every_form(kind: str, start: int) -> None:
    table = pa.table({"id": ids(3), "text": ["a", "b", "c"], "vector": VECTORS[kind]})
    check(table.slice(start), WITH_VECTOR, schema_of(), left=0)
    check(table.slice(start), WITH_VECTOR, schema_of(), left=0, dimensions={"": 2})


def test_named_vectors_and_multi_vectors_in_the_order_of_rows() -> None:
    description = {key: value for key, value in DESCRIPTION.items() if key != "vectorizer"}
    schema = CollectionSchema.from_rest({**description, "vectorConfig": NAMED})
    table = pa.table(
        {
            "id": ids(3),
            "t": VECTORS["fixed with nulls"],
            "b": VECTORS["list"],
            "m": pa.array([[[1.0, 2.0]], None, [[3.0, 4.0], [5.0, 6.0]]], pa.list_(pa.list_(pa.float32()))),
        }
    )
    mapper = Mapper("Article", id_field="id", vector_field={"title": "t", "body": "b", "tokens": "m"})
    (first, _, _) = check(table, mapper, schema, left=0)
    assert first is not None and first.index(b"body") < first.index(b"title") < first.index(b"tokens")


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b"]),
        pa.array(["a", "a", "b"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.uint32()), ["a", "b"]),
    ],
    ids=["texts", "codes", "unsigned codes"],
)
def test_tenants_by_column_with_one_for_those_that_name_none(column: Any) -> None:
    schema = schema_of(multiTenancyConfig={"enabled": True})
    mapper = Mapper("Article", id_field="id", tenant_field="tenant", tenant="other")
    check(pa.table({"id": ids(3), "tenant": column}), mapper, schema, left=0)
    check(pa.table({"id": ids(2)}), Mapper("Article", id_field="id", tenant="all"), schema, left=0)


def test_names_that_are_no_tenants_or_not_allowed_are_left_to_the_way_of_rows() -> None:
    schema = schema_of(multiTenancyConfig={"enabled": True})
    mapper = Mapper("Article", id_field="id", tenant_field="tenant")
    table = pa.table({"id": ids(4), "tenant": ["a", "not a tenant", None, "b"]})
    assert [one is None for one in check(table, mapper, schema)] == [False, True, True, False]
    encoder = ColumnEncoder(mapper, ObjectEncoder(schema), schema, AllowedTenants.of(["a"]))
    parts = list(encoded(encoder, table.slice(0, 4)))
    assert [type(part) for part in parts] == [Block, Rows, Rows, Rows]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["KEY", "6CB8E707-0FC5-5F55-88D4-D4FED43E64A8", ids(1)[0]]),
        pa.array(["é", "b", "c"], pa.large_string()),
        pa.array(ids(3), pa.large_string()),
        pa.array(ids(3), pa.string_view()),
        pa.array(ids(3)).dictionary_encode(),
        pa.array([1, 2, 3]),
        pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.uuid())
        if hasattr(pa, "uuid")
        else pa.array([7]),
    ],
    ids=["text", "large text", "large UUIDs", "views of UUIDs", "codes of UUIDs", "integers", "uuids"],
)
def test_keys_become_the_same_ids(column: Any) -> None:
    check(pa.table({"id": column, "text": ["a"] * len(column)}), BY_ID, schema_of(), left=0)


def test_ids_of_content_are_the_same_and_where_it_is_no_common_content_the_way_of_rows_makes_them() -> None:
    table = pa.table(
        {
            "text": ["Dune", "a" * 300, None, None, "b", "2\0"],
            "int": [1, 300, None, 7, None, None],
            "texts": [["a"], None, None, [None], [], None],
            "vector": [[0.5]] * 6,
        }
    )
    found = check(table, BY_CONTENT, schema_of())
    assert [one is None for one in found] == [False, False, True, True, True, True]


def test_the_column_of_ids_is_a_property_where_the_schema_has_it() -> None:
    check(pa.table({"uuid": ids(2)}), Mapper("Article", id_field="uuid"), schema_of(), left=0)


@pytest.mark.parametrize("properties", [["text"], {"text": "other"}, ["text", "missing"]], ids=str)
def test_chosen_properties(properties: Any) -> None:
    table = pa.table({"id": ids(2), "text": ["a", "b"], "other": ["c", "d"], "more": [1, 2]})
    check(table, Mapper("Article", id_field="id", properties=properties), schema_of(), left=0)


BAD = {
    "a NaN in a vector": {
        "vector": pa.array([[1.0, 2.0], [np.nan, 1.0], [1.0, 1.0]], pa.list_(pa.float32(), 2))
    },
    "an overflow": {"vector": pa.array([[1.0, 2.0], [1e39, 1.0], [1.0, 1.0]], pa.list_(pa.float64()))},
    "a length": {"vector": pa.array([[1.0, 2.0], [1.0], [1.0, 1.0]], pa.list_(pa.float32()))},
    "a null in a vector": {"vector": pa.array([[1.0, 2.0], [1.0, None], [1.0, 1.0]], pa.list_(pa.float32()))},
    "an integer": {"int": pa.array([1, 2**53 + 1, 3])},
    "an unsigned integer": {"int": pa.array([1, 2**64 - 1, 3], pa.uint64())},
    "a fraction": {"int": pa.array([1.0, 1.5, 2.0])},
    "a number": {"number": pa.array([1.0, np.inf, 2.0])},
    "an integer as a number": {"number": pa.array([1, -(2**53) - 1, 2])},
    "a date": {"date": pa.array(["2024-05-01T12:00:00Z", "tomorrow", None])},
    "text that is none": {
        "text": pa.StringArray.from_buffers(
            3, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xffb")
        )
    },
    "a null beside a null vector": {
        "id": ids(4),
        "text": ["a"] * 4,
        "vector": pa.array([[1.0, 2.0], [1.0, None], [3.0, 4.0], None], pa.list_(pa.float32())),
    },
    "a null among the codes of a list": {
        "texts": pa.ListArray.from_arrays(
            pa.array([0, 1, 3, 4], pa.int32()),
            pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 0], pa.int8()), pa.array(["x", None])),
        )
    },
    "a year": {"date": pa.array([0, LAST + 86_400, 1], pa.timestamp("s", "UTC"))},
    "a date of none": {"date": pa.array([0, 2**62, 1], pa.timestamp("s", "UTC"))},
    "a UUID": {"uuid": pa.array([ids(1)[0], "none", None])},
    "a number in a list": {"numbers": pa.array([[1.0], [1.0, np.nan], [2.0]])},
    "a member": {"object": pa.array([{"a": 1}, {"a": 2**53 + 1}, None])},
    "an item": {"ints": pa.array([[1], [1, None], [2]])},
    "no id": {"id": pa.array([ids(1)[0], None, ids(2)[1]])},
    "no key": {"id": pa.array(["a", "", "b"])},
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_row_is_left_alone_to_the_way_of_rows(kind: str) -> None:
    table = pa.table({"id": ids(3), "text": ["a", "b", "c"]} | BAD[kind])
    mapper = WITH_VECTOR if "vector" in table.column_names else BY_ID
    found = check(table, mapper, schema_of(), dimensions={"": 2})
    assert [one is None for one in found] == [False, True, *[False] * (len(table) - 2)]
    assert isinstance(by_rows(table, mapper, schema_of(), dimensions={"": 2})[1], str)


NO_TEXT = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xffa"))
UNUSUAL = {
    "an unknown property": (pa.table({"id": ids(2), "unknown": [1, 2]}), BY_ID),
    "two columns of a name": (
        pa.Table.from_arrays([pa.array(ids(2)), pa.array(["a", "b"])] * 2, ["id", "text", "id", "text"]),
        BY_ID,
    ),
    "two columns of one property": (pa.table({"id": ids(2), "text": ["a", "b"], "Text": ["a", "b"]}), BY_ID),
    "no column of ids": (pa.table({"text": ["a", "b"]}), BY_ID),
    "no column of vectors": (pa.table({"id": ids(2)}), WITH_VECTOR),
    "ids of content, but none": (pa.table({"id": ids(2)}), Mapper("Article", properties=[])),
    "two fields of a name": (
        pa.table(
            {
                "id": ids(2),
                "object": pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
            }
        ),
        BY_ID,
    ),
    "a function": (pa.table({"id": ids(2)}), Mapper("Article", id_field=lambda row: row["id"])),
    "tenants that are no text": (
        pa.table({"id": ids(2), "tenant": NO_TEXT}),
        Mapper("Article", id_field="id", tenant_field="tenant"),
    ),
    "none of the properties": (pa.table({"id": ids(2)}), Mapper("Article", id_field="id", properties=["text"])),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_is_unusual_goes_by_rows_altogether(kind: str) -> None:
    table, mapper = UNUSUAL[kind]
    assert by_columns(table, mapper, schema_of()) == [None, None]


def test_of_few_rows_in_a_chunk_the_way_of_rows_is_the_shorter() -> None:
    few, many = (pa.table({"id": ids(count), "text": ["a"] * count}) for count in (FEW - 1, FEW))
    encoder = ColumnEncoder(BY_ID, ObjectEncoder(schema_of()), schema_of())
    parts = list(encoder.encode_table(pa.concat_tables([few, many, few]), lambda: LIMITS))
    assert [type(part) for part in parts] == [Rows, Block, Rows]
    assert parts[0] == Rows(0, FEW - 1) and parts[2] == Rows(2 * FEW - 1, 3 * FEW - 2)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_a_column_of_codes_is_as_large_as_what_it_stands_for(kind: pa.DataType) -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * 50_000], kind))
    table = pa.table({"id": ids(200), "text": codes})
    encoder = ColumnEncoder(BY_ID, ObjectEncoder(schema_of()), schema_of())
    with mock.patch.object(encoder, "_encode", wraps=encoder._encode) as encode:
        parts = list(encoder.encode_table(table, lambda: LIMITS))
    assert all(call.args[0].rows * 50_000 < LIMITS[1] for call in encode.call_args_list)
    assert sum(map(len, parts)) == 200


def test_unknown_properties_are_dropped_or_guessed_as_in_rows() -> None:
    table = pa.table({"id": ids(2), "unknown": [1, None], "text": ["a", "b"]})
    check(table, BY_ID, schema_of(), left=0, unknown_properties="drop")
    check(table, BY_ID, CollectionSchema.unknown("Article"), left=0)


def test_blocks_keep_to_their_limits_and_a_row_that_is_larger_is_left_alone() -> None:
    texts = ["x" * 100] * 5 + ["y" * 5_000] + ["z" * 100] * 5
    table = pa.table({"id": ids(11), "text": texts})
    assert [one is None for one in by_columns(table, BY_ID, schema_of(), (3, 1000))] == [
        n == 5 for n in range(11)
    ]
    rows = table.to_pylist() + [{"id": one, "text": "z" * 100} for one in ids(FEW)]
    parts = ColumnEncoder(BY_ID, ObjectEncoder(schema_of()), schema_of()).encode_rows(rows, lambda: (3, 1000))
    assert [len(part) for part in parts if isinstance(part, Block)] == [3, 2] + [3] * (FEW // 3 + 2)


def test_a_table_is_cut_evenly_into_parts_that_make_a_request_each() -> None:
    def lengths(rows: int, length: int) -> list[int]:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(rows * length, np.float32)), length)
        table = pa.table({"id": ids(rows), "vector": vectors})
        encoder = ColumnEncoder(WITH_VECTOR, ObjectEncoder(schema_of()), schema_of())
        return [len(part) for part in encoded(encoder, table, (2_000, 4_000_000)) if isinstance(part, Block)]

    assert lengths(4_000, 128) == [2_000, 2_000]
    assert lengths(2_001, 1) == [1_001, 1_000]
    assert lengths(1_000, 1_536) == [500, 500]
    assert lengths(3, 60_000) == [3]
    assert lengths(40, 60_000) == [14, 14, 12]


def test_columns_that_are_not_written_do_not_count() -> None:
    table = pa.table({"id": ids(1_000), "text": ["a"] * 1_000, "other": ["x" * 50_000] * 1_000})
    encoder = ColumnEncoder(
        Mapper("Article", id_field="id", properties=["text"]), ObjectEncoder(schema_of()), schema_of()
    )
    assert [len(part) for part in encoded(encoder, table)] == [1_000]


def test_a_table_of_several_chunks_and_of_more_rows_than_are_encoded_at_once() -> None:
    chunk = pa.table({"id": ids(2700), "text": [f"text {n}" for n in range(2700)]})
    check(pa.concat_tables([chunk, chunk.slice(5, 3)]), BY_ID, schema_of(), left=0)
    check(chunk.slice(0, 0), BY_ID, schema_of(), left=0)


_scalars: dict[str, tuple[pa.DataType, Any]] = {
    "text": (pa.string(), st.text(max_size=200)),
    "int": (pa.int64(), st.integers(-(2**60), 2**60) | st.integers(-5, 5)),
    "number": (pa.float64(), st.floats()),
    "boolean": (pa.bool_(), st.booleans()),
    "date": (
        pa.timestamp("us", "UTC"),
        st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.timezone.utc)),
    ),
    "texts": (pa.list_(pa.string()), st.lists(st.text(max_size=5) | st.none(), max_size=3)),
    "vector": (
        pa.list_(pa.float32()),
        st.lists(st.floats(width=32), min_size=2, max_size=2) | st.lists(st.floats(width=32), max_size=3),
    ),
    "id": (pa.string(), st.uuids().map(str) | st.text(max_size=3)),
}


@st.composite
def tables(draw: Any) -> pa.Table:
    rows = draw(st.integers(0, 12))
    names = draw(st.sets(st.sampled_from(sorted(set(_scalars) - {"id", "vector"}))))
    columns = {}
    for name in sorted({"id", "vector", *names}):
        kind, values = _scalars[name]
        nullable = values | st.none() if draw(st.booleans()) else values
        columns[name] = pa.array(draw(st.lists(nullable, min_size=rows, max_size=rows)), kind)
    table = pa.table(columns)
    return table.slice(draw(st.integers(0, rows)))


@pytest.mark.parametrize("number", range(len(ODD)))
def test_an_odd_value_costs_no_other_row(number: int) -> None:
    schema = schema_of(multiTenancyConfig={"enabled": True})
    mapper = Mapper("Article", id_field="id", tenant_field="tenant", vector_field="vector")
    good = [{"id": one, "tenant": "a", "vector": [0.5, 1.0], "text": "Dune"} for one in ids(FEW)]
    for name in (*TYPES, "id", "tenant", "vector", "object", "unknown"):
        check_rows([*good, {**good[0], name: ODD[number]}], mapper, schema, unknown_properties="drop")


OPTIONS = st.sampled_from([{}, {"dimensions": {"": 2}}])
MAPPERS = st.sampled_from([WITH_VECTOR, BY_CONTENT])
SOME_LIMITS = st.sampled_from([(1000, 4_000_000), (3, 500)])


@given(tables(), OPTIONS, MAPPERS, SOME_LIMITS)
@settings(max_examples=500, deadline=None)
def test_columns_make_what_rows_make(
    table: pa.Table, options: dict[str, Any], mapper: Mapper, limits: tuple[int, int]
) -> None:
    schema = schema_of()
    expected = by_rows(table, mapper, schema, unknown_properties="drop", **options)
    found = by_columns(table, mapper, schema, limits, unknown_properties="drop", **options)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one is None or one == other


ROWS: dict[str, tuple[list[dict[str, Any]], Mapper]] = {
    "plain values": ([{"id": "a", "text": "Dune", "int": 1, "number": 0.5, "boolean": True}], BY_ID),
    "fields that some lack": (
        [{"id": "a", "text": "Dune"}, {"id": "b", "int": 1}, {"text": None, "id": "c"}],
        BY_ID,
    ),
    "keys and UUIDs": (
        [{"id": 7}, {"id": uuid.UUID(int=5)}, {"id": "6CB8E707-0FC5-5F55-88D4-D4FED43E64A8"}],
        BY_ID,
    ),
    "integers among numbers": ([{"id": "a", "number": 1}, {"id": "b", "number": 0.5}], BY_ID),
    "dates, lists, objects": (
        [
            {
                "id": "a",
                "date": dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc),
                "texts": ["a", "b"],
                "object": {"a": 1},
                "uuid": uuid.UUID(int=7),
                "blob": b"abc",
                "int": np.int32(5),
            }
        ],
        BY_ID,
    ),
    "ids of content": (
        [{"text": "Dune", "int": 1}, {"int": 2, "text": "Emma"}, {"text": "x"}],
        Mapper("Article"),
    ),
    "numpy vectors": ([{"id": "a", "vector": np.array([0.5, 1], np.float32)}], WITH_VECTOR),
    "numpy vectors of float64": ([{"id": "a", "vector": np.array([0.1, 1e300 * 0])}], WITH_VECTOR),
    "vectors of several types": (
        [
            {"id": "a", "vector": np.array([0.5, 1], np.float32)},
            {"id": "b", "vector": np.array([2, 1])},
            {"id": "c", "vector": [0.5, 2]},
            {"id": "d", "vector": None},
            {"id": "e", "vector": np.array([2, 1], ">f4")},
        ],
        WITH_VECTOR,
    ),
    "lists": ([{"id": "a", "vector": [0.5, 1.0]}, {"id": "b", "vector": [1, 2.5]}], WITH_VECTOR),
    "vectors of several lengths": (
        [{"id": "a", "vector": [0.5]}, {"id": "b", "vector": [1.0, 2.0]}],
        WITH_VECTOR,
    ),
    "strided vectors": ([{"id": "a", "vector": np.arange(6, dtype=np.float32)[::2]}], WITH_VECTOR),
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_that_are_dicts_are_encoded_together(kind: str) -> None:
    rows, mapper = ROWS[kind]
    assert None not in check_rows(rows, mapper, schema_of())


def good_and(**bad: Any) -> list[dict[str, Any]]:
    good = {"id": "a", "text": "Dune", "int": 1, "number": 0.5, "vector": [0.5, 1.5]}
    return [good, {**good, **bad}]


BAD_ROWS = {
    "a NaN": good_and(vector=[0.5, float("nan")]),
    "an overflow": good_and(vector=[0.5, 1e39]),
    "a bool in a vector": good_and(vector=[0.5, True]),
    "a bool before the rest": good_and(vector=[True, 0.5]),
    "text in a vector": good_and(vector=[0.5, "x"]),
    "an array of bools": good_and(vector=np.array([True, False])),
    "two dimensions": good_and(vector=np.ones((2, 1), np.float32)),
    "no numbers": good_and(vector=[]),
    "a vector that is none": good_and(vector=7),
    "an integer": good_and(int=2**53 + 1),
    "an integer of many digits": good_and(int=2**70),
    "a fraction": good_and(int=1.5),
    "a bool as an integer": good_and(int=True),
    "an infinite number": good_and(number=float("inf")),
    "a lone surrogate": good_and(text="\ud800"),
    "an integer as text": good_and(text=7),
    "no id": good_and(id=None),
    "an id that is none": good_and(id=1.5),
    "a lone surrogate as id": good_and(id="\ud800"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_one_bad_dict_is_left_alone_to_the_way_of_rows(kind: str) -> None:
    found = check_rows(BAD_ROWS[kind], WITH_VECTOR, schema_of())
    assert [one is None for one in found] == [False, True] * (FEW // 2)


@pytest.mark.parametrize(
    ("rows", "mapper"),
    [
        ([{"id": "a", "vector": [1.0]}, {"id": "b"}], WITH_VECTOR),
        ([{"id": "a", "tenant": "t"}, {"id": "b"}], Mapper("Article", id_field="id", tenant_field="tenant")),
        ([{"id": "a", "text": "x"}, {"id": "b"}], Mapper("Article", id_field="id", properties=["text"])),
        ([{"id": "a", "text": "x"}, {"id": "b", "unknown": 1}], BY_ID),
        ([{"id": "a", "text": "x", "Text": "y"}], BY_ID),
        ([{"id": "a", 7: "x"}], BY_ID),
    ],
    ids=[
        "no vector",
        "no tenant",
        "no property",
        "an unknown property",
        "a property twice",
        "a name that is none",
    ],
)
def test_dicts_that_lack_or_have_other_fields_go_by_rows_altogether(rows: Any, mapper: Mapper) -> None:
    assert set(check_rows(rows, mapper, schema_of())) == {None}


def test_few_dicts_are_sooner_encoded_one_by_one() -> None:
    rows = [{"id": "a"}] * (FEW - 1)
    (part,) = ColumnEncoder(BY_ID, ObjectEncoder(schema_of()), schema_of()).encode_rows(rows, lambda: LIMITS)
    assert part == Rows(0, FEW - 1)


_values: dict[str, Any] = {
    "text": st.text(max_size=20) | st.none() | st.integers(),
    "int": st.integers(-(2**65), 2**65) | st.integers(-5, 5) | st.none() | st.floats() | st.booleans(),
    "number": st.floats() | st.integers(-5, 5) | st.none(),
    "boolean": st.booleans() | st.none() | st.just(np.True_),
    "texts": st.lists(st.text(max_size=5), max_size=3) | st.none(),
    "vector": st.lists(st.floats(width=32) | st.booleans(), max_size=3)
    | st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2).map(np.array)
    | st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2).map(
        lambda v: np.array(v, np.float32)
    )
    | st.none(),
    "id": st.uuids().map(str) | st.text(max_size=3) | st.integers(0, 9),
}


@st.composite
def dicts(draw: Any) -> list[dict[str, Any]]:
    """Rows with much in common, as rows have: a column of one strategy each, some of them with exceptions."""
    optional = sorted(set(_values) - {"id", "vector"})
    names = draw(st.sets(st.sampled_from(optional)))
    rows = draw(st.integers(1, 8))
    table = [{name: draw(_values[name]) for name in ("id", "vector", *sorted(names))} for _ in range(rows)]
    for row in table:
        for name in draw(st.sets(st.sampled_from(optional), max_size=1)):
            row.pop(name, None)
    return table


@given(dicts(), OPTIONS, MAPPERS, SOME_LIMITS)
@settings(max_examples=500, deadline=None)
def test_dicts_together_make_what_they_make_alone(
    rows: list[dict[str, Any]], options: dict[str, Any], mapper: Mapper, limits: tuple[int, int]
) -> None:
    check_rows(rows, mapper, schema_of(), limits, unknown_properties="drop", **options)
