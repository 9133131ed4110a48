"""Columns of properties to the bytes of their entries in a ``Struct``, by data type: what kernels can tell at once.

The bytes are those that :mod:`weaviate_io.wire` makes of single values, which says what is wrong with one, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Optional

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from weaviate_io.arrow import YEARS, items_of
from weaviate_io.framing import FALSE, TRUE, delimited, entry_key, number_value, struct_entry, varint
from weaviate_io.pieces import contents, joined, lengths, of_fixed_size, of_offsets, offsets
from weaviate_io.schema import Property
from weaviate_io.wire import MAX_EXACT_INT

ITEM = b""
"""The key of what is no entry of a ``Struct``, but an item of a list."""

_STRING, _STRUCT, _LIST = b"\x1a", b"\x2a", b"\x32"  # fields of ``Value``
_UTC = ("UTC", "+00:00")
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def entries_of(known: Property, key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    """The entries of a property, one of each row; of a null there is none.

    Args:
      known: what the collection expects.
      key: that of the entries, as ``entry_key`` makes it; or ``ITEM``.
      column: the values.
      bad: which rows have a value that cannot be; more of them are marked.

    Returns None where the column is to be encoded value by value: it is of a type that is not known here, or something
    is wrong with it.

    >>> entries_of(Property("pages", "int"), entry_key("pages"), pa.array([412, None]), np.zeros(2, bool)).is_null()
    <pyarrow.lib.BooleanArray object at ...>
    [
      false,
      true
    ]
    """
    if isinstance(column, pa.ExtensionArray):
        return None
    if known.data_type.endswith("[]"):
        return _list(known, key, column)
    if known.data_type == "object":
        return _object(known, key, column, bad)
    make = _SCALARS.get(known.data_type)
    return None if make is None else make(key, column, bad)


def texts_of(column: pa.Array) -> Optional[pa.StringArray]:
    """The column as plain texts, None where it has none."""
    if pt.is_dictionary(column.type):
        texts = texts_of(column.dictionary)
        return None if texts is None else texts.take(column.indices)
    if pt.is_large_string(column.type) or pt.is_string_view(column.type):
        column = column.cast(pa.string())
    return column if pt.is_string(column.type) else None


def are_canonical(texts: pa.StringArray) -> bool:
    """Whether all texts, none of them null, are UUIDs in the form that the server gives them."""
    if (lengths(texts) != len(_UUID_FORM)).any():
        return False
    characters = contents(texts).to_pybytes().translate(_UUID_CHARACTERS)
    return characters == len(texts) * _UUID_FORM


_UUID_FORM = b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"
_UUID_CHARACTERS = bytes.maketrans(b"0123456789abcdefh", b"hhhhhhhhhhhhhhhh?")


def _framed(key: bytes, field: bytes, values: pa.Array) -> pa.Array:
    """The entries of values that are a length-delimited field of a ``Value`` each."""
    sizes = pc.binary_length(values)
    longest = pc.max(sizes).as_py() or 0
    if longest < _LONG:
        heads = _heads(key, field, 1 << longest.bit_length()).take(sizes)
    else:
        coded = sizes.dictionary_encode()
        made = (_head(key, field, size) for size in coded.dictionary.to_pylist())
        heads = pa.array(made, pa.binary()).take(coded.indices)
    return pc.binary_join_element_wise(heads, values, pa.scalar(b"", pa.binary()))


_LONG = 1 << 10


@lru_cache(1024)
def _heads(key: bytes, field: bytes, count: int) -> pa.Array:
    return pa.array((_head(key, field, size) for size in range(count)), pa.binary())


def _head(key: bytes, field: bytes, size: int) -> bytes:
    """What stands before so many bytes of a field of a ``Value``."""
    head = field + varint(size)
    if key != ITEM:
        head = key + varint(len(head) + size) + head
    return b"\x0a" + varint(len(head) + size) + head


def _entry(key: bytes, value: bytes) -> bytes:
    return delimited(b"\x0a", value) if key == ITEM else struct_entry(key, value)


def _text(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    texts = texts_of(column)
    if texts is None:
        return None
    try:
        texts.validate(full=True)  # Arrow checks no text by itself, and the server refuses the whole request
    except pa.ArrowInvalid:
        return None
    return _framed(key, _STRING, texts.view(pa.binary()))


def _uuid(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    texts = texts_of(column)
    if texts is None or not are_canonical(texts.drop_null()):
        return None
    return _framed(key, _STRING, texts.view(pa.binary()))


def _number(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    if pt.is_floating(column.type) and not pt.is_float16(column.type):
        numbers, empty = _numbers(column)
        bad[~empty] |= ~np.isfinite(numbers)
        return _number_entries(key, numbers, empty)
    return _integer(key, column, bad)


def _integer(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    if not pt.is_integer(column.type):
        return None
    integers, empty = _numbers(column)
    bad[~empty] |= (integers > MAX_EXACT_INT) | (integers < -MAX_EXACT_INT)
    return _number_entries(key, integers, empty)


def _numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that are not null, and which are null."""
    empty = column.is_null().to_numpy(zero_copy_only=False)
    return column.drop_null().to_numpy(zero_copy_only=False), empty


def _number_entries(key: bytes, numbers: np.ndarray, empty: np.ndarray) -> pa.Array:
    entry = _entry(key, number_value(0.0))
    rows = np.empty((len(numbers), len(entry)), np.uint8)
    rows[:] = np.frombuffer(entry, np.uint8)
    rows[:, -8:] = numbers.astype("<f8").view(np.uint8).reshape(-1, 8)
    return of_fixed_size(rows, empty)


def _boolean(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    if not pt.is_boolean(column.type):
        return None
    true, false = (pa.scalar(_entry(key, value), pa.binary()) for value in (TRUE, FALSE))
    return pc.if_else(column, true, false)


def _date(key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    """Times in UTC; the fraction of a second ends with its last digit that is not 0."""
    if not pt.is_timestamp(column.type) or column.type.tz not in _UTC or not len(column):
        return None
    digits = _DIGITS[column.type.unit]
    counts, empty = _numbers(column.view(pa.int64()))
    seconds, fractions = np.divmod(counts, 10**digits)
    if (seconds < YEARS[0]).any() or (seconds >= YEARS[1]).any():
        return None
    kept = np.full(len(counts), digits)
    for place in range(1, digits + 1):
        kept -= fractions % 10**place == 0
    kept[kept > 6] = digits  # what needs nanoseconds is written with all of them
    shown = _shown(seconds, fractions * 10 ** (9 - digits))
    sizes = np.where(kept > 0, kept + 20, 19)  # with the point, without the Z
    shown[np.arange(len(shown)), sizes] = ord("Z")
    texts = shown[np.arange(shown.shape[1]) <= sizes[:, None]]
    taken = np.zeros(len(column), np.int64)
    taken[~empty] = sizes + 1
    starts = np.concatenate([[0], np.cumsum(taken)])
    return _framed(key, _STRING, of_offsets(starts, pa.py_buffer(texts), empty))


_MOMENT = b"0000-00-00T00:00:00.000000000Z"
_DIGIT_PLACES = [place for place, digit in enumerate(_MOMENT) if digit == ord("0")]
_PAIRS = np.frombuffer(b"".join(b"%02d" % number for number in range(100)), np.uint16)


def _shown(seconds: np.ndarray, nanoseconds: np.ndarray) -> np.ndarray:
    """The characters of moments with all digits; numpy's own ``datetime_as_string`` takes several times as long."""
    number, seconds = np.divmod(seconds, 86_400)
    days = number.view("M8[D]")
    months = days.astype("M8[M]")
    year, month = np.divmod(months.astype(np.int64) + 12 * 1970, 12)
    pairs = [year // 100, year % 100, month + 1, (days - months.astype("M8[D]")).astype(np.int64) + 1]
    pairs += [seconds // 3600, seconds // 60 % 60, seconds % 60]
    pairs += [nanoseconds // 10**place % 100 for place in (7, 5, 3, 1)]
    pairs.append(nanoseconds % 10 * 10)
    digits = _PAIRS[np.stack(pairs, axis=1)].view(np.uint8)
    rows = np.tile(np.frombuffer(_MOMENT, np.uint8), (len(seconds), 1))
    rows[:, _DIGIT_PLACES] = digits[:, : len(_DIGIT_PLACES)]
    return rows


def _list(known: Property, key: bytes, column: pa.Array) -> Optional[pa.Array]:
    if not (pt.is_list(column.type) or pt.is_large_list(column.type)):
        return None
    places, values = items_of(column)
    empty = column.is_null().to_numpy(zero_copy_only=False)
    if np.diff(places)[empty].any():
        return None  # a null with items, which are not to be sent
    bad = np.zeros(len(values), bool)
    of_items = Property(known.name, known.data_type.removesuffix("[]"), known.nested)
    items = entries_of(of_items, ITEM, values, bad)
    if items is None or items.null_count or bad.any():
        return None  # lists have no nulls; of codes they may be among the values
    starts = offsets(items)[places]
    return _framed(key, _LIST, of_offsets(starts - starts[0], contents(items), empty))


def _object(known: Property, key: bytes, column: pa.Array, bad: np.ndarray) -> Optional[pa.Array]:
    if not pt.is_struct(column.type):
        return None
    members = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    if len(members) < column.type.num_fields or not members.keys() <= known.nested.keys():
        return None
    pieces = []
    for name in sorted(members):
        piece = entries_of(known.nested[name], entry_key(name), members[name], bad)
        if piece is None:
            return None
        pieces.append(piece)
    if not pieces:
        return None
    objects = joined(pieces)
    if column.null_count:
        objects = pc.if_else(column.is_valid(), objects, pa.scalar(None, pa.binary()))
    return _framed(key, _STRUCT, objects)


_SCALARS: dict[str, Callable[[bytes, Any, np.ndarray], Optional[pa.Array]]] = {
    "text": _text,
    "string": _text,
    "int": _integer,
    "number": _number,
    "boolean": _boolean,
    "uuid": _uuid,
    "date": _date,
}
