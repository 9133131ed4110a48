"""The protobuf wire format, as far as objects need it: framing, and the forms of ``google.protobuf.Value``.

It is written by hand because that takes half the time of the generated message classes; property tests hold
the two against each other. What a value may be is not decided here but in :mod:`weaviate_io.wire`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any

_double = Struct("<cd").pack

TRUE, FALSE = b"\x20\x01", b"\x20\x00"
"""``Value.bool_value``."""

EMPTY_LIST = b"\x32\x00"
"""``Value.list_value`` without items."""


def _long_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT = 1 << 14
_VARINTS = [_long_varint(n) for n in range(_SHORT)]


def varint(number: int) -> bytes:
    """A length or tag in protobuf's base-128 form.

    >>> varint(300).hex()
    'ac02'
    """
    return _VARINTS[number] if number < _SHORT else _long_varint(number)


# The functions below look short lengths up themselves: a dozen calls an object are a tenth of its cost.


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field: tag, length, payload."""
    size = len(payload)
    return tag + (_VARINTS[size] if size < _SHORT else _long_varint(size)) + payload


def string_value(utf8: bytes) -> bytes:
    """``Value.string_value``."""
    size = len(utf8)
    return b"\x1a" + (_VARINTS[size] if size < _SHORT else _long_varint(size)) + utf8


def number_value(number: float) -> bytes:
    """``Value.number_value``, a float64."""
    return _double(b"\x11", number)


def list_value(items: Iterable[bytes]) -> bytes:
    """``Value.list_value`` of encoded values."""
    return delimited(b"\x32", b"".join([delimited(b"\x0a", item) for item in items]))


def struct_value(entries: Iterable[bytes]) -> bytes:
    """``Value.struct_value`` of entries as ``struct_entry`` makes them."""
    return delimited(b"\x2a", b"".join(entries))


def entry_key(name: str) -> bytes:
    """The key half of an entry of ``Struct.fields``, up to the length of its value."""
    return delimited(b"\x0a", name.encode()) + b"\x12"


def struct_entry(key: bytes, value: bytes) -> bytes:
    """One entry of ``Struct.fields`` from ``entry_key`` and an encoded value."""
    size = len(value)
    inner = key + (_VARINTS[size] if size < _SHORT else _long_varint(size)) + value
    size = len(inner)
    return b"\x0a" + (_VARINTS[size] if size < _SHORT else _long_varint(size)) + inner


def values_of(struct: Any) -> Iterator[tuple[str, Any]]:
    """Names and plain Python values of a decoded ``Struct``, numbers as float."""
    for name, value in struct.fields.items():
        yield name, plain(value)


def plain(value: Any) -> Any:
    """The Python value of a decoded ``google.protobuf.Value``."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return dict(values_of(value.struct_value))
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    return None if kind is None or kind == "null_value" else getattr(value, kind)
