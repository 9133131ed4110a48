"""Vectors of any common form to the bytes that Weaviate stores: little-endian float32.

A vector is checked as a whole, never float by float: numpy tells by one product whether every component is
finite. float64 is rounded to float32, which is what the server keeps; what overflows float32 is refused.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple

import numpy as np

_FLOAT32 = np.dtype("<f4")
_MAX_MULTI_DIMENSIONS = 65535  # the wire has an unsigned 16-bit number for it
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
        if value and not isinstance(value[0], (int, float, np.generic)):
            return _from_rows(value)
        return _single(_pack(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _single(_whole_floats(bytes(value)))
    if isinstance(value, array):
        return _from_array(np.frombuffer(value, dtype=value.typecode))
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        return _from_array(np.asarray(value))
    raise ValueError(f"a vector is a list of numbers, a numpy array or bytes of float32, not {_kind(value)}")


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


def _from_array(values: np.ndarray) -> EncodedVector:
    if values.dtype.kind not in "fiu":
        if values.dtype.kind == "O":
            return encode_vector(values.tolist())
        raise ValueError(f"a vector holds numbers, not {values.dtype}")
    if values.ndim == 2:
        rows, dimensions = values.shape
        if not rows or not dimensions:
            raise ValueError("a multi-vector holds no numbers; leave it out to write the object without it")
        return _multi(_float32(values), dimensions)
    if values.ndim != 1:
        raise ValueError(f"a vector has one dimension (two for a multi-vector), not {values.ndim}")
    return _single(_float32(values))


def _from_rows(rows: Sequence[Any]) -> EncodedVector:
    encoded = [encode_vector(row) for row in rows]
    lengths = {row.dimensions for row in encoded}
    if len(lengths) > 1 or any(row.multi for row in encoded):
        raise ValueError(f"the rows of a multi-vector are of one length, not {sorted(lengths)}")
    return _multi(b"".join(row.data for row in encoded), lengths.pop())


def _float32(values: np.ndarray) -> bytes:
    if values.dtype == _FLOAT32:
        return values.tobytes()
    with np.errstate(over="ignore"):
        return values.astype(_FLOAT32).tobytes()


def _pack(values: Sequence[Any]) -> bytes:
    count = len(values)
    packer = _packers.get(count)
    if packer is None:
        packer = _packers[count] = Struct(f"<{count}f").pack
    try:
        return packer(*values)
    except OverflowError:
        raise ValueError("a number is too large for float32, which the server stores") from None
    except StructError:
        wrong = next((v for v in values if not isinstance(v, (int, float, np.number))), None)
        raise ValueError(f"a vector holds numbers, not {_kind(wrong)}") from None


def _whole_floats(data: bytes) -> bytes:
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no whole number of float32 values")
    return data


def _single(data: bytes) -> EncodedVector:
    if not data:
        raise ValueError("the vector is empty; leave it out to write the object without it")
    _check_finite(data)
    return EncodedVector(data, len(data) // 4)


def _multi(data: bytes, dimensions: int) -> EncodedVector:
    if dimensions > _MAX_MULTI_DIMENSIONS:
        raise ValueError(
            f"{dimensions} dimensions are more than a multi-vector can have ({_MAX_MULTI_DIMENSIONS})"
        )
    _check_finite(data)
    return EncodedVector(dimensions.to_bytes(2, "little") + data, dimensions, True)


def _check_finite(data: bytes) -> None:
    values = np.frombuffer(data, dtype=_FLOAT32)
    # The product of large finite vectors overflows too, hence the second, exact look.
    if not math.isfinite(values.dot(values)) and not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"component {place} is NaN, infinite or too large for float32")


def _kind(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.40}"
