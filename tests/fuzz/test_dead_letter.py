"""Whatever a line says, it is a failure that can go on, or told as none in one line."""

from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import TEXT
from weaviate_io import FailedObject, FailedReference, WeaviateObject, WeaviateReference
from weaviate_io.failures import _carried, failure_from_json, failure_to_json

TYPES = ["bytes", "uuid", "datetime", "date", "time", "timedelta", "decimal", "datetime64", "mapping", "row"]
TYPES += ["text_row", "object", "reference", "array", "int", "float", "repr", "unheard"]
CONTENT = [
    "<f4",
    "O",
    ",f4",
    "(99999999999,)i8",
    "0x1f",
    "AAAA",
    "NaT",
    "1e999999999",
    "sNaN",
    [1, 2, 3],
    10**400,
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(CONTENT)


def extended(inner: Any) -> Any:
    more = {"value": inner, "dtype": inner, "shape": inner, "position": inner}
    typed = st.fixed_dictionaries({"$type": st.sampled_from(TYPES) | inner}, optional=more)
    return st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3) | typed


VALUES = st.recursive(LEAVES, extended, max_leaves=8)
OBJECT = FailedObject("r", "e", 0, None, None, None, None, None, None)._asdict()
REFERENCE = FailedReference("r", "e", 0, None, None, None, None, None, None, None, None, None)._asdict()
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "row": VALUES,
        "object": VALUES | st.fixed_dictionaries(dict.fromkeys(WeaviateObject._fields, VALUES)),
        "reference": VALUES | st.fixed_dictionaries(dict.fromkeys(WeaviateReference._fields, VALUES)),
    },
) | st.dictionaries(st.sampled_from([*OBJECT, *REFERENCE, "weaviate_io", "more"]), VALUES, max_size=2)
LINES = st.one_of(
    st.builds(
        lambda base, changes: json.dumps({"weaviate_io": 1, **base, **changes}),
        st.sampled_from([OBJECT, REFERENCE]),
        CHANGES,
    ),
    VALUES.map(json.dumps),
    st.binary(),
    st.text(),
)
DEEP = [b"[" * 100_000, b'{"weaviate_io":' * 100_000, b"9" * 1_000_000, b'"' + b"\\" * 99_999]


def check(line: str | bytes) -> None:
    try:
        failure = _carried(failure_from_json(line), "the line")
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith("the line")
        assert len(str(error)) < 200 and len(str(error).splitlines()) == 1
        return
    coder = beam.coders.registry.get_coder(type(failure))
    coder.decode(coder.encode(failure))
    failure_from_json(failure_to_json(failure))


@given(LINES)
def test_any_line(line: str | bytes) -> None:
    check(line)


@pytest.mark.parametrize("line", DEEP, ids=lambda line: line[:10])
def test_lines_without_end(line: bytes) -> None:
    check(line)
