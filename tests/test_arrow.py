from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weaviate_io.arrow import rows

UTC = datetime.timezone.utc


def values(array: pa.Array | pa.ChunkedArray) -> list:
    return [row["x"] for row in rows(pa.table({"x": array}))]


def plain(value):
    """Arrays as lists, for comparison."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


VECTOR_TYPES = [
    pa.list_(pa.float32()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float16()),
    pa.list_(pa.float32(), 2),
    pa.list_view(pa.float32()),
    pa.large_list_view(pa.float64()),
]


@pytest.mark.parametrize("kind", VECTOR_TYPES, ids=str)
@pytest.mark.parametrize("start", [0, 1, 2])
def test_lists_of_floats_are_arrays_also_of_slices(kind, start):
    array = pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, 6.0]], kind)
    found = values(array.slice(start))
    assert [plain(value) for value in found] == array.slice(start).to_pylist()
    assert all(value is None or value.dtype == kind.value_type.to_pandas_dtype() for value in found)


def test_vectors_are_views_of_arrow_memory():
    array = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    (vector,) = values(array)
    assert not vector.flags.owndata and not vector.flags.writeable


def test_only_lists_with_nulls_in_them_are_lists():
    first, second = values(pa.array([[1.0, None], [3.0, 4.0]], pa.list_(pa.float32(), 2)))
    assert first == [1.0, None]
    assert isinstance(second, np.ndarray)


def test_multi_vectors_are_lists_of_arrays():
    (found,) = values(pa.array([[[1.0, 2.0], [3.0, 4.0]]], pa.list_(pa.list_(pa.float32()))))
    assert [type(vector) for vector in found] == [np.ndarray, np.ndarray]
    assert plain(found) == [[1.0, 2.0], [3.0, 4.0]]


PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    "kind, value, expected",
    [
        (pa.timestamp("s"), 0, datetime.datetime(1970, 1, 1)),
        (pa.timestamp("ms", "UTC"), 1, datetime.datetime(1970, 1, 1, 0, 0, 0, 1_000, UTC)),
        (pa.timestamp("us", "Europe/Paris"), 0, datetime.datetime(1970, 1, 1, 1, tzinfo=PARIS)),
        (pa.timestamp("ns", "UTC"), 1_000, datetime.datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
        (pa.timestamp("ns", "UTC"), 1, "1970-01-01T00:00:00.000000001Z"),
        (pa.timestamp("ns", "Europe/Paris"), -1, "1969-12-31T23:59:59.999999999Z"),
        (pa.timestamp("ns"), 1, "1970-01-01T00:00:00.000000001"),
        (pa.timestamp("s", "UTC"), 253_402_300_800, "10000-01-01T00:00:00Z"),
        (pa.timestamp("s", "America/New_York"), -62_135_596_800, datetime.datetime(1, 1, 1, tzinfo=UTC)),
        (pa.date32(), 1, datetime.date(1970, 1, 2)),
        (pa.date32(), 10**6 * 3, "10183-09-21"),
        (pa.date64(), 86_400_000, datetime.date(1970, 1, 2)),
        (pa.date64(), 1, "1970-01-01T00:00:00.001"),
        (pa.time32("s"), 1, datetime.time(0, 0, 1)),
        (pa.time64("ns"), 1_000, datetime.time(0, 0, 0, 1)),
        (pa.time64("ns"), 86_399_999_999_999, "23:59:59.999999999"),
        (pa.duration("ns"), 1_000, datetime.timedelta(microseconds=1)),
        (pa.duration("ns"), 1, "1 ns"),
    ],
    ids=str,
)
def test_times_are_never_cut(kind, value, expected):
    integer = pa.int32() if kind.bit_width == 32 else pa.int64()
    array = pa.array([value, None], integer).view(kind)
    found = values(array)
    assert found == [expected, None]
    assert type(found[0]) is type(expected)


def test_a_time_that_fits_stays_a_datetime_beside_one_that_does_not():
    array = pa.array([1, 1_000], pa.timestamp("ns", "UTC"))
    assert [type(value) for value in values(array)] == [str, datetime.datetime]


SIMPLE = [
    pa.array([True, None]),
    pa.array([2**64 - 1, None], pa.uint64()),
    pa.array([1.5, None], pa.float32()),
    pa.array([1.5, None], pa.float16()),
    pa.array(["é", None], pa.large_string()),
    pa.array(["é", None], pa.string_view()),
    pa.array([b"\xff", None], pa.large_binary()),
    pa.array([b"ab", None], pa.binary(2)),
    pa.array([Decimal("1.10"), None]),
    pa.array([Decimal("1.10"), None], pa.decimal256(40, 2)),
    pa.nulls(2),
    pa.array(["a", "b", "a", None]).dictionary_encode(),
    pa.array([["a", "b"], None, [], [None]]),
    pa.array([["a", "b"], None, ["c", None]], pa.list_(pa.string(), 2)),
    pa.array([[{"a": 1}], None, [None]]),
    pa.array([{"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}]),
    pa.array([{}, None], pa.struct([])),
    pa.array([[["a"], []], None, [None]]),
]


@pytest.mark.parametrize("array", SIMPLE, ids=lambda array: str(array.type))
@pytest.mark.parametrize("start", [0, 1])
def test_other_types_are_as_pyarrow_gives_them(array, start):
    found = values(array.slice(start))
    assert found == array.slice(start).to_pylist()
    assert [type(value) for value in found] == [type(value) for value in array.slice(start).to_pylist()]


def test_types_within_types():
    kind = pa.struct({"at": pa.timestamp("ns", "UTC"), "vs": pa.list_(pa.list_(pa.float32(), 1))})
    array = pa.array([None, {"at": 1, "vs": [[1.0], None]}, {"at": None, "vs": None}], kind).slice(1)
    assert plain(values(array)) == [
        {"at": "1970-01-01T00:00:00.000000001Z", "vs": [[1.0], None]},
        {"at": None, "vs": None},
    ]


def test_a_key_that_comes_twice_is_not_dropped():
    array = pa.array([[("a", 1), ("a", 2)], [("a", 3)], None], pa.map_(pa.string(), pa.int64()))
    assert values(array) == [[("a", 1), ("a", 2)], {"a": 3}, None]


def test_two_fields_of_one_name_are_refused():
    array = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    with pytest.raises(ValueError, match="two fields of a struct are named 'a'; rename one of them"):
        values(array)


def test_a_zone_that_nobody_knows_is_utc():
    array = pa.array([0], pa.timestamp("us", "Nowhere/At_All"))
    assert values(array) == [datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)]


NESTED_CODES = {
    "codes of views": pa.DictionaryArray.from_arrays(
        pa.array([1, None, 0]), pa.array(["a", "b"], pa.string_view())
    ),
    "runs of views": pa.RunEndEncodedArray.from_arrays([1, 2, 3], pa.array(["b", None, "a"], pa.string_view())),
    "runs of codes": pa.RunEndEncodedArray.from_arrays(
        [1, 2, 3], pa.array(["b", None, "a"]).dictionary_encode()
    ),
}


@pytest.mark.parametrize("kind", NESTED_CODES)
def test_codes_and_runs_of_any_type(kind):
    array = NESTED_CODES[kind]
    assert values(array) == ["b", None, "a"]
    assert values(array.slice(1)) == [None, "a"]


def test_maps_are_dicts():
    array = pa.array([[("a", 1)], None, [], [("b", None), ("c", 3)]], pa.map_(pa.string(), pa.int8()))
    assert values(array) == [{"a": 1}, None, {}, {"b": None, "c": 3}]
    assert values(array.slice(2)) == [{}, {"b": None, "c": 3}]


def test_extension_types():
    text = "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8"
    assert values(pa.array([uuid.UUID(text).bytes, None], pa.uuid())) == [text, None]
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    assert plain(values(tensors.slice(1))) == [[[4, 5], [6, 7]]]
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8()))
    assert values(flags) == [True, False, None]
    assert values(pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}"]))) == ["{}"]


def test_run_end_encoding_and_text_that_is_not_utf8():
    assert values(pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])) == ["a", "a", "b"]
    raw = pa.array([b"a", b"\xff", None]).view(pa.string())
    assert values(raw) == ["a", b"\xff", None]


def test_chunked_and_sliced_tables():
    table = pa.table({"n": pa.chunked_array([[1, 2], [], [3]]), "t": pa.chunked_array([["a"], ["b", "c"]])})
    assert list(rows(table)) == [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}, {"n": 3, "t": "c"}]
    assert list(rows(table.slice(1, 1))) == [{"n": 2, "t": "b"}]
    batch = pa.record_batch({"n": range(2_500)})
    assert [row["n"] for row in rows(batch.slice(999))] == list(range(999, 2_500))


def test_empty_tables_have_no_rows():
    assert list(rows(pa.table({}))) == []
    assert list(rows(pa.table({"x": pa.array([], pa.list_(pa.float32()))}))) == []


def test_two_columns_of_one_name_are_refused():
    table = pa.table([[1], [2]], names=["a", "a"])
    with pytest.raises(ValueError, match="two columns are named 'a'"):
        list(rows(table))


floats = st.floats(width=32, allow_nan=False)
columns = st.one_of(
    st.tuples(st.just(pa.list_(pa.float32())), st.lists(st.none() | st.lists(st.none() | floats))),
    st.tuples(
        st.just(pa.list_(pa.float32(), 2)), st.lists(st.none() | st.lists(floats, min_size=2, max_size=2))
    ),
    st.tuples(st.just(pa.large_list(pa.list_(pa.float32()))), st.lists(st.none() | st.lists(st.lists(floats)))),
    st.tuples(
        st.just(pa.struct({"a": pa.list_(pa.string())})),
        st.lists(st.none() | st.fixed_dictionaries({"a": st.none() | st.lists(st.text(max_size=2))})),
    ),
)


@given(columns, st.integers(0, 5), st.integers(0, 5))
def test_slices_of_anything_equal_what_was_put_in(column, start, length):
    kind, items = column
    array = pa.array(items, kind).slice(start, length)
    assert plain(values(array)) == items[start : start + length]
