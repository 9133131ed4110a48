"""Vectors of any common form to the bytes that Weaviate stores: little-endian float32.

A vector is checked as a whole, never float by float: numpy tells at once whether every component is finite.
float64 is rounded to float32, which is what the server keeps; what overflows float32 is refused.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple, Optional

import numpy as np

from weaviate_io import wire

_FLOAT32 = np.dtype("<f4")
_FLOATS = (_FLOAT32, np.dtype("<f8"))
_NO_NUMBERS = (bool, np.timedelta64)  # though they are subclasses of int and numpy's integer
_MAX_DIMENSIONS = 65535  # the server's storage and the wire of multi-vectors have 16 bits for it
_REAL = (int, float, np.integer, np.floating)
_EMPTY = "a vector has at least one number; leave it out to write the object without it"
_THREE = "a multi-vector has two dimensions, not three or more"
_OVERFLOW = "a number is too large for float32, which the server stores"
_packers: dict[int, Any] = {}


class EncodedVector(NamedTuple):
    """Bytes as the wire wants them, and the number of dimensions; ``multi`` for a list of token vectors."""

    data: bytes
    dimensions: int
    multi: bool = False


def encode_vector(value: Any) -> EncodedVector:
    """Encode a list, tuple, numpy array, ``array.array``, bytes of float32, or a list of these.

    Two dimensions make a multi-vector. Raises ``ValueError`` saying what is wrong with the value.

    >>> encode_vector([1.0, -2.5]).data.hex()
    '0000803f000020c0'
    >>> encode_vector([[1, 2], [3, 4]]).data.hex()
    '02000000803f000000400000404000008040'
    """
    if type(value) is np.ndarray:
        return _from_array(value)
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError(_EMPTY)
        return _from_rows(value) if _is_row(value[0]) else _from_numbers(value)
    return _from_one(value)


def stacked(vectors: Sequence[Any]) -> Optional[np.ndarray]:
    """The numbers of many vectors one after the other, as float32 or float64, not checked for being finite.

    None where they are not all numpy arrays of one such type, or all lists of numbers, and of one length.

    >>> stacked([[1.0, 2.0], [3.0, 4.5]]).tolist()
    [1.0, 2.0, 3.0, 4.5]
    """
    kinds = set(map(type, vectors))
    if kinds not in ({np.ndarray}, {list}):
        return None
    try:
        first = vectors[0]
        if len(set(map(len, vectors))) > 1 or not len(first):
            return None
        if kinds == {np.ndarray}:
            if first.ndim > 1 or first.dtype not in _FLOATS:
                return None
            return np.concatenate(vectors, dtype=first.dtype, casting="no")
        flat = np.frombuffer(b"".join(map(_pack, vectors)), _FLOAT32)
        for one, is_doubtful in zip(vectors, _doubtful(flat.reshape(len(vectors), -1)), strict=True):
            if is_doubtful or type(one[0]) is not float:
                _check_types(one)
    except (TypeError, ValueError):
        return None  # an array without a dimension or with two, one of another type, or a number that is none
    return flat


def nudge(data: bytes, multi: bool) -> bytes:
    """The same vector with its largest component moved by one unit in the last place.

    It is the smallest change that the server takes for another vector.
    """
    head = data[:2] if multi else b""
    values = np.frombuffer(data, dtype=_FLOAT32, offset=len(head)).copy()
    largest = int(np.argmax(np.abs(values)))
    toward = np.float32(0.0 if values[largest] else 1.0)
    values[largest] = np.nextafter(values[largest], toward)
    return head + values.tobytes()


def decode_vector(data: bytes, multi: bool = False) -> np.ndarray:
    """The numpy array of float32 (one or two dimensions) behind the bytes of the wire."""
    if not multi:
        return np.frombuffer(data, dtype=_FLOAT32)
    dimensions = int.from_bytes(data[:2], "little")
    return np.frombuffer(data, dtype=_FLOAT32, offset=2).reshape(-1, dimensions)


def _from_one(value: Any) -> EncodedVector:
    """A vector that is one object, neither a Python list nor a numpy array as such."""
    if isinstance(value, (bytes, bytearray)) or (isinstance(value, memoryview) and value.format in "Bbc"):
        return _from_bytes(bytes(value))
    if isinstance(value, (array, memoryview)) or (
        hasattr(value, "__array__") and not isinstance(value, (np.generic, type))
    ):
        return _from_array(_as_array(value))
    raise ValueError(f"a vector is a list of numbers, a numpy array or bytes of float32, not {_show(value)}")


def _from_array(values: np.ndarray) -> EncodedVector:
    if values.dtype is not _FLOAT32:
        if values.dtype.kind == "O":
            return encode_vector(values.tolist())
        if values.dtype.kind not in "fiu":
            raise ValueError(f"a vector holds numbers, not {values.dtype}")
        with np.errstate(over="ignore"):
            values = values.astype(_FLOAT32)
    if values.ndim == 1:
        return _single(values, values.tobytes())
    if values.ndim == 2:
        return _multi(values, values.tobytes())
    raise ValueError(f"a vector has one dimension (two for a multi-vector), not {values.ndim}")


def _from_numbers(numbers: Sequence[Any]) -> EncodedVector:
    data = _pack(numbers)
    values = np.frombuffer(data, _FLOAT32)
    if type(numbers[0]) is not float or _doubtful(values):
        _check_types(numbers)
    return _single(values, data)


def _doubtful(values: np.ndarray) -> Any:
    """Whether there may be a bool among what these were packed from, for each vector.

    Packing takes True for 1.0. To look at the type of every number takes as long as to pack them.
    """
    return ((values == 0) | (values == 1)).any(axis=-1)


def _from_bytes(data: bytes) -> EncodedVector:
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no whole number of float32 values")
    return _single(np.frombuffer(data, _FLOAT32), data)


def _from_rows(rows: Sequence[Any]) -> EncodedVector:
    encoded = []
    try:
        for row in rows:
            encoded.append(_row(row))
    except ValueError as error:
        raise ValueError(f"in row {len(encoded)}: {error}") from None
    lengths = sorted({row.dimensions for row in encoded})
    if len(lengths) > 1:
        raise ValueError(
            f"the rows of a multi-vector are of one length, not of {' and '.join(map(str, lengths))}"
        )
    data = b"".join(row.data for row in encoded)
    return _multi(np.frombuffer(data, _FLOAT32).reshape(len(rows), -1), data)


def _row(row: Any) -> EncodedVector:
    if isinstance(row, (list, tuple)) and row and _is_row(row[0]):  # not encoded, however deep it is
        raise ValueError(_THREE)
    encoded = encode_vector(row)
    if encoded.multi:
        raise ValueError(_THREE)
    return encoded


def _is_row(item: Any) -> bool:
    return isinstance(item, (list, tuple, bytes, bytearray, memoryview, array)) or (
        hasattr(item, "__array__") and not isinstance(item, np.generic)
    )


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError("a vector has no masked components")
    try:
        return np.asarray(value)
    except Exception as error:  # whatever a foreign __array__ raises
        raise ValueError(f"a {type(value).__name__} that is no array: {error}") from None


def _pack(values: Sequence[Any]) -> bytes:
    count = len(values)
    packer = _packers.get(count)
    if packer is None:
        packer = _packers[count] = Struct(f"<{count}f").pack
    try:
        return packer(*values)
    except OverflowError:
        raise ValueError(_OVERFLOW) from None
    except StructError:
        _check_types(values)
        raise ValueError(_OVERFLOW) from None


def _check_types(values: Sequence[Any]) -> None:
    for kind in set(map(type, values)):
        if not issubclass(kind, _REAL) or issubclass(kind, _NO_NUMBERS):
            wrong = next(v for v in values if type(v) is kind)
            raise ValueError(f"a vector holds numbers, not {_show(wrong)}")


def _single(values: np.ndarray, data: bytes) -> EncodedVector:
    if not data:
        raise ValueError(_EMPTY)
    _check_finite(values)
    return EncodedVector(data, _dimensions(len(values)))


def _multi(values: np.ndarray, data: bytes) -> EncodedVector:
    if not data:
        raise ValueError(_EMPTY)
    dimensions = _dimensions(values.shape[1])
    _check_finite(values.reshape(-1))
    return EncodedVector(dimensions.to_bytes(2, "little") + data, dimensions, True)


def _dimensions(count: int) -> int:
    if count > _MAX_DIMENSIONS:
        raise ValueError(f"{count} dimensions are more than the server can keep ({_MAX_DIMENSIONS})")
    return count


def _check_finite(values: np.ndarray) -> None:
    # One product is soon made, and is finite only where all components are.
    if not math.isfinite(values.dot(values)):
        finite = np.isfinite(values)
        if finite.all():
            return
        place = int(np.argmin(finite))
        raise ValueError(f"component {place} is NaN, infinite or too large for float32")


def _show(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {wire.shown(value)}"
