"""Property values to the bytes of a ``google.protobuf.Value``: a function per data type.

Each function takes a Python value and returns bytes, ``None`` where the property is to stay unset, or raises
``ValueError`` saying what the value should have been. The functions are chosen once per property of a schema,
so that nothing asks for types again object by object.

Every conversion is exact or refused. The server keeps all numbers as float64.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import reprlib
import uuid
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, tzinfo
from decimal import Decimal
from typing import Any, Optional

import numpy as np
from apache_beam.utils.timestamp import Timestamp

from weaviate_io.dates import rfc3339
from weaviate_io.framing import (
    FALSE,
    TRUE,
    entry_key,
    list_value,
    number_value,
    string_value,
    struct_entry,
    struct_value,
)

ValueEncoder = Callable[[Any], Optional[bytes]]

MAX_EXACT_INT = 2**53
_EXACT_INT = "an integer within 2^53, which is what the server can keep exactly"
_NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # though they are subclasses of int and numpy's integer
is_canonical_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
"""A match where text is a UUID in the form that the server gives it."""

_PHONE_FIELDS = {"input", "defaultCountry", "default_country"}
_PHONE_MADE = {"countryCode", "internationalFormatted", "national", "nationalFormatted", "valid"}


_NEVER_NULL = frozenset((str, int, float, bool, bytes, list, dict, np.ndarray))  # the common types, asked first


def is_null(value: Any) -> bool:
    """Whether the value means "nothing": None, pandas' NA and NaT, numpy's NaT."""
    if value is None:
        return True
    if type(value) in _NEVER_NULL:
        return False
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    # pandas is no dependency; its two singletons are known by the names of their types.
    return type(value).__name__ in ("NAType", "NaTType")


def canonical_uuid(value: Any) -> str | None:
    """The canonical text of a UUID in canonical form of any case or a :class:`uuid.UUID`; else None.

    >>> canonical_uuid("6CB8E707-0FC5-5F55-88D4-D4FED43E64A8")
    '6cb8e707-0fc5-5f55-88d4-d4fed43e64a8'
    """
    if isinstance(value, str):
        if is_canonical_uuid(value):
            return value if type(value) is str else str.__str__(value)
        lower = value.lower()
        return lower if is_canonical_uuid(lower) else None
    return str(value) if isinstance(value, uuid.UUID) else None


def as_fields(value: Any) -> Mapping[Any, Any] | None:
    """A mapping, named tuple, beam.Row or dataclass as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    for method in ("_asdict", "as_dict"):
        if hasattr(value, method):
            return dict(getattr(value, method)())
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return None


def encode_text(value: Any) -> bytes | None:
    if isinstance(value, str):
        try:
            return string_value(value.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"valid Unicode text; character {error.start} is a lone surrogate") from None
    return _null_or_refuse(value, "text")


def encode_int(value: Any) -> bytes | None:
    if type(value) is not int:
        value = _integral(value)
        if value is None:
            return None
    if not -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
        return _refuse(value, _EXACT_INT)
    return number_value(value)


def encode_number(value: Any) -> bytes | None:
    if type(value) is not float:
        value = _exact_float(value)
        if value is None:
            return None
    if not math.isfinite(value):
        return _refuse(value, "a finite number")
    return number_value(value)


def encode_boolean(value: Any) -> bytes | None:
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if isinstance(value, np.bool_):
        return TRUE if value else FALSE
    return _null_or_refuse(value, "true or false")


def encode_uuid(value: Any) -> bytes | None:
    text = canonical_uuid(value)
    if text is None:
        return _null_or_refuse(value, "a UUID (8-4-4-4-12 hexadecimal digits)")
    return string_value(text.encode())


def encode_blob(value: Any) -> bytes | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = base64.b64encode(bytes(value))
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
    return string_value(data)


def encode_geo(value: Any) -> bytes | None:
    if is_null(value):
        return None
    place = as_fields(value)
    if place is None or set(place) != {"latitude", "longitude"}:
        return _refuse(value, "latitude and longitude")
    entries = []
    for name, limit in (("latitude", 90), ("longitude", 180)):
        number = _exact_float(place[name])
        if number is None or not -limit <= number <= limit:
            return _refuse(place[name], f"a {name} between -{limit} and {limit}")
        entries.append(struct_entry(entry_key(name), number_value(number)))
    return struct_value(entries)


def encode_phone(value: Any) -> bytes | None:
    """A number as text, or its input and defaultCountry. What the server makes of these itself is left out."""
    if is_null(value):
        return None
    number = {"input": value} if isinstance(value, str) else as_fields(value)
    if number is None or "input" not in number or not set(number) <= _PHONE_FIELDS | _PHONE_MADE:
        return _refuse(value, "a phone number as text, or its input and defaultCountry")
    country = number.get("defaultCountry", number.get("default_country"))
    parts = (
        {"input": number["input"]}
        if is_null(country)
        else {"defaultCountry": country, "input": number["input"]}
    )
    entries = []
    for name, part in parts.items():
        if not isinstance(part, str):
            return _refuse(part, f"text as the {name} of a phone number")
        entries.append(struct_entry(entry_key(name), encode_text(part) or b""))
    return struct_value(entries)


def date_encoder(zone: tzinfo | None) -> ValueEncoder:
    """Dates as RFC 3339; ``zone`` is for values that name none, which are refused without it."""

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        text = rfc3339(value, zone)
        return _refuse(value, "a date") if text is None else string_value(text.encode())

    return encode


def list_encoder(element: ValueEncoder, kind: str) -> ValueEncoder:
    """A list of one type, from a list, tuple, array or numpy array of one dimension."""

    def encode(value: Any) -> bytes | None:
        items = _items(value)
        if items is None:
            return _null_or_refuse(value, f"a list ({kind})")
        encoded: list[bytes] = []
        try:
            for item in items:
                part = element(item)
                if part is None:
                    raise ValueError("a value; lists have no nulls")
                encoded.append(part)
        except ValueError as error:
            raise ValueError(f"in item {len(encoded)}: {error}") from None
        return list_value(encoded)

    return encode


def struct_encoder(nested: Mapping[str, ValueEncoder], drop_unknown: bool) -> ValueEncoder:
    """A nested object from a mapping, dataclass or named tuple."""
    keys = {name: entry_key(name) for name in nested}

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        members = as_fields(value)
        if members is None:
            return _refuse(value, "an object")
        entries = []
        for name in sorted(members, key=str):
            if name not in nested:
                if drop_unknown:
                    continue
                has = ", ".join(map(repr, nested)) or "none"
                raise ValueError(f"an object without {name!r}: no such nested property (it has {has})")
            try:
                encoded = nested[name](members[name])
            except ValueError as error:
                raise ValueError(f"in {name!r}: {error}") from None
            if encoded is not None:
                entries.append(struct_entry(keys[name], encoded))
        return struct_value(entries)

    return encode


def guessing_encoder(zone: tzinfo | None) -> ValueEncoder:
    """For properties that the server's auto-schema is still to create: the type follows the value."""
    encode_date = date_encoder(zone)

    def encode(value: Any) -> bytes | None:
        if is_null(value):
            return None
        for types, encoder in by_type:
            if isinstance(value, types):
                return encoder(value)
        members = as_fields(value)
        if members is not None:
            _check_names(members)
            return struct_encoder(dict.fromkeys(members, encode), False)(value)
        items = _items(value)
        if items is None:
            return _refuse(value, "a value that has a Weaviate type")
        # The server types an empty list of an unknown property as text[], for good.
        return encode_list(value) if len(items) else None

    encode_list = list_encoder(encode, "of one type")
    by_type: tuple[tuple[Any, ValueEncoder], ...] = (
        (str, encode_text),
        ((bool, np.bool_), encode_boolean),
        ((int, np.integer), encode_int),
        ((float, np.floating, Decimal), encode_number),
        (uuid.UUID, encode_uuid),
        ((date, np.datetime64, Timestamp), encode_date),
        ((bytes, bytearray, memoryview), encode_blob),
    )
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


def _items(value: Any) -> Sequence[Any] | None:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise ValueError(f"a list, not a numpy array of {value.ndim} dimensions")
        # tolist() would make bare integers of times in nanoseconds.
        return list(value) if value.dtype.kind in "mM" else value.tolist()
    return value.tolist() if isinstance(value, array) else None


def _check_names(members: Mapping[Any, Any]) -> None:
    for name in members:
        if not isinstance(name, str):
            raise ValueError(f"an object whose members are named by text, not {_show(name)}")
        encode_text(name)


def _integral(value: Any) -> int | None:
    if isinstance(value, _NO_NUMBERS):
        return _null_or_refuse(value, "an integer")
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating, Decimal)):
        if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
            return _refuse(value, "an integer")
        if (
            not -MAX_EXACT_INT <= value <= MAX_EXACT_INT
        ):  # before int(): no memory holds that of Decimal("1e999999999")
            return _refuse(value, _EXACT_INT)
        return int(value) if value == int(value) else _refuse(value, "an integer")
    return _null_or_refuse(value, "an integer")


def _exact_float(value: Any) -> float | None:
    if isinstance(value, _NO_NUMBERS):
        return _null_or_refuse(value, "a number")
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if number != value and value == value:  # numpy's longdouble is wider
            return _refuse(value, "a number that float64 can keep exactly")
        return number
    if isinstance(value, (int, np.integer)):
        exact = int(value)
        if not -MAX_EXACT_INT <= exact <= MAX_EXACT_INT:
            return _refuse(exact, "a number that float64 can keep exactly (integers within 2^53)")
        return float(exact)
    if isinstance(value, Decimal):
        number = float(value)
        if math.isfinite(number) and Decimal(repr(number)) != value:
            return _refuse(value, "a number that float64 can keep exactly")
        return number
    return _null_or_refuse(value, "a number")


def _null_or_refuse(value: Any, expected: str) -> Any:
    return None if is_null(value) else _refuse(value, expected)


def _refuse(value: Any, expected: str) -> Any:
    raise ValueError(f"{expected}, not {_show(value)}")


def _show(value: Any) -> str:
    missing = "; give None for a missing value" if isinstance(value, float) and math.isnan(value) else ""
    return f"{type(value).__name__} {shown(value)}{missing}"


def shown(value: Any) -> str:
    """A value as messages show it, whatever it is.

    >>> shown("Dune"), shown(10**5000)
    ("'Dune'", 'of 16610 bits')
    """
    if isinstance(value, int) and value.bit_length() > 200:
        return f"of {value.bit_length()} bits"
    return " ".join(f"{representation(value):.60}".splitlines())


class _Short(reprlib.Repr):
    """Shortened representations, in which what cannot be shown is the name of its class."""

    def repr1(self, x: Any, level: int) -> str:
        try:
            return super().repr1(x, level)
        except Exception:  # Python prints 4,300 digits of an integer at most, and classes raise what they like
            return f"<{type(x).__name__}>"


def representation(value: Any) -> str:
    """``repr`` of a value, or what is left of it where its class, or one in it, fails at that.

    >>> representation({"title": "Dune", "year": 10**5000})
    "{'title': 'Dune', 'year': <int>}"
    """
    try:
        return repr(value)
    except Exception:
        return _Short().repr(value)
