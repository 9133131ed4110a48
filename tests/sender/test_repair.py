"""The steps of a repair, and vectors that the server makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.sender.harness import COLLECTIONS, Told, connection_to, made, told, uuid_of
from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.encoding import ObjectEncoder, decode_object
from weaviate_io.errors import WeaviateError
from weaviate_io.outcome import outcome_of
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Request, merge, pause_after
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FakeWeaviate, faults

Code = grpc.StatusCode


def request_for(kind: str, *numbers: int) -> Request:
    schema = CollectionSchema.from_rest(COLLECTIONS[kind])
    encode = ObjectEncoder(schema).encode
    return Request(schema, merge([encode(made(number, kind)) for number in numbers]))


@pytest.mark.parametrize("kind", ["unnamed", "named"])
def test_the_first_step_differs_in_every_vector_by_one_unit_in_the_last_place(kind: str) -> None:
    request = request_for(kind, 3)
    (entry,) = request.entries
    plain = entry.now
    assert BatchObjects().doubt(request) == 1
    nudged, exact = entry.now, entry.then
    assert exact == plain
    first, second = decode_object(nudged), decode_object(exact)
    assert first.properties == second.properties and first.uuid == second.uuid
    vectors = [(first.vector, second.vector)]
    if kind == "named":
        vectors = [(first.vector[name], second.vector[name]) for name in ("small", "tokens")]
    for moved, given in vectors:
        assert (moved != given).sum() == 1
        assert np.abs(moved.view(np.int32) - given.view(np.int32)).max() == 1


def test_planning_again_starts_over_with_the_same_two_steps() -> None:
    request = request_for("unnamed", 0)
    BatchObjects().doubt(request)
    (entry,) = request.entries
    first = (entry.now, entry.then)
    entry.step, entry.then = entry.then, None
    BatchObjects().doubt(request)
    assert (entry.now, entry.then) == first


@pytest.mark.parametrize("index", ["none", "skip"])
def test_without_a_vector_or_an_index_there_is_nothing_to_repair(index: str) -> None:
    assert BatchObjects().doubt(request_for("no vectors", 0)) == 0
    description: dict[str, Any] = {"class": "C", "vectorizer": "none"}
    description |= {"vectorIndexType": "none"} if index == "none" else {"vectorIndexConfig": {"skip": True}}
    request = request_for("unnamed", 0)
    request.schema = CollectionSchema.from_rest(description)
    assert BatchObjects().doubt(request) == 0 and request.entries[0].step is None


def test_pauses_grow_with_jitter_up_to_a_limit() -> None:
    for tries, longest in [(0, 0.5), (1, 1.0), (5, 16.0), (6, 30.0), (10_000, 30.0)]:
        pauses = [pause_after(tries) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_parts_of_a_request_have_pauses_of_their_own() -> None:
    request = request_for("unnamed", 0, 1)
    one, other = request.part(request.entries[:1]), request.part(request.entries[1:])
    one.tries += 5
    assert other.tries == 0


# Vectors that the server makes. The fake makes none, so the search is given them here.


class Made:
    """A sender for a collection whose vectors the server makes of the title."""

    def __init__(self, fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.fake = fake
        description = {**COLLECTIONS["unnamed"], "vectorizer": "text2vec-bigram"}
        self.schema = CollectionSchema.from_rest(fake.create_collection(description))
        self.client = Client(connection_to(fake))
        self.sender = Sender(self.client, **{"pause": lambda tries: 0.0, **options})
        self.searches: list[Any] = []
        self.without: set[str] = set()
        self.hidden: set[str] = set()
        self.errors: list[grpc.RpcError] = []
        monkeypatch.setattr(self.client, "search", self._search)
        encode = ObjectEncoder(self.schema).encode
        self.entries = [encode(made(n, "no vectors")) for n in range(6)]

    def _search(self, request: Any) -> Any:
        self.searches.append(list(request.filters.value_text_array.values))
        if self.errors:
            raise self.errors.pop(0)
        reply = proto.SearchReply()
        for uuid in self.searches[-1]:  # not by cursor: what is hidden here is not there at all
            if uuid in self.hidden or ("Article", "", uuid) not in self.fake.objects:
                continue
            result = reply.results.add()
            result.metadata.id = uuid
            if uuid not in self.without:
                result.metadata.vector_bytes = vector_made_of(uuid)
        return reply

    def write(self) -> list[Told]:
        return told(self.sender.submit(self.schema, self.entries) + self.sender.drain())


def vector_made_of(uuid: str) -> bytes:
    return np.array([int(uuid[-2:], 16), 0.25, -1.5], dtype="<f4").tobytes()


@pytest.fixture
def making(fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    made_one = Made(fake, monkeypatch)
    yield made_one
    made_one.client.close()


class SearchError(grpc.RpcError):
    def __init__(self, code: Code, details: str = "odd") -> None:
        self._code, self._details = code, details

    def code(self) -> Code:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        return ()


def test_without_a_fault_nothing_is_read_back(making: Made) -> None:
    assert [one.failure for one in making.write()] == [None] * 6
    assert not making.searches and len(making.fake.requests) == 1


def test_made_vectors_are_read_back_and_sent_nudged_and_as_they_were_read(making: Made) -> None:
    making.fake.script(faults.Disconnect(stored=True))
    outcomes = making.write()
    assert [one.failure for one in outcomes] == [None] * 6 and len(making.searches) == 1
    assert [len(request.uuids) for request in making.fake.requests] == [6] * 4  # lost, plain, nudged, exact
    for key, message in making.fake.objects.items():
        assert message.vector_bytes == vector_made_of(key[2])
    assert not making.fake.unindexed


def test_a_read_back_after_partial_success_concerns_each_object_once(making: Made) -> None:
    making.fake.script(
        faults.Disconnect(stored=True),
        faults.Errors({1: "request rate limit exceeded", 4: "invalid UUID format"}),
    )
    making.without.add(uuid_of(0))
    outcomes = making.write()
    assert sorted(one.entry.uuid for one in outcomes) == [uuid_of(n) for n in range(6)]
    assert [one.entry.uuid for one in outcomes if one.failure] == [uuid_of(4)]
    assert sorted(map(len, making.searches)) == [1, 4]
    stored = {key[2]: message.vector_bytes for key, message in making.fake.objects.items()}
    for n in (1, 2, 3, 5):
        assert stored[uuid_of(n)] == vector_made_of(uuid_of(n))
    assert stored[uuid_of(0)] == b""  # without text there is no vector


def test_a_fault_during_the_repair_repeats_it(making: Made) -> None:
    making.fake.script(
        faults.Disconnect(stored=True),
        faults.Ok(),
        faults.Disconnect(stored=True),
        faults.Disconnect(stored=True),
    )
    assert [one.failure for one in making.write()] == [None] * 6
    assert not making.fake.unindexed
    assert all(m.vector_bytes == vector_made_of(key[2]) for key, m in making.fake.objects.items())


def test_a_search_that_fails_is_tried_again(making: Made) -> None:
    making.fake.script(faults.Disconnect(stored=True))
    making.errors += [SearchError(Code.UNAVAILABLE), SearchError(Code.UNKNOWN, "429 Too many requests")]
    assert [one.failure for one in making.write()] == [None] * 6


@pytest.mark.parametrize("code", [Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.UNIMPLEMENTED])
def test_a_search_that_is_refused_for_good_fails_the_job_at_once(making: Made, code: Code) -> None:
    making.fake.script(faults.Disconnect(stored=True))
    making.errors += [SearchError(code, "no right to read")] * 2
    with pytest.raises(WeaviateError, match=r"reading from Article failed: .*no right to read"):
        making.write()
    assert len(making.errors) == 1


def test_an_object_that_is_acknowledged_but_never_found_is_not_reported_written(making: Made) -> None:
    making.fake.script(faults.Disconnect(stored=True))
    making.hidden.add(uuid_of(2))
    outcomes = making.write()
    ((entry, failure),) = (one for one in outcomes if one.failure)
    assert entry.uuid == uuid_of(2) and failure.reason == "not_indexed" and len(outcomes) == 6


def test_merging_keeps_the_last_and_knows_those_before() -> None:
    encode = ObjectEncoder(CollectionSchema.from_rest(COLLECTIONS["unnamed"])).encode
    first, second, third = (encode(made(0, version=v)) for v in range(3))
    assert merge([first, second, third]) == [third]
    (outcome,) = [outcome_of(CollectionSchema.from_rest(COLLECTIONS["unnamed"]), [third], None)]
    assert {id(one) for one in outcome.entries} == {id(first), id(second), id(third)} and len(
        outcome.entries
    ) == 3
