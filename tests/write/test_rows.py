"""Rows of any kind as elements: they are encoded together, and each is judged as if it had come alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pytest

from weaviate_io import ReadRows, WriteToWeaviate
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.objects import SourceRow
from weaviate_io.testing import ErrorsWhere, FakeWeaviate

SCHEMA = {
    "class": "Article",
    "vectorizer": "none",
    "properties": [{"name": "number", "dataType": ["int"]}, {"name": "title", "dataType": ["text"]}],
}


class Pair(NamedTuple):
    number: int
    title: Any
    embedding: Any


@dataclass
class Record:
    number: int
    title: Any
    embedding: Any


def from_file(**fields: Any) -> SourceRow:
    return SourceRow(fields, f"a.json: row {fields['number']}")


KINDS: dict[str, Callable[..., Any]] = {
    "dict": dict,
    "beam.Row": beam.Row,
    "named tuple": Pair,
    "dataclass": Record,
    "row of a file": from_file,
}


@pytest.fixture
def fake(fake: FakeWeaviate) -> FakeWeaviate:
    fake.create_collection(SCHEMA)
    return fake


@pytest.fixture
def encoded_alone(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was encoded for itself."""
    seen: list[Any] = []
    encode = ObjectEncoder.encode

    def watched(self: ObjectEncoder, given: Any) -> Any:
        seen.append(given.properties["number"])
        return encode(self, given)

    monkeypatch.setattr(ObjectEncoder, "encode", watched)
    return seen


def writing(fake: FakeWeaviate) -> WriteToWeaviate:
    return WriteToWeaviate(
        "Article", url=fake.url, grpc_url=fake.grpc_url, id_field="number", vector_field="embedding"
    )


def stored(fake: FakeWeaviate) -> dict[int, str]:
    found = (message.properties.non_ref_properties for message in fake.objects.values())
    return {int(properties["number"]): properties["title"] for properties in found}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_rows_are_encoded_together_and_a_bad_one_fails_alone(
    write: Any, fake: FakeWeaviate, encoded_alone: list[Any], kind: Callable[..., Any]
) -> None:
    rows = [kind(number=n, title=5 if n == 70 else f"title {n}", embedding=[n, 0.5]) for n in range(300)]
    done = write(rows, writing(fake))
    assert stored(fake) == {n: f"title {n}" for n in range(300) if n != 70}
    assert set(encoded_alone) == {70}
    (dead,) = done.failed
    assert dead.reason == "invalid_property" and dead.object.properties["title"] == 5
    assert dead.position == ("a.json: row 70" if kind is from_file else None)


def test_rows_of_all_kinds_wait_together(write: Any, fake: FakeWeaviate, encoded_alone: list[Any]) -> None:
    kinds = list(KINDS.values())
    rows = [kinds[n % len(kinds)](number=n, title=f"title {n}", embedding=[n, 0.5]) for n in range(300)]
    done = write(rows, writing(fake))
    assert len(done.written) == len(stored(fake)) == 300
    assert encoded_alone == []


class RowsOf(beam.PTransform):
    """The rows of a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return (pipeline | ReadRows(self._path)).rows


def test_a_row_that_the_server_refuses_keeps_its_place_in_the_file(
    write: Any, fake: FakeWeaviate, encoded_alone: list[Any], tmp_path: Any
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"number": n, "title": f"title {n}", "embedding": [1.0, n + 0.5]} for n in range(200)]
    file.write_text("\n".join(map(json.dumps, rows)))
    refused = ErrorsWhere(
        lambda one: "no such luck" if one.properties.non_ref_properties["number"] == 150 else None
    )
    fake.behave(lambda *_: refused)
    done = write(RowsOf(str(file)), writing(fake))
    assert encoded_alone == []
    (dead,) = done.failed
    assert (dead.error, dead.position) == ("no such luck", f"{file}: line 151")
    assert dead.object.properties == {"number": 150, "title": "title 150"}
    assert len(stored(fake)) == len(done.written) == 199
