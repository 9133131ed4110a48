from __future__ import annotations

import base64
import datetime as dt
import enum
import math
import re
import uuid
from array import array
from collections import UserDict
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from weaviate_io import framing, wire

UTC = dt.timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
ID = "6cb8e707-0fc5-5f55-88d4-d4fed43e64a8"


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3
    BEYOND = 10**400


class Place(NamedTuple):
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Author:
    name: str
    born: int


@dataclass(frozen=True, slots=True)
class SlottedAuthor:
    name: str
    born: int


def stored(encoded: bytes | None):
    """The Python value that the generated message class reads from the bytes; None where nothing is stored."""
    return None if encoded is None else framing.plain(struct_pb2.Value.FromString(encoded))


AUTHOR = wire.struct_encoder({"name": wire.encode_text, "born": wire.encode_int}, drop_unknown=False)
DATE, BERLIN_DATE = wire.date_encoder(None), wire.date_encoder(BERLIN)
ENCODERS = {
    **wire.SCALARS,
    "date": DATE,
    "date, Berlin": BERLIN_DATE,
    "date, UTC": wire.date_encoder(UTC),
    "text[]": wire.list_encoder(wire.encode_text, "text[]"),
    "int[]": wire.list_encoder(wire.encode_int, "int[]"),
    "number[]": wire.list_encoder(wire.encode_number, "number[]"),
    "boolean[]": wire.list_encoder(wire.encode_boolean, "boolean[]"),
    "uuid[]": wire.list_encoder(wire.encode_uuid, "uuid[]"),
    "date[]": wire.list_encoder(DATE, "date[]"),
    "object": AUTHOR,
    "object, dropping": wire.struct_encoder({"name": wire.encode_text}, drop_unknown=True),
    "object[]": wire.list_encoder(AUTHOR, "object[]"),
    "guess": wire.guessing_encoder(None),
}

ACCEPTED = [
    ("text", "", ""),
    ("text", "Dune", "Dune"),
    ("text", "a\0b\n\U0001f600é", "a\0b\n\U0001f600é"),
    ("text", "x" * 20_000, "x" * 20_000),
    ("text", np.str_("Dune"), "Dune"),
    ("text", Colour.RED, "red"),
    ("string", "Dune", "Dune"),
    ("int", 0, 0.0),
    ("int", -5, -5.0),
    ("int", 2**53, float(2**53)),
    ("int", -(2**53), -float(2**53)),
    ("int", 4.0, 4.0),
    ("int", Decimal("4.00"), 4.0),
    ("int", np.int64(5), 5.0),
    ("int", np.uint8(5), 5.0),
    ("int", np.float32(5), 5.0),
    ("int", Level.HIGH, 3.0),
    ("number", 0.1, 0.1),
    ("number", 3, 3.0),
    ("number", 5e-324, 5e-324),
    ("number", 1.7976931348623157e308, 1.7976931348623157e308),
    ("number", 2.0**60, 2.0**60),
    ("number", Decimal("0.1"), 0.1),
    ("number", Decimal("1.10"), 1.1),
    ("number", Decimal(10) ** 22, 1e22),
    ("number", np.float32(0.1), float(np.float32(0.1))),
    ("number", np.float64(0.1), 0.1),
    ("number", np.float16(0.5), 0.5),
    ("number", np.longdouble(0.1), 0.1),
    ("number", np.int32(-3), -3.0),
    ("boolean", True, True),
    ("boolean", False, False),
    ("boolean", np.True_, True),
    ("boolean", np.False_, False),
    ("uuid", ID, ID),
    ("uuid", ID.upper(), ID),
    ("uuid", uuid.UUID(ID), ID),
    ("blob", b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
    ("blob", bytearray(b"ab"), "YWI="),
    ("blob", memoryview(b"abcd")[::2], base64.b64encode(b"ac").decode()),
    ("blob", "YWI=", "YWI="),
    ("blobHash", b"ab", "YWI="),
    ("geoCoordinates", {"latitude": 52.5, "longitude": 13}, {"latitude": 52.5, "longitude": 13.0}),
    ("geoCoordinates", {"longitude": -180, "latitude": 90}, {"latitude": 90.0, "longitude": -180.0}),
    ("geoCoordinates", Place(1.0, 2.0), {"latitude": 1.0, "longitude": 2.0}),
    ("geoCoordinates", beam.Row(latitude=np.float32(1), longitude=2), {"latitude": 1.0, "longitude": 2.0}),
    ("phoneNumber", "+49 30 1", {"input": "+49 30 1"}),
    ("phoneNumber", {"input": "30 1", "defaultCountry": "de"}, {"input": "30 1", "defaultCountry": "de"}),
    ("phoneNumber", {"input": "30 1", "default_country": "de"}, {"input": "30 1", "defaultCountry": "de"}),
    ("phoneNumber", {"input": "30 1", "defaultCountry": None}, {"input": "30 1"}),
    (
        "phoneNumber",
        {"input": "+49 30 1", "countryCode": 49, "national": 301, "valid": True},
        {"input": "+49 30 1"},
    ),
    ("text[]", ["a", "b"], ["a", "b"]),
    ("text[]", ("a",), ["a"]),
    ("text[]", [], []),
    ("text[]", np.array(["a", "b"]), ["a", "b"]),
    ("text[]", np.array(["a", "b"], object), ["a", "b"]),
    ("int[]", [1, np.int64(2)], [1.0, 2.0]),
    ("int[]", np.array([1, 2], ">i2"), [1.0, 2.0]),
    ("int[]", np.arange(6)[::2], [0.0, 2.0, 4.0]),
    ("int[]", array("q", [1, 2]), [1.0, 2.0]),
    ("number[]", np.array([0.5, 1.5], np.float16), [0.5, 1.5]),
    ("number[]", array("f", [0.5]), [0.5]),
    ("number[]", [1, 2.5], [1.0, 2.5]),
    ("boolean[]", np.array([True, False]), [True, False]),
    ("uuid[]", [uuid.UUID(ID), ID.upper()], [ID, ID]),
    ("date[]", np.array([], "datetime64[ns]"), []),
    ("object", {"name": "Frank", "born": 1920}, {"name": "Frank", "born": 1920.0}),
    ("object", UserDict(name="Frank", born=1920), {"name": "Frank", "born": 1920.0}),
    ("object", Author("Frank", 1920), {"name": "Frank", "born": 1920.0}),
    ("object", SlottedAuthor("Frank", 1920), {"name": "Frank", "born": 1920.0}),
    ("object", beam.Row(name="Frank", born=1920), {"name": "Frank", "born": 1920.0}),
    ("object", {"name": None, "born": pd.NA}, {}),
    ("object", {}, {}),
    ("object, dropping", {"name": "Frank", "age": 65, 5: "x"}, {"name": "Frank"}),
    ("object[]", [{"name": "a"}, Author("b", 1)], [{"name": "a"}, {"name": "b", "born": 1.0}]),
    ("guess", "Dune", "Dune"),
    ("guess", True, True),
    ("guess", np.False_, False),
    ("guess", np.int8(3), 3.0),
    ("guess", Decimal("0.5"), 0.5),
    ("guess", uuid.UUID(ID), ID),
    ("guess", b"ab", "YWI="),
    ("guess", dt.datetime(2024, 5, 1, tzinfo=UTC), "2024-05-01T00:00:00Z"),
    ("guess", [1, 2], [1.0, 2.0]),
    ("guess", np.array([1.5]), [1.5]),
    ("guess", [], None),
    ("guess", np.array([]), None),
    ("guess", {"a": {"b": [1]}, "c": []}, {"a": {"b": [1.0]}}),
    ("guess", Place(1.0, 2.0), {"latitude": 1.0, "longitude": 2.0}),
]

REFUSED = [
    ("text", 5, "text, not int 5"),
    ("text", b"x", "text, not bytes"),
    ("text", True, "text, not bool True"),
    ("text", math.nan, "text, not float nan; give None for a missing value"),
    ("text", ["a"], "text, not list"),
    ("text", "a\ud800", "valid Unicode text; character 1 is a lone surrogate"),
    (
        "int",
        2**53 + 1,
        "an integer within 2^53, which is what the server can keep exactly, not int 9007199254740993",
    ),
    ("int", -(2**53) - 1, "within 2^53"),
    ("int", 10**5000, "within 2^53, which is what the server can keep exactly, not int of 16610 bits"),
    ("int", np.uint64(2**63), "within 2^53"),
    ("int", Level.BEYOND, "within 2^53, which is what the server can keep exactly, not int of 1329 bits"),
    ("int", 2.0**60, "within 2^53"),
    ("int", Decimal("1e999999999"), "within 2^53"),
    ("int", 1.5, "an integer, not float 1.5"),
    ("int", Decimal("1.5"), "an integer, not Decimal"),
    ("int", math.nan, "an integer, not float nan; give None for a missing value"),
    ("int", math.inf, "an integer, not float inf"),
    ("int", Decimal("NaN"), "an integer, not Decimal"),
    ("int", True, "an integer, not bool True"),
    ("int", np.True_, "an integer, not bool"),
    ("int", np.timedelta64(5, "s"), "an integer, not timedelta64"),
    ("number", np.timedelta64(5, "s"), "a number, not timedelta64"),
    ("guess", np.timedelta64(5, "s"), "an integer, not timedelta64"),
    ("int", "5", "an integer, not str '5'"),
    ("int", np.complex64(1), "an integer, not complex64"),
    ("number", math.nan, "a finite number, not float nan; give None for a missing value"),
    ("number", -math.inf, "a finite number, not float -inf"),
    ("number", np.float32("nan"), "a finite number, not float nan"),
    ("number", Decimal("Infinity"), "a finite number"),
    ("number", Decimal("1e400"), "a finite number"),
    ("number", Decimal("0.12345678901234567890123"), "a number that float64 can keep exactly, not Decimal"),
    ("number", 2**53 + 1, "(integers within 2^53), not int 9007199254740993"),
    ("number", 10**400, "(integers within 2^53), not int of 1329 bits"),
    ("number", True, "a number, not bool True"),
    ("number", "0.5", "a number, not str '0.5'"),
    ("number", 1j, "a number, not complex 1j"),
    ("boolean", 1, "true or false, not int 1"),
    ("boolean", "true", "true or false, not str 'true'"),
    ("uuid", "abc", "a UUID (8-4-4-4-12 hexadecimal digits), not str 'abc'"),
    ("uuid", ID.replace("-", ""), "a UUID"),
    ("uuid", "{" + ID + "}", "a UUID"),
    ("uuid", ID + "\n", "a UUID"),
    ("uuid", uuid.UUID(ID).bytes, "a UUID"),
    ("blob", b"", "at least one byte"),
    ("blob", "", "at least one byte"),
    ("blob", "YWI", "bytes, or text in standard base64 with padding"),
    ("blob", "Y-_=", "bytes, or text in standard base64 with padding"),
    ("blob", "YWI=\n", "bytes, or text in standard base64 with padding"),
    ("blob", "é", "bytes, or text in standard base64 with padding"),
    ("blob", 5, "bytes or base64 text, not int 5"),
    ("geoCoordinates", {"latitude": 90.001, "longitude": 0}, "a latitude between -90 and 90, not float 90.001"),
    ("geoCoordinates", {"latitude": 0, "longitude": -181}, "a longitude between -180 and 180, not int -181"),
    ("geoCoordinates", {"latitude": math.nan, "longitude": 0}, "a latitude between -90 and 90, not float nan"),
    ("geoCoordinates", {"latitude": None, "longitude": 0}, "a latitude between -90 and 90, not NoneType None"),
    ("geoCoordinates", {"latitude": "1", "longitude": 0}, "a number, not str '1'"),
    ("geoCoordinates", {"latitude": 1}, "latitude and longitude, not dict"),
    ("geoCoordinates", {"latitude": 1, "longitude": 1, "altitude": 1}, "latitude and longitude, not dict"),
    ("geoCoordinates", [1, 2], "latitude and longitude, not list"),
    (
        "phoneNumber",
        {"defaultCountry": "de"},
        "a phone number as text, or its input and defaultCountry, not dict",
    ),
    (
        "phoneNumber",
        {"input": "1", "extension": "2"},
        "a phone number as text, or its input and defaultCountry",
    ),
    ("phoneNumber", {"input": None}, "text as the input of a phone number, not NoneType None"),
    (
        "phoneNumber",
        {"input": "1", "defaultCountry": 49},
        "text as the defaultCountry of a phone number, not int 49",
    ),
    ("phoneNumber", 4930, "a phone number as text"),
    ("text[]", "abc", "a list (text[]), not str 'abc'"),
    ("text[]", {"a"}, "a list (text[]), not set"),
    ("text[]", {"a": 1}, "a list (text[]), not dict"),
    ("text[]", ["a", 5], "in item 1: text, not int 5"),
    ("text[]", ["a", None], "in item 1: a value; lists have no nulls"),
    ("text[]", [pd.NA], "in item 0: a value; lists have no nulls"),
    ("text[]", [["a"]], "in item 0: text, not list"),
    ("int[]", [1, 2**53 + 1], "in item 1: an integer within 2^53"),
    ("int[]", np.array([2**62]), "in item 0: an integer within 2^53"),
    ("int[]", np.array(5), "a list, not a numpy array of 0 dimensions"),
    ("int[]", np.array([[5]]), "a list, not a numpy array of 2 dimensions"),
    ("int[]", np.array(["2024-01-01"], "datetime64[ns]"), "in item 0: an integer, not datetime64"),
    ("int[]", np.array([5], "timedelta64[ns]"), "in item 0: an integer, not timedelta64"),
    ("number[]", [0.5, math.nan], "in item 1: a finite number, not float nan"),
    ("number[]", np.array([np.inf]), "in item 0: a finite number, not float inf"),
    (
        "object",
        {"name": "x", "age": 5},
        "an object without 'age': no such nested property (it has 'name', 'born')",
    ),
    ("object", {"Name": "x"}, "an object without 'Name'"),
    ("object", {1: "x"}, "an object without 1"),
    ("object", {"name": 5}, "in 'name': text, not int 5"),
    ("object", "Frank", "an object, not str 'Frank'"),
    ("object", Author, "an object, not type"),
    ("object", Place, "an object, not type"),
    ("object[]", [{"name": "a"}, {"born": "x"}], "in item 1: in 'born': an integer, not str 'x'"),
    ("object[]", {"name": "a"}, "a list (object[]), not dict"),
    ("guess", {1: "a"}, "an object whose members are named by text, not int 1"),
    ("guess", {"\ud800": "a"}, "valid Unicode text"),
    ("guess", {"a": {"b": math.nan}}, "in 'a': in 'b': a finite number, not float nan"),
    ("guess", {1, 2}, "a value that has a Weaviate type, not set"),
    ("guess", 1j, "a value that has a Weaviate type, not complex"),
    ("guess", np.array(5), "a list, not a numpy array of 0 dimensions"),
    ("guess", dt.datetime(2024, 5, 1), "a date with a time zone"),
    ("guess", 2**53 + 1, "an integer within 2^53"),
]

DATES = [
    ("date", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z"),
    ("date", "2024-05-01T12:00:00.120+02:30", "2024-05-01T12:00:00.120+02:30"),
    ("date", "2024-05-01t12:00:00z", "2024-05-01T12:00:00Z"),
    ("date", "2024-05-01 12:00:00+00:00", "2024-05-01T12:00:00+00:00"),
    ("date", "2024-05-01T12:00:00.1234567890Z", "2024-05-01T12:00:00.1234567890Z"),
    ("date", "0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z"),
    ("date", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ("date", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ("date", "2024-02-29T00:00:00-23:59", "2024-02-29T00:00:00-23:59"),
    ("date", dt.datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00Z"),
    ("date", dt.datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ("date", dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "9999-12-31T23:59:59.999999Z"),
    ("date", dt.datetime(2024, 5, 1, 12, 0, 0, 500_000, BERLIN), "2024-05-01T12:00:00.5+02:00"),
    (
        "date",
        dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30))),
        "2024-05-01T12:00:00-03:30",
    ),
    ("date", dt.datetime(1890, 1, 1, tzinfo=BERLIN), "1889-12-31T23:06:32Z"),
    (
        "date",
        dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone(dt.timedelta(microseconds=1))),
        "2024-05-01T11:59:59.999999Z",
    ),
    ("date", pd.Timestamp("2024-05-01T12:00:00.123456789Z"), "2024-05-01T12:00:00.123456789Z"),
    (
        "date",
        pd.Timestamp("2024-05-01T12:00:00.123456789", tz="Europe/Berlin"),
        "2024-05-01T12:00:00.123456789+02:00",
    ),
    ("date", Timestamp(1714564800, 250_000), "2024-05-01T12:00:00.25Z"),
    ("date, Berlin", dt.datetime(2024, 5, 1, 12), "2024-05-01T12:00:00+02:00"),
    ("date, Berlin", dt.datetime(2024, 1, 1, 12), "2024-01-01T12:00:00+01:00"),
    ("date, Berlin", dt.datetime(2024, 10, 27, 2, 30), "2024-10-27T02:30:00+02:00"),
    ("date, Berlin", dt.datetime(2024, 10, 27, 2, 30, fold=1), "2024-10-27T02:30:00+01:00"),
    ("date, Berlin", dt.datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00Z"),
    ("date, Berlin", dt.date(2024, 5, 1), "2024-05-01T00:00:00+02:00"),
    ("date, Berlin", "2024-05-01", "2024-05-01T00:00:00+02:00"),
    ("date, Berlin", "2024-05-01 12:00:00.5", "2024-05-01T12:00:00.5+02:00"),
    ("date, Berlin", "2024-05-01T12:00:00.123456789", "2024-05-01T12:00:00.123456789+02:00"),
    ("date, Berlin", pd.Timestamp("2024-05-01T12:00:00.000000001"), "2024-05-01T12:00:00.000000001+02:00"),
    ("date, UTC", np.datetime64("2024-05-01T12:00:00.123456789"), "2024-05-01T12:00:00.123456789Z"),
    ("date, UTC", np.datetime64("2024-05-01T12:00:00.5", "ms"), "2024-05-01T12:00:00.5Z"),
    ("date, UTC", np.datetime64("2024-05-01T12", "h"), "2024-05-01T12:00:00Z"),
    ("date, UTC", np.datetime64("2024-05-01"), "2024-05-01T00:00:00Z"),
    ("date, UTC", np.datetime64("2024-05"), "2024-05-01T00:00:00Z"),
    ("date, UTC", np.datetime64("2024"), "2024-01-01T00:00:00Z"),
    ("date, UTC", np.datetime64("1969-12-31T23:59:59.999999999"), "1969-12-31T23:59:59.999999999Z"),
    ("date, UTC", np.datetime64("9999-12-31T23:59:59.999999", "us"), "9999-12-31T23:59:59.999999Z"),
    ("date, UTC", np.datetime64("0001-01-01", "s"), "0001-01-01T00:00:00Z"),
    ("date, UTC", np.datetime64("1970-01-01T00:00:01.000000001000", "ps"), "1970-01-01T00:00:01.000000001Z"),
]

NO_DATES = [
    ("date", "2024-05-01T12:00:00", "a date with a time zone; '2024-05-01T12:00:00' has none (set timezone="),
    ("date", "2024-05-01", "a date with a time zone; '2024-05-01' has none"),
    (
        "date",
        dt.datetime(2024, 5, 1, 12),
        "a date with a time zone; 2024-05-01 12:00:00 has none (set timezone=",
    ),
    ("date", dt.date(2024, 5, 1), "a date with a time zone"),
    ("date", pd.Timestamp("2024-05-01"), "a date with a time zone"),
    ("date", np.datetime64("2024-05-01"), "a date with a time zone"),
    ("date", "2024-13-01T00:00:00Z", "a date and time that exist, not '2024-13-01T00:00:00Z'"),
    ("date", "2023-02-29T00:00:00Z", "a date and time that exist"),
    ("date", "2024-05-01T24:00:00Z", "a date and time that exist"),
    ("date", "2016-12-31T23:59:60Z", "a date and time that exist"),
    ("date", "2024-05-01T12:00:00+24:00", "an RFC 3339 time with its zone (2024-05-01T12:00:00Z), not"),
    ("date", "2024-05-01T12:00:00+00:60", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00:00+0200", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00Z", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00:00.Z", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00:00,5Z", "an RFC 3339 time"),
    ("date", "10000-01-01T00:00:00Z", "an RFC 3339 time"),
    ("date", "٢٠٢٤-05-01T12:00:00Z", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00:00Z\n", "an RFC 3339 time"),
    ("date", "", "an RFC 3339 time"),
    ("date", "yesterday", "an RFC 3339 time"),
    ("date", "2024-05-01T12:00:00.1234567891Z", "a time to the nanosecond at most"),
    ("date", 1714564800, "a date, not int 1714564800"),
    ("date", dt.time(12), "a date, not time"),
    ("date", dt.timedelta(1), "a date, not timedelta"),
    ("date", MAX_TIMESTAMP, "a time within the years 1 to 9999"),
    ("date", dt.datetime(1, 1, 1, tzinfo=BERLIN), "a time within the years 1 to 9999, in UTC and in its zone"),
    ("date, Berlin", dt.date(1, 1, 1), "a time within the years 1 to 9999"),
    ("date, Berlin", "0000-01-01", "a date and time that exist"),
    ("date, UTC", np.datetime64("10000-01-01", "s"), "a time within the years 1 to 9999"),
    ("date, UTC", np.datetime64("0000-01-01", "s"), "a time within the years 1 to 9999"),
    ("date, UTC", np.datetime64("1970-01-01T00:00:00.000000000001", "ps"), "a time to the nanosecond at most"),
    ("date[]", [dt.datetime(2024, 5, 1, tzinfo=UTC), "x"], "in item 1: an RFC 3339 time"),
    ("date[]", np.array(["2024-05-01"], "datetime64[ns]"), "in item 0: a date with a time zone"),
]


def name_of(value):
    if isinstance(value, (int, memoryview)):  # of a memoryview nothing is the same in the next run
        return type(value).__name__
    return f"{type(value).__name__} {str(value)[:40]!r}"


@pytest.mark.parametrize(("kind", "value", "expected"), ACCEPTED + DATES, ids=name_of)
def test_a_value_is_stored_exactly(kind, value, expected):
    assert stored(ENCODERS[kind](value)) == expected
    assert type(stored(ENCODERS[kind](value))) is type(expected) or kind == "int"


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED + NO_DATES, ids=name_of)
def test_what_cannot_be_stored_exactly_is_refused_with_a_reason(kind, value, message):
    with pytest.raises(ValueError) as refused:
        ENCODERS[kind](value)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("null", [None, pd.NA, pd.NaT, np.datetime64("NaT"), np.timedelta64("NaT")], ids=repr)
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_null_leaves_every_type_of_property_unset(kind, null):
    assert ENCODERS[kind](null) is None


@pytest.mark.parametrize("value", [0, "", False, [], math.nan, "None", np.datetime64("2024")])
def test_what_is_only_like_nothing_is_no_null(value):
    assert not wire.is_null(value)


@settings(deadline=None)
@given(st.integers(-(2**53), 2**53))
def test_integers_within_2_to_the_53_come_back(number):
    assert int(stored(wire.encode_int(number))) == number
    assert wire.encode_int(np.int64(number)) == wire.encode_int(number)


@settings(deadline=None)
@given(st.integers(min_value=2**53 + 1), st.sampled_from([1, -1]))
def test_integers_beyond_2_to_the_53_are_refused_by_every_number_type(magnitude, sign):
    number = sign * magnitude
    for encode in (wire.encode_int, wire.encode_number, ENCODERS["guess"]):
        with pytest.raises(ValueError, match=r"within 2\^53"):
            encode(number)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(number):
    assert stored(wire.encode_number(number)) == number
    assert stored(wire.encode_number(Decimal(repr(number)))) == number


@settings(deadline=None)
@given(st.datetimes(timezones=st.timezones()))
def test_datetimes_keep_their_instant(moment):
    try:
        text = stored(DATE(moment))
    except ValueError as error:
        assert "years 1 to 9999" in str(error)
        return
    six_digits = re.sub(
        r"\.(\d+)", lambda m: f".{m[1]:0<6}", text.replace("Z", "+00:00")
    )  # as Python 3.10 wants
    assert dt.datetime.fromisoformat(six_digits) == moment.astimezone(UTC)
    assert stored(DATE(text)) == text


@settings(deadline=None)
@given(st.datetimes(), st.integers(0, 999))
def test_numpy_pandas_and_python_times_are_encoded_the_same(moment, nanosecond):
    encode = wire.date_encoder(UTC)
    assert encode(np.datetime64(moment)) == encode(moment) == encode(moment.replace(tzinfo=UTC))
    if 1700 < moment.year < 2200:
        exact = np.datetime64(moment, "ns") + np.timedelta64(nanosecond, "ns")
        assert encode(pd.Timestamp(exact)) == encode(exact)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant == 52, reason="longdouble is no wider than float64 here")
def test_a_longdouble_is_not_rounded():
    with pytest.raises(ValueError, match="a number that float64 can keep exactly, not longdouble"):
        wire.encode_number(np.nextafter(np.longdouble(1), np.longdouble(2)))


def test_a_geo_coordinate_and_a_phone_number_do_not_depend_on_the_order_of_members():
    assert wire.encode_geo({"latitude": 1, "longitude": 2}) == wire.encode_geo({"longitude": 2, "latitude": 1})
    one, two = {"input": "1", "defaultCountry": "de"}, {"defaultCountry": "de", "input": "1"}
    assert wire.encode_phone(one) == wire.encode_phone(two) == ENCODERS["guess"](one)


def test_the_value_is_not_changed():
    value = {"born": 1920, "name": None, "more": [1]}
    wire.struct_encoder({"name": wire.encode_text, "born": wire.encode_int}, drop_unknown=True)(value)
    assert value == {"born": 1920, "name": None, "more": [1]}


@settings(deadline=None)
@given(st.integers(0, 2**40))
def test_varints_are_those_of_protobuf(number):
    assert struct_pb2.Value.FromString(b"\x08" + framing.varint(0)).WhichOneof("kind") == "null_value"
    decoded = shift = 0
    for byte in framing.varint(number):
        decoded |= (byte & 127) << shift
        shift += 7
    assert decoded == number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ID, ID),
        (ID.upper(), ID),
        (uuid.UUID(ID), ID),
        (ID[:-1], None),
        (5, None),
        (None, None),
        ("K" * 36, None),
    ],
)
def test_a_uuid_has_one_canonical_text(value, expected):
    assert wire.canonical_uuid(value) == expected
