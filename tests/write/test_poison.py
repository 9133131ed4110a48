"""Whatever is wrong with a row, it costs that row only: bad rows of every kind among good ones, into a real server.

Exactly the bad ones come out in ``failed``, each with what is needed to mend it, also after the dead letter went
through a file; mended, they are written under the ids they had.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from array import array
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pytest

from tests.write.running import FN_API, TWO_PROCESSES
from weaviate_io import WeaviateObject, WriteToWeaviate, generate_uuid5
from weaviate_io.failures import failure_from_json, failure_to_json
from weaviate_io.mapping import unwrap
from weaviate_io.objects import SourceRow

TYPES = ("text", "int", "number", "boolean", "date", "uuid", "blob", "geoCoordinates", "phoneNumber")
LISTS = ("text[]", "int[]", "number[]", "boolean[]", "date[]", "uuid[]")
NESTED = [{"name": "size", "dataType": ["int"]}]


def schema(name: str) -> dict[str, Any]:
    return {
        "class": name,
        "properties": [
            *({"name": name, "dataType": ["text"]} for name in ("key", "label")),
            *({"name": field(kind), "dataType": [kind]} for kind in (*TYPES, *LISTS)),
            {"name": "object", "dataType": ["object"], "nestedProperties": NESTED},
            {"name": "parts", "dataType": ["object[]"], "nestedProperties": NESTED},
        ],
        "vectorConfig": {
            "one": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"},
            "many": {
                "vectorizer": {"none": {}},
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"multivector": {"enabled": True}},
            },
        },
    }


def field(kind: str) -> str:
    return f"p_{kind.replace('[]', 's')}"


class Case(NamedTuple):
    """A row with one thing wrong: its changes against a good row, and the reason to expect."""

    name: str
    changes: dict[str, Any]
    reason: str


def properties(kind: str, *values: Any) -> list[Case]:
    return [Case(f"{kind} {_shown(v)}", {field(kind): v}, "invalid_property") for v in values]


def vectors(name: str, *values: Any) -> list[Case]:
    return [Case(f"vector {name} {_shown(v)}", {name: v}, "invalid_vector") for v in values]


def _shown(value: Any) -> str:
    return (
        f"{type(value).__name__} {value!r:.40}"
        if not isinstance(value, int)
        else f"int {value.bit_length()} bits"
    )


class Odd:
    """A value of a class that nothing knows."""

    def __repr__(self) -> str:
        return "Odd()"


class Mute:
    """A value whose class fails at telling what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


NAN, INF = math.nan, math.inf
DAY = datetime.date(2024, 1, 1)
NAIVE = datetime.datetime(2024, 1, 1)
LOOP: list[Any] = []
LOOP.append(LOOP)
CASES = [
    *properties("text", 1, 1.5, True, b"ab", {1, 2}, ["a"], {"a": 1}, "\ud800", "a\udfffb", Odd(), object, print),
    *properties("int", "1", 1.5, True, 2**53 + 1, -(2**53) - 1, 2**70, NAN, INF, [1], {1, 2}, Odd()),
    *properties("int", decimal.Decimal("1.1"), np.float32(0.5), np.int64(2**60), np.bool_(True), 10**5000),
    *properties("number", "1", True, NAN, INF, -INF, 2**53 + 1, decimal.Decimal("NaN"), np.float64("inf"), [1.0]),
    *properties("number", decimal.Decimal("0.12345678901234567890123"), 1j, 10**400),
    *properties("boolean", 0, 1, "true", "", [True], NAN),
    *properties("date", NAIVE, DAY, "2024-01-01", "yesterday", 0, "2024-01-01T00:00:00", "2024-13-01T00:00:00Z"),
    *properties("date", np.datetime64("2024-01-01"), datetime.time(12), "", "10000-01-01T00:00:00Z"),
    *properties("uuid", "abc", 5, b"0123456789abcdef", "", ID := "6cb8e707-0fc5-5f55-88d4-d4fed43e64aX", [ID]),
    *properties("blob", "no base64!", 5, ["YQ=="], "YQ"),
    *properties("geoCoordinates", {"latitude": 91, "longitude": 0}, {"latitude": 0, "longitude": 181}),
    *properties("geoCoordinates", {"latitude": NAN, "longitude": 0}, {"latitude": 0}, [1, 2], "1,2", {}),
    *properties("geoCoordinates", {"latitude": "1", "longitude": 2}, {"latitude": 1, "longitude": 2, "height": 3}),
    *properties("phoneNumber", 5, {"defaultCountry": "de"}, {"input": 5}, [], {"input": "1", "x": "y"}),
    *properties("text[]", "a", 1, ["a", 1], ["a", None], [["a"]], {"a"}, [b"a"], ["\ud800"]),
    *properties("int[]", 1, [1, "a"], [1, 2.5], [2**53 + 1], [2**70], [None], [[1]], [True], np.array([0.5])),
    *properties("number[]", 1.0, [NAN], [1.0, "a"], np.array([1.0, INF]), [None], np.zeros((2, 2))),
    *properties("boolean[]", True, [1], [None], "true"),
    *properties("date[]", [NAIVE], ["x"], [None], DAY),
    *properties("uuid[]", ["x"], [None], uuid.UUID(int=1)),
    Case("object of text", {"object": "a"}, "invalid_property"),
    Case("object with an unknown property", {"object": {"size": 1, "colour": "red"}}, "invalid_property"),
    Case("object with text for an int", {"object": {"size": "1"}}, "invalid_property"),
    Case("object with keys that are no text", {"object": {1: "a"}}, "invalid_property"),
    Case("objects with one that is none", {"parts": [{"size": 1}, 5]}, "invalid_property"),
    Case("objects that are one", {"parts": {"size": 1}}, "invalid_property"),
    Case("a list in itself", {"parts": LOOP}, "invalid_property"),
    Case("a property that is unknown", {"colour": "red"}, "unknown_property"),
    Case("a property named id", {"id": "x"}, "unknown_property"),
    Case("a property named vector", {"vector": 1}, "unknown_property"),
    Case("a key that is no text", {1: "a"}, "unknown_property"),
    Case("a key of half a surrogate pair", {"\ud800": "a"}, "unknown_property"),
    Case("an empty key", {"": "a"}, "unknown_property"),
    *vectors("one", [0.1, NAN, 1], [0.1, INF, 1], [0.1, None, 1], ["0.1", "0.2", "0.3"], [], [1e39, 0, 0], 5, "abc"),
    *vectors("one", [0.1, 0.2], [0.1] * 4, np.array([[0.1, 0.2, 0.3]]), [True, False, True], b"abc", {1, 2, 3}),
    *vectors("one", np.array([0.1, NAN, 0], np.float32), np.array(["a", "b", "c"]), array("f", [NAN, 1, 1]), [1j] * 3),
    *vectors("one", np.float16([INF, 0, 0]), np.array([1, None, 3], object), [[0.1, 0.2, 0.3]], Odd()),
    *vectors("many", [0.1, 0.2, 0.3], [[0.1, 0.2], [0.3]], [[]], [[NAN, 1]], np.zeros((0, 2)), np.zeros((2, 2, 2))),
    Case("a value without words", {"p_text": Mute()}, "invalid_property"),
    Case("a list of a value without words", {"p_texts": [Mute()]}, "invalid_property"),
    Case("a vector without words", {"one": Mute()}, "invalid_vector"),
    Case("a vector of values without words", {"one": [Mute(), 1, 1]}, "invalid_vector"),
    Case("a key that is a huge integer", {10**5000: "a"}, "unknown_property"),
    Case("a key without words", {Mute(): "a"}, "unknown_property"),
    Case("an id without words", {"key": Mute()}, "invalid_uuid"),
    Case("an id that is a huge integer", {"key": 10**5000}, "invalid_uuid"),
    Case("no key", {"key": None}, "missing_id"),
    Case("a key that is a float", {"key": 1.5}, "invalid_uuid"),
    Case("a key that is a list", {"key": ["a"]}, "invalid_uuid"),
    Case("a key of half a surrogate", {"key": "\udc00"}, "invalid_uuid"),
]  # fmt: skip
NO_ROWS = [None, 5, "text", b"bytes", Mute(), ["list"], {"a", "set"}, Odd(), (1, 2), print, 1.5, NAN]


CASES = [case._replace(name=f"{number}: {case.name}") for number, case in enumerate(CASES)]


def good(name: str) -> dict[str, Any]:
    return {"key": name, "label": name, "one": [1.0, 2.0, 3.0], "many": [[1.0, 2.0], [3.0, 4.0]]}


class Rows(beam.PTransform):
    """All bad rows, each behind a good one, as rows of a file: Beam's own coder does not take them all as they are."""

    def expand(self, begin: Any) -> Any:
        return begin | beam.Create(range(len(CASES) + len(NO_ROWS))) | beam.FlatMap(made)


def made(number: int) -> list[SourceRow]:
    if number >= len(CASES):
        return [SourceRow(NO_ROWS[number - len(CASES)], f"file: row {number}")]
    case = CASES[number]
    good_one = SourceRow(good(f"good {case.name}"), "file: a good row")
    return [good_one, SourceRow({**good(case.name), **case.changes}, f"file: row {number}")]


def mended(kept: Any, case: Case) -> WeaviateObject:
    """The object when what is bad is taken out of what the dead letter kept, or replaced by something good."""
    row, fresh = unwrap(kept).row, good(case.name)
    if isinstance(row, WeaviateObject):
        row = row.properties | row.vector
    row = {
        name: value
        for name, value in row.items()
        if name in fresh or (isinstance(name, str) and name not in case.changes)
    }
    row |= {name: fresh[name] for name in case.changes if name in fresh}
    vector = {name: row.pop(name) for name in ("one", "many")}
    return WeaviateObject(row, kept.uuid or generate_uuid5(row["key"]), vector)


@pytest.mark.parametrize(("runner", "batching"), [(FN_API, "bundle"), (TWO_PROCESSES, "group_into_batches")])
def test_exactly_the_bad_rows_fail_and_can_be_mended(write, server, witness, new_name, runner, batching):
    name = new_name()
    transform = WriteToWeaviate(
        name,
        url=server.url,
        grpc_url=server.grpc_url,
        schema=schema(name),
        id_field="key",
        vector_field={"one": "one", "many": "many"},
        dimensions={"one": 3, "many": 2},
        batching=batching,
    )
    done = write(Rows(), transform, runner)

    def stored() -> set[str]:
        return {
            o.properties["label"] for o in witness.collections.get(name).iterator(return_properties=["label"])
        }

    assert stored() == {f"good {case.name}" for case in CASES}
    assert len(done.written) == len(CASES)
    assert [f.reason for f in done.failed].count("invalid_row") == len(NO_ROWS)
    cases = {case.name: case for case in CASES}
    replay = []
    for failure in done.failed:
        assert failure.attempts == 0 and failure.error and "\n" not in failure.error
        if failure.reason == "invalid_row":
            continue
        kept = failure_from_json(failure_to_json(failure))
        row = unwrap(kept).row
        case = cases.pop((row.properties if isinstance(row, WeaviateObject) else row)["label"])
        assert failure.reason == case.reason, (case, failure)
        assert failure.uuid in (None, generate_uuid5(case.name))
        assert failure.position == f"file: row {CASES.index(case)}"
        replay.append(mended(kept, case))
    assert not cases, "these bad rows were not told"
    again = write(replay, transform, runner)
    assert not again.failed, json.dumps([(f.reason, f.error) for f in again.failed])
    assert stored() == {name for case in CASES for name in (case.name, f"good {case.name}")}
