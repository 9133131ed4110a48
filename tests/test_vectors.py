from __future__ import annotations

import math
import struct
from array import array

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weaviate_io.vectors import decode_vector, encode_vector, nudge

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = [1.0, -2.5, 0.5, 3.0]
BYTES = struct.pack("<4f", *VALUES)
ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
ROW_BYTES = b"\x02\x00" + struct.pack("<6f", 1, 2, 3, 4, 5, 6)


class ListOfNumbers(list):
    pass


class Tensor:
    """What torch and others look like from outside."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype=dtype)


class TensorWithGradient:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


def masked():
    return np.ma.array([1.0, 2.0], mask=[False, True])


FORMS = {
    "list": VALUES,
    "tuple": tuple(VALUES),
    "list subclass": ListOfNumbers(VALUES),
    "list with an int": [1, -2.5, 0.5, 3],
    "list of float32": [np.float32(v) for v in VALUES],
    "list of float64": [np.float64(v) for v in VALUES],
    "list of float16": [np.float16(v) for v in VALUES],
    "list of floats, one of numpy": [1.0, np.float32(-2.5), 0.5, np.int64(3)],
    "float16": np.array(VALUES, np.float16),
    "float32": np.array(VALUES, np.float32),
    "float64": np.array(VALUES, np.float64),
    "longdouble": np.array(VALUES, np.longdouble),
    "big-endian float32": np.array(VALUES, ">f4"),
    "big-endian float64": np.array(VALUES, ">f8"),
    "every other": np.array([1.0, 9.0, -2.5, 9.0, 0.5, 9.0, 3.0], np.float32)[::2],
    "reversed": np.array(VALUES[::-1], np.float32)[::-1],
    "column": np.array([[v, 9.0] for v in VALUES], np.float32)[:, 0],
    "objects": np.array(VALUES, object),
    "read-only": np.frombuffer(BYTES, "<f4"),
    "subclass of ndarray": np.ma.array(VALUES),
    "array f": array("f", VALUES),
    "array d": array("d", VALUES),
    "bytes": BYTES,
    "bytearray": bytearray(BYTES),
    "memoryview of bytes": memoryview(BYTES),
    "memoryview of float32": memoryview(array("f", VALUES)),
    "memoryview of float64": memoryview(array("d", VALUES)),
    "Series of float64": pd.Series(VALUES),
    "Series of Float32": pd.Series(VALUES, dtype="Float32"),
    "tensor": Tensor(VALUES),
}

ROW_FORMS = {
    "lists": ROWS,
    "tuples": tuple(map(tuple, ROWS)),
    "array": np.array(ROWS, np.float32),
    "array of int8": np.array(ROWS, np.int8),
    "big-endian array": np.array(ROWS, ">f8"),
    "Fortran order": np.asfortranarray(np.array(ROWS, np.float32)),
    "transposed": np.array(ROWS, np.float32).T.copy().T,
    "list of arrays": [np.array(row) for row in ROWS],
    "tuple of array.array": tuple(array("f", row) for row in ROWS),
    "list of bytes": [struct.pack("<2f", *row) for row in ROWS],
    "objects of arrays": pd.Series([np.array(row) for row in ROWS]).to_numpy(),
    "tensor": Tensor(ROWS),
    "list of tensors": [Tensor(row) for row in ROWS],
}

REFUSED = {
    "None": (None, "not None"),
    "text": ("1.0", "not str '1.0'"),
    "a number": (1.0, "not float 1.0"),
    "a numpy number": (np.float32(1), "not float32"),
    "a set": ({1.0}, "not set {1.0}"),
    "a class": (Tensor, "not type"),
    "0-d array": (np.array(1.0), "one dimension (two for a multi-vector), not 0"),
    "3-d array": (np.ones((2, 2, 2)), "one dimension (two for a multi-vector), not 3"),
    "three levels of lists": ([[[1.0]]], "in row 0: a multi-vector has two dimensions"),
    "list of 2-d arrays": ([np.ones((2, 2))], "in row 0: a multi-vector has two dimensions"),
    "list of 0-d arrays": ([np.array(1.0), np.array(2.0)], "in row 0: a vector has one dimension"),
    "empty list": ([], "at least one number; leave it out"),
    "empty array": (np.array([]), "at least one number; leave it out"),
    "empty array.array": (array("f"), "at least one number; leave it out"),
    "empty bytes": (b"", "at least one number; leave it out"),
    "list of an empty list": ([[]], "in row 0: a vector has at least one number"),
    "array of no rows": (np.ones((0, 3)), "at least one number; leave it out"),
    "array of empty rows": (np.ones((3, 0)), "at least one number; leave it out"),
    "list of texts": (["0.1", "0.2"], "holds numbers, not str '0.1'"),
    "text inside": ([0.5, "0.2"], "holds numbers, not str '0.2'"),
    "None first": ([None, 1.0], "holds numbers, not None"),
    "None inside": ([0.5, None], "holds numbers, not None"),
    "None in objects": (np.array([0.5, None], object), "holds numbers, not None"),
    "NA inside": (pd.Series([0.5, pd.NA], dtype="object"), "holds numbers, not NAType"),
    "list inside": ([0.5, [1.0]], "holds numbers, not list [1.0]"),
    "number among rows": ([[0.5], 1.0], "in row 1: a vector is a list of numbers"),
    "bool inside": ([0.5, True], "holds numbers, not bool True"),
    "bool first": ([False, 0.5], "holds numbers, not bool False"),
    "numpy bool inside": ([0.5, np.True_], "holds numbers, not bool"),
    "bools": (np.array([True, False]), "holds numbers, not bool"),
    "complex numbers": (np.array([1j]), "holds numbers, not complex128"),
    "complex list": ([np.complex64(1 + 2j)], "holds numbers, not complex64"),
    "times": (np.array(["2024-01-01"], "datetime64[s]"), "holds numbers, not datetime64[s]"),
    "durations": ([np.timedelta64(1, "s")], "holds numbers, not timedelta64"),
    "strings of numpy": (np.array(["1"]), "holds numbers, not <U1"),
    "array of characters": (array("u", "ab"), "holds numbers, not <U1"),
    "NaN": ([0.5, math.nan], "component 1 is NaN, infinite or too large for float32"),
    "NaN in bytes": (struct.pack("<2f", 0.5, math.nan), "component 1 is NaN"),
    "infinity": (np.array([0.5, 0.5, -math.inf]), "component 2 is NaN, infinite"),
    "NaN in a row": ([[1.0, 2.0], [3.0, math.nan]], "in row 1: component 1 is NaN"),
    "NaN in a 2-d array": (np.array([[1.0, 2.0], [3.0, math.nan]]), "component 3 is NaN"),
    "1e39 in a list": ([0.5, 1e39], "too large for float32"),
    "1e39 in an array": (np.array([0.5, 1e39]), "component 1 is NaN, infinite or too large for float32"),
    "huge int": ([0.5, 10**400], "too large for float32"),
    "odd bytes": (BYTES[:-1], "15 bytes are no whole number of float32 values"),
    "ragged rows": ([[1.0, 2.0], [3.0]], "of one length, not of 1 and 2"),
    "masked component": (masked(), "no masked components"),
    "tensor with gradient": (TensorWithGradient(), "that is no array: Can't call numpy()"),
    "too many dimensions": (
        np.ones(65536, np.float32),
        "65536 dimensions are more than the server can keep (65535)",
    ),
    "too many in a row": (
        np.ones((1, 65536), np.float32),
        "65536 dimensions are more than the server can keep",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_one_vector_gives_the_same_bytes(form):
    assert encode_vector(FORMS[form]) == (BYTES, 4, False)


@pytest.mark.parametrize("form", ROW_FORMS)
def test_every_form_of_a_multi_vector_gives_the_same_bytes(form):
    assert encode_vector(ROW_FORMS[form]) == (ROW_BYTES, 2, True)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", "f2", "f4", "f8"])
def test_every_number_type_of_numpy_is_taken(dtype):
    assert encode_vector(np.array([0, 1, 100], dtype)).data == struct.pack("<3f", 0, 1, 100)


@pytest.mark.parametrize("typecode", "bBhHiIlLqQfd")
def test_every_number_type_of_array_is_taken(typecode):
    assert encode_vector(array(typecode, [0, 1, 100])).data == struct.pack("<3f", 0, 1, 100)


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_vector_is_refused_in_one_line(case):
    value, message = REFUSED[case]
    with pytest.raises(ValueError) as refused:
        encode_vector(value)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_list_that_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="two dimensions"):
        encode_vector(value)


def test_zeros_and_ones_that_are_numbers_are_taken():
    assert encode_vector([0.0, 1.0, 1, 0]).data == struct.pack("<4f", 0, 1, 1, 0)


def test_the_largest_float32_vector_is_finite():
    most = float(np.finfo(np.float32).max)
    assert encode_vector([most] * 768).dimensions == 768


def test_the_value_is_not_changed():
    values = np.array([1.0, 2.0])
    encode_vector(values)
    assert values.dtype == np.float64 and values.tolist() == [1.0, 2.0]


@settings(deadline=None)
@given(st.lists(FLOAT32, min_size=1, max_size=50))
def test_float32_comes_back_exactly(values):
    encoded = encode_vector(values)
    assert encoded.data == struct.pack(f"<{len(values)}f", *values)
    assert decode_vector(encoded.data).tobytes() == encoded.data


@settings(deadline=None)
@given(st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=50))
def test_float64_is_rounded_the_same_from_lists_and_arrays(values):
    assert encode_vector(values) == encode_vector(np.array(values)) == encode_vector(np.float32(values))


def test_a_multi_vector_comes_back_in_two_dimensions():
    assert decode_vector(ROW_BYTES, multi=True).tolist() == ROWS


@settings(deadline=None)
@given(st.lists(FLOAT32, min_size=1, max_size=50))
def test_a_nudge_moves_one_component_by_one_unit_in_the_last_place(values):
    before = np.array(values, np.float32)
    after = decode_vector(nudge(before.tobytes(), multi=False))
    (moved,) = np.flatnonzero(before != after)
    # One unit from one to the other, whichever of the two is larger.
    assert np.nextafter(before[moved], after[moved]) == after[moved]
    assert np.isfinite(after).all()


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [-0.0], [-1.0, 0.5], [3.4028234663852886e38], [-3.4028234663852886e38], [1e-45], [-1e-45]],
)
def test_a_nudge_makes_another_finite_vector_of_extreme_ones(values):
    before = np.array(values, np.float32)
    after = decode_vector(nudge(before.tobytes(), multi=False))
    assert np.count_nonzero(before != after) == 1
    assert np.isfinite(after).all()


def test_a_nudge_leaves_the_head_of_a_multi_vector():
    after = nudge(ROW_BYTES, multi=True)
    assert after[:2] == ROW_BYTES[:2]
    assert np.count_nonzero(decode_vector(after, True) != decode_vector(ROW_BYTES, True)) == 1
