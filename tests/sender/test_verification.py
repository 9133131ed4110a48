"""Objects that an earlier, dead process left stored without being indexed: found, and repaired with their company."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.sender.harness import COLLECTIONS, Rig, made, numbers_of, told, uuid_of
from weaviate_io import proto
from weaviate_io.errors import SearchRefused
from weaviate_io.outcome import Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Request
from weaviate_io.testing import FakeWeaviate, faults
from weaviate_io.vectors import decode_vector, encode_vector

Code = grpc.StatusCode


class Verified(Rig):
    """A rig whose sender verifies; ``before`` and ``after`` are the work of two processes."""

    def __init__(
        self, server: FakeWeaviate, kind: str, verify: str, is_synchronous: bool, **options: Any
    ) -> None:
        self.tally = Tally()
        self.asked_again = 0
        self.catch_up_after = 1_000_000
        method = BatchObjects(verify, self.tally, lambda collection: is_synchronous, self._pause)
        super().__init__(server, kind, method=method, tally=self.tally, batch_size=10, **options)

    def left_by_a_dead_process(self, *numbers: int, missing: tuple[int, ...] = ()) -> None:
        """Store objects, some of them without their vectors being indexed, and forget about that."""
        self.send(*numbers)
        self.drain()
        stored = self.server.objects
        self.server.unindexed.update(key for key in stored if numbers_of([key[2]]) <= set(missing))
        self.given.clear()
        self.outcomes.clear()
        self.server.requests.clear()
        self.tally.__init__()  # type: ignore[misc]

    def _pause(self, times: int) -> float:
        """Before a replica is asked again; it may have got meanwhile what others acknowledged."""
        self.asked_again += 1
        if self.asked_again >= self.catch_up_after:
            self.server.unindexed.clear()
            self.server.unfiltered.clear()
        return 0.0

    def calls(self) -> list[tuple[str, set[int]]]:
        """What the server was asked, in order: the method, and the numbers of the objects."""
        return [(request.method, numbers_of(request.uuids)) for request in self.server.requests]

    def batches(self) -> list[set[int]]:
        return [numbers for method, numbers in self.calls() if method == "BatchObjects"]


@pytest.fixture
def rig(fake: FakeWeaviate) -> Iterator[Callable[..., Verified]]:
    opened: list[Verified] = []

    def open_rig(
        verify: str = "existing", kind: str = "unnamed", is_synchronous: bool = True, **options: Any
    ) -> Verified:
        opened.append(Verified(fake, kind, verify, is_synchronous, **options))
        return opened[-1]

    yield open_rig
    for one in opened:
        one.__exit__()


def test_where_nothing_is_stored_one_look_up_a_request_is_all_it_costs(rig: Callable[..., Verified]) -> None:
    fresh = rig()
    fresh.write(*range(20))
    assert sorted(method for method, _ in fresh.calls()) == ["BatchObjects", "BatchObjects", "Search", "Search"]
    assert (fresh.tally.verified, fresh.tally.unindexed, fresh.tally.repaired) == (0, 0, 0)


def test_what_is_stored_and_indexed_is_sent_once_more_and_not_repaired(rig: Callable[..., Verified]) -> None:
    again = rig()
    again.left_by_a_dead_process(*range(6))
    again.write(*range(8))
    assert again.batches() == [set(range(8))]
    assert (again.tally.verified, again.tally.unindexed, again.tally.repaired) == (6, 0, 0)
    looked = [numbers for method, numbers in again.calls() if method == "Search"]
    # Which are stored? How long is a vector? Which of them does the index know?
    assert looked == [set(range(8)), {0}, set(range(6))]


@pytest.mark.parametrize("kind", ["unnamed", "named", "tenants"])
def test_with_one_that_is_not_indexed_its_whole_request_is_repaired(
    rig: Callable[..., Verified], kind: str
) -> None:
    retried = rig(kind=kind)
    retried.left_by_a_dead_process(*range(15), missing=(3,))
    retried.write(*range(20))
    first = [batch for batch in retried.batches() if 3 in batch]
    assert first == [set(range(10))] * 2  # nudged and exact; 5 was indexed, but may have no links
    retried.check_all_written(*range(20))
    assert retried.tally.unindexed == 1 and not retried.server.unindexed


def test_other_requests_are_left_alone(rig: Callable[..., Verified]) -> None:
    retried = rig()
    retried.left_by_a_dead_process(*range(20), missing=(3,))
    retried.write(*range(20))
    assert retried.batches().count(set(range(10, 20))) == 1
    assert retried.tally.repaired == 10


def test_what_is_not_stored_yet_is_repaired_with_the_rest(rig: Callable[..., Verified]) -> None:
    """The request of the dead process may still be at work in the server, and store it any moment."""
    retried = rig()
    retried.left_by_a_dead_process(0, 1, missing=(1,))
    retried.write(*range(5))
    assert retried.batches() == [set(range(5))] * 2


@pytest.mark.parametrize("kind", ["unnamed", "tenants"])
def test_with_off_nobody_looks_and_damage_stays(rig: Callable[..., Verified], kind: str) -> None:
    blind = rig("off", kind)
    blind.left_by_a_dead_process(*range(5), missing=(3,))
    blind.send(*range(5))
    blind.drain()
    assert [method for method, _ in blind.calls()] == ["BatchObjects"]
    assert len(blind.server.unindexed) == 1


def test_without_a_vector_there_is_nothing_to_look_for(rig: Callable[..., Verified]) -> None:
    bare = rig(kind="no vectors")
    bare.left_by_a_dead_process(*range(5))
    bare.write(*range(5))
    assert [method for method, _ in bare.calls()] == ["BatchObjects"]


def test_a_stored_object_that_had_no_vector_before_is_no_damage(rig: Callable[..., Verified]) -> None:
    late = rig()
    late.left_by_a_dead_process(*range(5))
    for key, message in list(late.server.objects.items()):
        if key[2] == uuid_of(2):
            late.server.objects[key] = bare = proto.BatchObject()
            bare.CopyFrom(message)
            bare.ClearField("vector_bytes")
    late.write(*range(5))
    assert late.tally.unindexed == late.tally.repaired == 0


def test_each_tenant_is_asked_about_its_own_objects(rig: Callable[..., Verified]) -> None:
    retried = rig(kind="tenants")
    retried.left_by_a_dead_process(*range(6), missing=(4,))
    retried.write(*range(6))
    looked = [numbers for method, numbers in retried.calls() if method == "Search"]
    assert all(len({number % 3 for number in numbers}) == 1 for numbers in looked)
    assert {0, 3} in looked and {1, 4} in looked and {2, 5} in looked


def test_in_a_tenant_that_does_not_exist_yet_nothing_is_stored(rig: Callable[..., Verified]) -> None:
    first = rig(kind="tenants")
    first.write(*range(6))
    first.check_all_written(*range(6))
    assert len(first.batches()) == 1


def test_multi_vectors_are_repaired_unasked_as_no_search_tells(rig: Callable[..., Verified]) -> None:
    """Their search scores whatever is stored."""
    named = rig(kind="named")
    named.left_by_a_dead_process(*range(3))
    named.write(*range(5))
    assert named.batches() == [set(range(5)), set(range(3))]
    assert named.tally.unindexed == 0 and named.tally.repaired == 3


def test_with_all_new_objects_are_looked_for_once_they_are_acknowledged(rig: Callable[..., Verified]) -> None:
    sure = rig("all")
    sure.write(*range(4))
    methods = [method for method, _ in sure.calls()]
    # stored? written. length? indexed? found by a filter?
    assert methods == ["Search", "BatchObjects", "Search", "Search", "Search"]
    assert (sure.tally.verified, sure.tally.unindexed) == (4, 0)


@pytest.mark.parametrize("kind", ["unnamed", "tenants"])
def test_with_all_what_never_got_into_the_index_is_sent_until_it_does(
    rig: Callable[..., Verified], kind: str
) -> None:
    sure = rig("all", kind)
    sure.server.script(faults.Ok(indexed=False))
    sure.write(*range(4))
    sure.check_all_written(*range(4))
    assert sure.batches() == [set(range(4))] * 3  # plain, nudged, exact
    assert sure.tally.unindexed == 4


def test_with_existing_new_objects_are_not_looked_for(rig: Callable[..., Verified]) -> None:
    trusting = rig()
    trusting.server.script(faults.Ok(indexed=False))
    trusting.send(*range(4))
    trusting.drain()
    assert len(trusting.server.unindexed) == 4 and trusting.tally.verified == 0


def test_with_all_what_no_filter_finds_is_repaired(rig: Callable[..., Verified]) -> None:
    """A killed server may come back with objects that are stored, but not where filters look for them."""
    sure = rig("all")
    sure.left_by_a_dead_process(*range(4))
    sure.server.unfiltered.update(key for key in sure.server.objects if numbers_of([key[2]]) <= {1, 2})
    sure.write(*range(4))
    sure.check_all_written(*range(4))
    assert not sure.server.unfiltered and sure.tally.unindexed == 2


def test_a_repair_that_another_writer_spoils_is_done_again(rig: Callable[..., Verified]) -> None:
    """Between the two steps the dead process's request stored the object, so the second changed nothing."""
    retried = rig()
    retried.left_by_a_dead_process(*range(4), missing=(1,))
    retried.server.script(faults.Ok(indexed=False), faults.Ok(indexed=False))
    retried.write(*range(4))
    assert not retried.server.unindexed and retried.tally.unindexed == 1 + 4


def test_what_never_gets_into_the_index_is_not_reported_written(rig: Callable[..., Verified]) -> None:
    hopeless = rig("all")
    hopeless.server.behave(lambda request, number: faults.Ok(indexed=False))
    hopeless.write(0, 1)
    assert {reason for reason, _ in hopeless.failures().values()} == {"not_indexed"}
    assert len(hopeless.failures()) == 2


def test_a_replica_that_is_behind_is_asked_again_and_nothing_is_sent(rig: Callable[..., Verified]) -> None:
    """At ONE and QUORUM others acknowledge, and the one that answers look-ups gets it a moment later."""
    behind = rig("all", "replicas")
    behind.catch_up_after = 3
    behind.server.behave(lambda request, number: faults.Ok(indexed=False))
    behind.write(*range(4))
    assert behind.asked_again == 3 and behind.batches() == [set(range(4))]
    behind.check_all_written(*range(4))
    assert behind.tally.unindexed == behind.tally.repaired == 0


def test_what_a_replica_misses_is_repaired_once_it_had_time(rig: Callable[..., Verified]) -> None:
    damaged = rig("all", "replicas")
    damaged.server.script(faults.Ok(indexed=False))
    damaged.write(*range(4))
    assert damaged.batches() == [set(range(4))] * 3 and damaged.asked_again == 5
    damaged.check_all_written(*range(4))


def test_no_object_fails_for_what_one_of_several_replicas_never_finds(rig: Callable[..., Verified]) -> None:
    other = rig("all", "replicas")
    other.server.behave(lambda request, number: faults.Ok(indexed=False))
    other.send(*range(4))
    other.drain()
    assert len(told(other.outcomes)) == 4 and not other.failures()
    assert max(other.sends().values()) < 10 and other.tally.unindexed


def test_with_repair_every_object_is_repaired_unasked(rig: Callable[..., Verified]) -> None:
    everything = rig("repair", "replicas")
    everything.left_by_a_dead_process(*range(6), missing=(1, 2))
    everything.write(*range(8))
    assert everything.calls() == [("BatchObjects", set(range(8)))] * 2
    assert everything.tally.repaired == 8 and not everything.server.unindexed


@pytest.mark.parametrize("verify", ["existing", "all"])
def test_where_the_server_indexes_later_nothing_is_expected_of_what_was_just_sent(
    rig: Callable[..., Verified], verify: str
) -> None:
    queued = rig(verify, is_synchronous=False)
    queued.left_by_a_dead_process(0, 1, missing=(1,))
    queued.server.behave(lambda request, number: faults.Ok(indexed=False))
    queued.send(*range(3))
    queued.drain()
    assert not queued.failures() and len(told(queued.outcomes)) == 3
    assert queued.batches() == [set(range(3))] * 2  # what was damaged before is repaired, once
    assert queued.tally.unindexed == 1


def test_a_faulty_answer_during_the_repair_repeats_it(rig: Callable[..., Verified]) -> None:
    retried = rig()
    retried.left_by_a_dead_process(*range(5), missing=(2,))
    retried.server.script(faults.Disconnect(stored=True), faults.Ok(), faults.Disconnect(stored=True))
    retried.write(*range(5))
    retried.check_all_written(*range(5))


def test_what_was_sent_before_is_not_looked_up_again(rig: Callable[..., Verified]) -> None:
    patient = rig()
    patient.server.script(faults.Fail(Code.RESOURCE_EXHAUSTED, "429"))
    patient.write(*range(3))
    assert [method for method, _ in patient.calls()] == ["Search", "BatchObjects", "BatchObjects"]


def test_who_must_not_read_is_told_what_to_do(
    rig: Callable[..., Verified], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = rig()

    def refuse(search: Any) -> Any:
        raise Refusal

    monkeypatch.setattr(forbidden.client, "search", refuse)
    with pytest.raises(SearchRefused, match=r"rbac: forbidden; .*verify='off'"):
        forbidden.send(0)


def test_a_look_up_that_fails_in_passing_is_tried_again_however_long_its_objects_have_waited(
    rig: Callable[..., Verified], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = rig(budget=0.5, max_in_flight=1)
    waiting.server.script(faults.Delay(0.8))
    search, failures = waiting.client.search, [Refusal(Code.UNAVAILABLE, "Socket closed")]

    def fail_once(wanted: Any) -> Any:
        if waiting.batches() and failures:
            raise failures.pop()
        return search(wanted)

    monkeypatch.setattr(waiting.client, "search", fail_once)
    waiting.write(*range(20))
    assert not failures
    waiting.check_all_written(*range(20))


class Refusal(grpc.RpcError):
    def __init__(self, code: Code = Code.PERMISSION_DENIED, details: str = "rbac: forbidden") -> None:
        self._code, self._details = code, details

    def code(self) -> Code:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[()]:
        return ()


# The fake makes no vectors; here it is given them when an object is stored without.


@pytest.fixture
def making(rig: Callable[..., Verified], monkeypatch: pytest.MonkeyPatch) -> Verified:
    monkeypatch.setitem(COLLECTIONS, "made", {**COLLECTIONS["no vectors"], "vectorizer": "text2vec-bigram"})
    made_one = rig(kind="made")
    store = made_one.server._store
    put = store._put

    def put_with_vector(key: Any, message: Any, indexed: bool, unindexed: Any) -> Any:
        if not message.vector_bytes:
            filled = proto.BatchObject.FromString(message.SerializeToString())
            filled.vector_bytes = encode_vector([float(numbers_of([key[2]]).pop()), 0.5]).data
            message = filled
        return put(key, message, indexed, unindexed)

    monkeypatch.setattr(store, "_put", put_with_vector)
    return made_one


def test_made_vectors_are_verified_and_repaired_as_they_are_read_back(making: Verified) -> None:
    making.left_by_a_dead_process(*range(6), missing=(2, 3))
    before = {key: message.vector_bytes for key, message in making.server.objects.items()}
    making.send(*range(6))
    making.drain()
    assert making.tally.unindexed == 2 and making.tally.repaired == 6
    assert making.batches() == [set(range(6))] * 3  # plain, nudged, exact
    assert not making.server.unindexed and not making.failures()
    assert {key: message.vector_bytes for key, message in making.server.objects.items()} == before


def test_made_vectors_that_are_indexed_are_left_alone(making: Verified) -> None:
    making.left_by_a_dead_process(*range(6))
    making.send(*range(6))
    making.drain()
    assert making.batches() == [set(range(6))] and making.tally.verified == 6


def test_made_vectors_of_objects_that_no_filter_finds_are_read_all_the_same(making: Verified) -> None:
    """After an open outcome the server has them, but a search by their ids does not know of it."""
    making.server.script(faults.Disconnect(stored=True))
    put = making.server._store._put

    def lose(key: Any, message: Any, *more: Any) -> Any:
        before = key in making.server.objects
        error = put(key, message, *more)
        if not before and numbers_of([key[2]]) <= {1, 2}:
            making.server.unfiltered.add(key)
        return error

    making.server._store._put = lose  # type: ignore[method-assign]
    making.send(*range(4))
    making.drain()
    assert not making.failures() and not making.server.unfiltered
    stored = {numbers_of([key[2]]).pop(): message for key, message in making.server.objects.items()}
    assert {n: list(decode_vector(m.vector_bytes)) for n, m in stored.items()} == {
        n: [n, 0.5] for n in range(4)
    }


def test_all_tenants_of_a_request_are_looked_at_together(rig: Callable[..., Verified]) -> None:
    sure = rig("all", "tenants")
    sure.left_by_a_dead_process(*range(3))
    together = threading.Barrier(3)  # as many as there are tenants

    def search(wanted: Any) -> Any:
        together.wait(10)
        return sure.client.search(wanted)

    request = Request(sure.schema, sure.entries(made(number, "tenants") for number in range(3)))
    BatchObjects("all").prepare(search, request, Tally())
    assert all(entry.suspect for entry in request.entries)
