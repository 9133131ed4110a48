"""Pieces of many rows: bytes where they are the same in each, else binary arrays, which Arrow's kernels join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Piece = Union[bytes, pa.Array]
"""Bytes that are the same in every row, or a binary array of those of each; a null stands for none, and has none."""

_NOTHING = pa.scalar(b"", pa.binary())


def joined(pieces: Sequence[Piece]) -> pa.BinaryArray:
    """The pieces of each row one after the other; at least one is an array.

    >>> joined([b"<", pa.array([b"a", None]), b">"]).to_pylist()
    [b'<a>', b'<>']
    """
    fused: list[Piece] = []  # the kernel goes from piece to piece in every row
    for piece in pieces:
        if fused and isinstance(piece, bytes) and isinstance(fused[-1], bytes):
            fused[-1] += piece
        else:
            fused.append(piece)
    scalars = [pa.scalar(one, pa.binary()) if isinstance(one, bytes) else one for one in fused]
    return pc.binary_join_element_wise(*scalars, _NOTHING, null_handling="replace", null_replacement=b"")


def contents(array: pa.Array) -> pa.Buffer:
    """The values of an array of texts or bytes without nulls, one after the other."""
    first, last = offsets(array)[[0, -1]]
    data = array.buffers()[2]
    return pa.py_buffer(b"") if data is None else data.slice(first, last - first)


def offsets(array: pa.Array) -> np.ndarray:
    """Where the values of an array of texts or bytes begin, and the last one ends."""
    if not len(array):
        return np.zeros(1, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]


def lengths(piece: Piece) -> Any:
    """Bytes of each row; a null has none, so that the offsets tell it."""
    return len(piece) if isinstance(piece, bytes) else np.diff(offsets(piece))


def sum_of(pieces: Sequence[Piece], rows: int) -> np.ndarray:
    """Bytes of each row, in all pieces together."""
    total = np.zeros(rows, np.int64)
    for piece in pieces:
        total += lengths(piece)
    return total


def of_each(sizes: np.ndarray, make: Callable[[int], bytes]) -> Piece:
    """What is made of each size, bytes where they are all the same."""
    largest = int(sizes.max(initial=0))
    if largest == sizes.min(initial=largest):
        return make(largest)
    if largest < _TABLE:
        return _table(make).take(pa.array(sizes))
    return pa.array(map(make, sizes.tolist()), pa.binary())


_TABLE = 1 << 14


@cache
def _table(make: Callable[[int], bytes]) -> pa.Array:
    return pa.array(map(make, range(_TABLE)), pa.binary())


def where(present: pa.BooleanArray, piece: bytes) -> pa.Array:
    """The piece in some rows, and none in the others."""
    return pc.if_else(present, pa.scalar(piece, pa.binary()), pa.scalar(None, pa.binary()))


def of_fixed_size(rows: np.ndarray, empty: np.ndarray) -> pa.Array:
    """Rows of as many bytes each, without a copy. There are only those that are not ``empty``, which has all."""
    starts = np.concatenate([[0], np.cumsum(~empty)]) * rows.shape[1]
    return of_offsets(starts, pa.py_buffer(rows.reshape(-1)), empty)


def of_offsets(starts: np.ndarray, data: pa.Buffer, empty: np.ndarray) -> pa.Array:
    """What lies between the places where each row starts and the next one does; none where it is empty."""
    mask = pa.array(~empty).buffers()[1] if empty.any() else None
    buffers = [mask, pa.py_buffer(np.ascontiguousarray(starts, np.int32)), data]
    return pa.Array.from_buffers(pa.binary(), len(starts) - 1, buffers, -1 if mask else 0)
