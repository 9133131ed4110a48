"""The protobuf wire format of property values, written by hand: a function per data type.

Each function takes a Python value and returns the bytes of a ``google.protobuf.Value``, ``None`` where the
property is to stay unset, or raises ``ValueError`` saying what the value should have been. The functions are
chosen once per property of a schema, so that nothing asks for types again object by object. Property tests
hold them against the generated message classes.

Every conversion is exact or refused. The server keeps all numbers as float64.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import uuid
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal
from struct import Struct
from typing import Any, Optional

import numpy as np

ValueEncoder = Callable[[Any], Optional[bytes]]

_MAX_EXACT_INT = 2**53
_double = Struct("<d").pack
_TRUE, _FALSE = b"\x20\x01", b"\x20\x00"
_NULL = b"\x08\x00"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


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


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field: tag, length, payload."""
    return tag + varint(len(payload)) + payload


def is_null(value: Any) -> bool:
    """Whether the value means "nothing": None, pandas' NA and NaT, numpy's NaT."""
    if value is None:
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    # pandas is no dependency; its two singletons are known by the names of their types.
    return type(value).__name__ in ("NAType", "NaTType")


def canonical_uuid(value: Any) -> str | None:
    """The canonical text of a UUID in canonical form of any case or a :class:`uuid.UUID`; else None."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str) and len(value) == 36:
        lower = value.lower()
        if _UUID.fullmatch(lower):
            return lower
    return None


def encode_text(value: Any) -> bytes | None:
    if isinstance(value, str):
        try:
            return delimited(b"\x1a", value.encode())
        except UnicodeEncodeError as error:
            place = error.start
            raise ValueError(f"valid Unicode text; character {place} is a lone surrogate") from None
    return _null_or_refuse(value, "text")


def encode_int(value: Any) -> bytes | None:
    if type(value) is not int:
        value = _integral(value)
        if value is None:
            return None
    if not -_MAX_EXACT_INT <= value <= _MAX_EXACT_INT:
        raise ValueError(f"an integer within 2^53, which is what the server can keep exactly, not {value}")
    return b"\x11" + _double(value)


def encode_number(value: Any) -> bytes | None:
    if type(value) is not float:
        value = _exact_float(value)
        if value is None:
            return None
    if not math.isfinite(value):
        raise ValueError(f"a finite number, not {value}")
    return b"\x11" + _double(value)


def encode_boolean(value: Any) -> bytes | None:
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if isinstance(value, np.bool_):
        return _TRUE if value else _FALSE
    return _null_or_refuse(value, "true or false")


def encode_uuid(value: Any) -> bytes | None:
    text = canonical_uuid(value)
    if text is None:
        return _null_or_refuse(value, "a UUID")
    return delimited(b"\x1a", text.encode())


def encode_blob(value: Any) -> bytes | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = base64.b64encode(value)
    elif isinstance(value, str):
        data = value.encode("ascii", "replace")
        try:
            base64.b64decode(data, validate=True)
        except binascii.Error:
            raise ValueError("bytes, or text in standard base64 with padding") from None
    else:
        return _null_or_refuse(value, "bytes or base64 text")
    if not data:
        raise ValueError("at least one byte; the server refuses an empty blob")
    return delimited(b"\x1a", data)


def encode_geo(value: Any) -> bytes | None:
    if is_null(value):
        return None
    place = as_fields(value)
    if place is None or set(place) != {"latitude", "longitude"}:
        raise ValueError(f"latitude and longitude, not {_show(value)}")
    out = []
    for name, limit in (("latitude", 90), ("longitude", 180)):
        number = _exact_float(place[name])
        if number is None or not -limit <= number <= limit:
            raise ValueError(f"a {name} between -{limit} and {limit}, not {_show(place[name])}")
        out.append(struct_entry(entry_key(name), b"\x11" + _double(number)))
    return delimited(b"\x2a", b"".join(out))


def encode_phone(value: Any) -> bytes | None:
    if is_null(value):
        return None
    number = {"input": value} if isinstance(value, str) else as_fields(value)
    if number is None or "input" not in number:
        raise ValueError(f"a phone number as text, or its input and defaultCountry, not {_show(value)}")
    country = number.get("defaultCountry", number.get("default_country"))
    entries = [struct_entry(entry_key("input"), _text(number["input"]))]
    if country is not None:
        entries.append(struct_entry(entry_key("defaultCountry"), _text(country)))
    return delimited(b"\x2a", b"".join(entries))


def date_encoder(zone: tzinfo | None) -> ValueEncoder:
    """Dates as RFC 3339; ``zone`` is for values that name none, which are refused without it."""

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        if isinstance(value, str):
            if not _RFC3339.fullmatch(value):
                raise ValueError(f"an RFC 3339 time with its zone (2024-05-01T12:00:00Z), not {value!r:.60}")
            return delimited(b"\x1a", value.encode())
        return delimited(b"\x1a", _rfc3339(value, zone).encode())

    return encode


def list_encoder(element: ValueEncoder, kind: str) -> ValueEncoder:
    """A list of one type, from a list, tuple, array or numpy array of one dimension."""

    def encode(value: Any) -> bytes | None:
        if isinstance(value, (np.ndarray, array)):
            value = value.tolist()
        elif not isinstance(value, (list, tuple)):
            return _null_or_refuse(value, f"a list ({kind})")
        parts = []
        for place, item in enumerate(value):
            encoded = element(item)
            if encoded is None:
                raise ValueError(f"a list without nulls; item {place} is null")
            parts.append(delimited(b"\x0a", encoded))
        return delimited(b"\x32", b"".join(parts))

    return encode


def struct_encoder(nested: Mapping[str, ValueEncoder], drop_unknown: bool) -> ValueEncoder:
    """A nested object from a mapping, dataclass or named tuple."""
    keys = {name: entry_key(name) for name in nested}

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        members = as_fields(value)
        if members is None:
            raise ValueError(f"an object, not {_show(value)}")
        entries = []
        for name in sorted(members, key=str):
            if name not in nested:
                if drop_unknown:
                    continue
                raise ValueError(f"no nested property {name!r} (it has {', '.join(nested) or 'none'})")
            try:
                encoded = nested[name](members[name])
            except ValueError as error:
                raise ValueError(f"in {name!r}: {error}") from None
            if encoded is not None:
                entries.append(struct_entry(keys[name], encoded))
        return delimited(b"\x2a", b"".join(entries))

    return encode


def guessing_encoder(zone: tzinfo | None) -> ValueEncoder:
    """For properties that the server's auto-schema is still to create: the type follows the value."""
    encode_date = date_encoder(zone)

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        if isinstance(value, str):
            return encode_text(value)
        if isinstance(value, (bool, np.bool_)):
            return encode_boolean(value)
        if isinstance(value, (int, np.integer)):
            return encode_int(value)
        if isinstance(value, (float, np.floating, Decimal)):
            return encode_number(value)
        if isinstance(value, uuid.UUID):
            return encode_uuid(value)
        if isinstance(value, (date, np.datetime64)):
            return encode_date(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return encode_blob(value)
        if isinstance(value, (list, tuple, np.ndarray, array)):
            # The server types an empty list of an unknown property as text[], for good.
            return encode_list(value) if len(value) else None
        members = as_fields(value)
        if members is None:
            raise ValueError(f"a value that has a Weaviate type, not {_show(value)}")
        return struct_encoder(dict.fromkeys(members, encode), False)(value)

    encode_list = list_encoder(encode, "of one type")
    return encode


SCALARS: dict[str, ValueEncoder] = {
    "text": encode_text,
    "string": encode_text,
    "int": encode_int,
    "number": encode_number,
    "boolean": encode_boolean,
    "uuid": encode_uuid,
    "blob": encode_blob,
    "blobHash": encode_blob,
    "geoCoordinates": encode_geo,
    "phoneNumber": encode_phone,
}
"""Encoders of the data types that need no more than the value."""


def entry_key(name: str) -> bytes:
    """The key half of an entry of ``Struct.fields``, up to the length of its value."""
    return delimited(b"\x0a", name.encode()) + b"\x12"


def struct_entry(key: bytes, value: bytes) -> bytes:
    """One entry of ``Struct.fields`` from ``entry_key`` and an encoded value."""
    return delimited(b"\x0a", key + varint(len(value)) + value)


def as_fields(value: Any) -> Mapping[str, Any] | None:
    """A mapping, named tuple, beam.Row or dataclass as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return value
    for method in ("_asdict", "as_dict"):
        if hasattr(value, method):
            return dict(getattr(value, method)())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return None


def _integral(value: Any) -> int | None:
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (bool, np.bool_)):
        return _refuse(value, "an integer")
    if isinstance(value, (int, float, np.floating, Decimal)):
        if not math.isfinite(value) or value != int(value):
            return _refuse(value, "an integer")
        return int(value)
    return _null_or_refuse(value, "an integer")


def _exact_float(value: Any) -> float | None:
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, (bool, np.bool_)):
        return _refuse(value, "a number")
    if isinstance(value, (int, np.integer)):
        exact = int(value)
        if abs(exact) > _MAX_EXACT_INT:
            raise ValueError(f"a number that float64 can keep exactly (integers within 2^53), not {exact}")
        return float(exact)
    if isinstance(value, Decimal):
        number = float(value)
        if math.isfinite(number) and Decimal(repr(number)) != value:
            raise ValueError(f"a number that float64 can keep exactly, not {value}")
        return number
    return _null_or_refuse(value, "a number")


def _rfc3339(value: Any, zone: tzinfo | None) -> str:
    if isinstance(value, np.datetime64):
        if zone is None:
            raise ValueError(_NAIVE.format(value))
        return _numpy_rfc3339(value, zone)
    if not isinstance(value, date):
        return _refuse(value, "a date")
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    offset = value.utcoffset()
    if offset is None:
        if zone is None:
            raise ValueError(_NAIVE.format(value))
        value = value.replace(tzinfo=zone)
        offset = value.utcoffset()
    if offset.total_seconds() % 60:  # RFC 3339 has no seconds in offsets
        value = value.astimezone(timezone.utc)
    return value.isoformat()


_NAIVE = "a date with a time zone; {} has none (set timezone= to say which is meant)"


def _numpy_rfc3339(value: np.datetime64, zone: tzinfo) -> str:
    whole = value.astype("datetime64[s]")
    nanoseconds = int((value.astype("datetime64[ns]") - whole.astype("datetime64[ns]")).astype(int))
    text = whole.astype(datetime).replace(tzinfo=zone)
    moment = _rfc3339(text, zone)
    return f"{moment[:19]}.{nanoseconds:09d}{moment[19:]}" if nanoseconds else moment


def _text(value: Any) -> bytes:
    encoded = encode_text(value)
    if encoded is None:
        raise ValueError("text, not null")
    return encoded


def _null_or_refuse(value: Any, expected: str) -> Any:
    return None if is_null(value) else _refuse(value, expected)


def _refuse(value: Any, expected: str) -> Any:
    raise ValueError(f"{expected}, not {_show(value)}")


def _show(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.60}"


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
    return None if kind == "null_value" else getattr(value, kind)
