"""Values of every class that a pipeline may bring along, and of classes that no sane pipeline has."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import math
import uuid
from array import array
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp
from hypothesis import strategies as st


def _raise(*_: Any, **__: Any) -> Any:
    raise RuntimeError("in two\nlines")


def _bad(base: type, *methods: str) -> Any:
    return type(f"Bad{base.__name__}", (base,), dict.fromkeys(methods, _raise))


class _Members(Mapping):
    """A mapping that has its keys, and no more."""

    def __getitem__(self, key: Any) -> Any:
        return _raise()

    def __iter__(self) -> Any:
        return iter("ab")

    def __len__(self) -> int:
        return 2


class _Anything:
    """Has every attribute, of which none is what it seems."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self


class _Lines:
    def __repr__(self) -> str:
        return "a\nb\r\nc\u2028d"


class _Colour(str, enum.Enum):
    RED = "red"


@dataclasses.dataclass
class _Size:
    size: int = 1


_Pair = collections.namedtuple("_Pair", "a b")
_loop: list[Any] = []
_loop.append(_loop)
_loops: dict[str, Any] = {}
_loops["size"] = _loops


def nested(levels: int, wrap: Any = lambda value: [value]) -> Any:
    """A value within so many lists."""
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


ODD: list[Any] = [
    *(_bad(str, *methods)("abc") for methods in (["__str__", "lower"], ["__getitem__", "encode"], ["__len__"])),
    _bad(int, "__int__", "__le__", "__repr__")(5),
    _bad(float, "__float__", "__repr__")(1.5),
    _bad(dict, "__iter__", "items", "keys", "__getitem__")(a=1),
    _bad(list, "__iter__", "__len__", "__getitem__")([1]),
    _bad(object, "__repr__")(),
    _bad(object, "__getattr__")(),
    _bad(object, "__array__")(),
    _bad(object, "_asdict")(),
    _bad(dt.tzinfo, "utcoffset")(),
    dt.datetime(2024, 1, 1, tzinfo=_bad(dt.tzinfo, "utcoffset")()),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14))),
    dt.datetime(9999, 12, 31, 23, 59, tzinfo=dt.timezone(-dt.timedelta(hours=14))),
    type("NoMapping", (), {"_asdict": lambda self: 5})(),
    *(_Members(), _Anything(), _Lines(), _Colour.RED, _Size(), _Size, _Pair(1, 2), beam.Row(size=1)),
    *(_loop, _loops, nested(900), nested(100_000), nested(100_000, lambda value: {"size": value})),
    *(
        pd.NA,
        pd.NaT,
        pd.Timestamp("2024-01-01"),
        pd.Series([1, 2]),
        pd.DataFrame({"a": [1]}),
        pd.Interval(1, 2),
    ),
    *(pa.scalar(1), pa.array([1, 2]), pa.scalar([1.0])),
    *(np.array(5), np.array([1, None], object), np.array(["a"]), np.zeros(2, [("a", int)]), np.zeros((2, 0))),
    *(np.datetime64("NaT"), np.datetime64("9999999-01"), np.timedelta64(5, "s"), np.void(b"abc"), np.ma.masked),
    *(
        np.longdouble("1e4000"),
        np.complex64(1),
        np.float32("nan"),
        np.zeros(70_000, np.float32),
        np.bool_(True),
    ),
    *(memoryview(b"abcdefgh")[::2], memoryview(np.zeros((2, 2))), bytearray(b"ab"), array("q", [1])),
    *(array("d", [1e300]), fractions.Fraction(1, 3), decimal.Decimal("sNaN"), decimal.Decimal("1e999999")),
    *(1j, range(5), iter([1]), print, object, Ellipsis, {1, 2}, frozenset([1]), collections.deque([1])),
    *(Timestamp(2**40), dt.time(1), dt.timedelta(1), dt.datetime.min, dt.date.min, uuid.UUID(int=5)),
    *(
        10**400,
        -(10**5000),
        1e999,
        math.nan,
        "\ud800",
        "\x00",
        "a\nb",
        "1e999",
        "2024-02-30T00:00:00Z",
        b"\xff",
    ),
]


def _odd(number: int) -> Any:
    return ODD[number]


TEXT = st.text(st.characters(exclude_categories=()))
_ANY = st.one_of(
    st.sampled_from(range(len(ODD))).map(_odd),  # by number: Hypothesis would ask them for their repr
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary() | st.decimals() | st.uuids(),
    st.datetimes(timezones=st.none() | st.timezones()),
)
_NAMES = st.sampled_from(["size", "a", "latitude", "longitude", "input", "defaultCountry", 1, None, "\ud800"])
VALUES = st.recursive(
    _ANY, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=6
)
"""Any value at all."""
