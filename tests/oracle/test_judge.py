"""The oracle finds every kind of broken promise: each is planted on a real server, and on the fake."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import requests

from tests.oracle import judge as oracle
from tests.oracle import settling
from tests.oracle.judge import Verdict, judge, key_of, places_of
from tests.oracle.places import Graph, Key, RestPlace
from weaviate_io import WeaviateObject, WriteToWeaviate
from weaviate_io.testing import FakeWeaviate, WeaviateServer

COUNT = 40
_HNSW = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
_PROPERTIES = [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}]
NAMED: dict[str, Any] = {"properties": _PROPERTIES, "vectorConfig": {"one": _HNSW, "two": _HNSW}}
UNNAMED: dict[str, Any] = {"properties": _PROPERTIES, "vectorizer": "none"}
TENANTS: dict[str, Any] = {**UNNAMED, "multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}
KINDS = {"named": NAMED, "unnamed": UNNAMED, "tenants": TENANTS}


def objects_of(kind: str, collection: str, count: int = COUNT) -> list[WeaviateObject]:
    random = np.random.default_rng(3)
    objects = []
    for number in range(count):
        vector = random.standard_normal(8).astype(np.float32)
        objects.append(
            WeaviateObject(
                {"title": f"object {number}", "number": number},
                str(uuid.UUID(int=number + 1)),
                {"one": vector, "two": vector[:4]} if kind == "named" else vector,
                f"tenant{number % 2}" if kind == "tenants" else None,
                collection,
            )
        )
    return objects


class Case(NamedTuple):
    """A collection, what was sent to it and came out as written, and where it is."""

    server: WeaviateServer | FakeWeaviate
    sent: list[WeaviateObject]
    written: list[Key]

    def judged(self, **changes: Any) -> Verdict:
        given = {"sent": self.sent, "written": self.written, "failed": [], "filter_by": "number"} | changes
        return judge(places_of(self.server), **given)

    def rest(self, method: str, path: str, **options: Any) -> None:
        requests.request(method, f"{self.server.url}/v1/{path}", timeout=60, **options).raise_for_status()


@pytest.fixture
def filled(write: Callable[..., Any]) -> Callable[..., Case]:
    def filled(server: WeaviateServer | FakeWeaviate, kind: str, collection: str) -> Case:
        description = {**KINDS[kind], "class": collection}
        requests.post(f"{server.url}/v1/schema", json=description, timeout=60).raise_for_status()
        sent = objects_of(kind, collection)
        done = write(sent, WriteToWeaviate(collection, url=server.url, grpc_url=server.grpc_url))
        return Case(server, sent, [key_of(one) for one in done.written])

    return filled


@pytest.fixture(params=["server", "fake"])
def any_server(request: pytest.FixtureRequest) -> Iterator[WeaviateServer | FakeWeaviate]:
    yield request.getfixturevalue(request.param)


def kinds_of(verdict: Verdict) -> set[str]:
    return {problem.kind for problem in verdict.problems}


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_write_has_no_problem(
    any_server: Any, filled: Callable[..., Case], new_name: Callable[[], str], kind: str
) -> None:
    verdict = filled(any_server, kind, new_name()).judged()
    assert verdict.problems == [] and verdict.notes == []
    assert str(verdict) == f"{COUNT} objects sent, {COUNT} written, 0 failed: all as promised"


@pytest.fixture
def case(any_server: Any, filled: Callable[..., Case], new_name: Callable[[], str]) -> Case:
    return filled(any_server, "unnamed", new_name())


def test_an_object_without_outcome_is_told(case: Case) -> None:
    verdict = case.judged(written=case.written[1:])
    assert kinds_of(verdict) == {oracle.UNTOLD}
    assert verdict.problems[0].keys == (case.written[0],)
    assert "are there although they failed" in verdict.notes[0]


def test_an_object_in_both_outputs_is_told(case: Case) -> None:
    assert kinds_of(case.judged(failed=case.written[:1])) == {oracle.IN_BOTH}


def test_an_object_that_is_told_twice_is_told(case: Case) -> None:
    assert kinds_of(case.judged(written=[*case.written, case.written[0]])) == {oracle.TOLD_TOO_OFTEN}


def test_an_outcome_of_something_else_is_told(case: Case) -> None:
    stranger = case.written[0]._replace(uuid=str(uuid.UUID(int=999)))
    assert kinds_of(case.judged(failed=[stranger])) == {oracle.NOT_GIVEN}


def test_an_object_that_was_not_sent_is_told(case: Case) -> None:
    verdict = case.judged(sent=case.sent[1:], written=case.written[1:])
    assert [tuple(one) for one in verdict.problems] == [
        (oracle.NOT_SENT, places_of(case.server)[0].name, (key_of(case.sent[0]),))
    ]


def test_a_lost_object_is_told(case: Case) -> None:
    case.rest("DELETE", f"objects/{case.sent[7].collection}/{case.sent[7].uuid}")
    verdict = case.judged()
    assert kinds_of(verdict) == {oracle.LOST} and verdict.problems[0].keys == (key_of(case.sent[7]),)


@pytest.mark.parametrize("what", ["text", "number", "missing property", "vector", "missing vector"])
def test_an_altered_object_is_told(case: Case, what: str) -> None:
    given = case.sent[5]
    nudged = np.nextafter(given.vector, np.float32(9))
    other = {
        "text": given._replace(properties={**given.properties, "title": "other"}),
        "number": given._replace(properties={**given.properties, "number": 99}),
        "missing property": given._replace(properties={**given.properties, "more": 1}),
        "vector": given._replace(vector=nudged),
        "missing vector": given._replace(vector=None),
    }[what]
    verdict = case.judged(sent=[*case.sent[:5], other, *case.sent[6:]])
    assert kinds_of(verdict) == {oracle.ALTERED} and verdict.problems[0].keys == (key_of(given),)


def test_what_the_fakes_index_misses_is_told(fake: FakeWeaviate, filled: Callable[..., Case]) -> None:
    case = filled(fake, "named", "Article")
    fake.unindexed.add(tuple(case.written[3]))
    verdict = case.judged()
    assert kinds_of(verdict) == {oracle.NOT_IN_INDEX}
    assert {problem.keys for problem in verdict.problems} == {(case.written[3],)}


def test_what_one_index_of_a_server_misses_is_told(
    server: WeaviateServer, filled: Callable[..., Case], new_name: Callable[[], str]
) -> None:
    """The index of a collection that has just been given the vector is asked for objects that lack it there."""
    case = filled(server, "named", new_name())
    place = Forgetful(server.url, "two", case.written[3].uuid)
    verdict = judge([place], case.sent, case.written, [])
    assert [str(one) for one in verdict.problems] == [
        f"not in the vector index (node1, index 'two'): 1 objects, such as {case.written[3]}"
    ]


def test_an_object_that_a_filter_does_not_find_or_finds_twice_is_told(
    server: WeaviateServer, filled: Callable[..., Case], new_name: Callable[[], str]
) -> None:
    case = filled(server, "named", new_name())
    place = BadFilters(server.url)
    verdict = judge([place], case.sent, case.written, [], "number")
    assert {(one.kind, one.where) for one in verdict.problems} == {
        (oracle.NOT_BY_ID, "node1"),
        (oracle.NOT_BY_FILTER, "node1, id"),
        (oracle.TWICE, "node1, number"),
    }


def test_nodes_that_cannot_be_reached_are_noted(
    server: WeaviateServer, filled: Callable[..., Case], new_name: Callable[[], str]
) -> None:
    case = filled(server, "named", new_name())
    place = RestPlace(server.url)
    place.graphs = lambda collection: [Graph("one", 3, 2), Graph("two", 0, 0)]  # type: ignore[method-assign]
    verdict = judge([place], case.sent, case.written, [])
    assert not verdict.problems
    assert len(verdict.notes) == 1 and "3 nodes of the graph 'one'" in verdict.notes[0]
    told = f"of {COUNT} objects 0 are not found by their own vector, 0 of them since they are not in the index"
    assert verdict.notes[0].endswith(told)


class Forgetful(RestPlace):
    """A node one of whose indexes does not know an object."""

    def __init__(self, url: str, index: str, uuid: str) -> None:
        super().__init__(url)
        self._forgets = index, uuid

    def found_in_index(self, collection: str, tenant: str, index: str, query: Any, uuids: Any) -> set[str]:
        found = super().found_in_index(collection, tenant, index, query, uuids)
        return found - {self._forgets[1]} if index == self._forgets[0] else found


class BadFilters(RestPlace):
    """A node that finds one object in none of the ways by id, and one twice by its value."""

    def is_found(self, key: Key) -> bool:
        return super().is_found(key) and not key.uuid.endswith("01")

    def found_by_ids(self, *asked: Any) -> Any:
        found = super().found_by_ids(*asked)
        del found[next(iter(sorted(found)))]
        return found

    def found_by_values(self, *asked: Any) -> Any:
        found = super().found_by_values(*asked)
        found[next(iter(sorted(found)))] += 1
        return found


class Without(RestPlace):
    """A replica that lacks an object."""

    def __init__(self, url: str, name: str, lacks: Key) -> None:
        super().__init__(url, name)
        self._lacks = lacks

    def everything(self, collection: str) -> Any:
        return (one for one in super().everything(collection) if one[0] != self._lacks)


def test_what_no_replica_has_is_told_from_what_one_lacks(
    server: WeaviateServer, filled: Callable[..., Case], new_name: Callable[[], str]
) -> None:
    case = filled(server, "unnamed", new_name())
    key = case.written[3]
    lacking = [Without(server.url, "a", key), Without(server.url, "b", key)]
    behind = judge([*lacking, RestPlace(server.url, "c")], case.sent, case.written, [])
    assert [tuple(one) for one in behind.problems] == [
        (oracle.NOT_ON_REPLICA, "a", (key,)),
        (oracle.NOT_ON_REPLICA, "b", (key,)),
    ]
    lost = judge(lacking, case.sent, case.written, [])
    assert [tuple(one) for one in lost.problems] == [(oracle.LOST, "a", (key,)), (oracle.LOST, "b", (key,))]


class CatchesUp(Without):
    """A replica that lacks an object the first two times it is read."""

    reads = 0

    def everything(self, collection: str) -> Any:
        self.reads += 1
        return super().everything(collection) if self.reads < 3 else RestPlace.everything(self, collection)


def test_replicas_are_waited_for_until_they_are_equal(
    server: WeaviateServer,
    filled: Callable[..., Case],
    new_name: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "_PAUSE", 0.0)
    case = filled(server, "unnamed", new_name())
    key = case.written[3]
    whole = RestPlace(server.url, "a")
    settled = settling.settle([whole, CatchesUp(server.url, "b", key)], key.collection, 60)
    assert settled.equal and settled.behind == {"a": 0, "b": 1}
    never = settling.settle([whole, Without(server.url, "b", key)], key.collection, 0)
    assert not never.equal and "NOT equal" in str(never)
    assert settling.settle([whole, whole], key.collection, 60).behind == {"a": 0}
