"""The sender against a server that fails on script: every object gets one outcome, and it is true."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.sender.harness import COLLECTIONS, Rig, connection_to, made, numbers_of, told, uuid_of
from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.errors import WeaviateError
from weaviate_io.flow import Flow
from weaviate_io.outcome import Outcome
from weaviate_io.request import Block
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FakeWeaviate, FaultProxy, faults

Code = grpc.StatusCode
DIMENSIONS = (
    "Validate vector index for {}: new node has a vector with length 3. Existing nodes have vectors with length 4: "
    "vector dimensions do not match the index dimensions"
)


@pytest.fixture
def rig(fake: FakeWeaviate) -> Iterator[Rig]:
    with Rig(fake) as made_rig:
        yield made_rig


def replies(fake: FakeWeaviate) -> int:
    return sum(request.method == "BatchObjects" for request in fake.requests)


# What may go away: everything is written in the end.

TRANSIENT: dict[str, list[faults.Action]] = {
    "unavailable three times": [faults.Fail(Code.UNAVAILABLE, "Socket closed")] * 3,
    "connection reset before the write": [faults.Disconnect()],
    "connection reset after the write": [faults.Disconnect(stored=True, indexed=True)],
    "connection reset between store and index": [faults.Disconnect(stored=True)],
    "the same twice": [faults.Disconnect(stored=True)] * 2,
    "the repair is interrupted too": [
        faults.Disconnect(stored=True),
        faults.Ok(),
        faults.Disconnect(stored=True),
    ],
    "reply lost after the write": [faults.StoreThenFail(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")],
    "deadline before the write": [faults.Fail(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")],
    "stream reset": [faults.StoreThenFail(Code.INTERNAL, "Received RST_STREAM with error code 0")],
    "stream removed": [faults.StoreThenFail(Code.UNKNOWN, "Stream removed")],
    "cancelled by a proxy": [faults.StoreThenFail(Code.CANCELLED, "CANCELLED")],
    "aborted": [faults.StoreThenFail(Code.ABORTED, "")],
    "overloaded": [faults.Fail(Code.RESOURCE_EXHAUSTED, "429 too many requests")] * 2,
    "not enough memory": [
        faults.Fail(
            Code.UNKNOWN, 'batch objects: &fmt.wrapError{msg:"cannot process batch: not enough memory" ...'
        )
    ],
    "read-only mode": [faults.Fail(Code.UNAVAILABLE, "read-only mode is enabled temporally")] * 2,
    "schema lags": [
        faults.Fail(Code.UNKNOWN, "error waiting for local schema to catch up to version 7: leader not found")
    ],
    "a panic, once": [faults.Fail(Code.UNKNOWN, "panic occurred: index out of range")],
    "no text at all": [faults.Fail(Code.UNKNOWN, "")],
    "a reply that is none": [faults.Malformed(b"\xff\xff")],
    "an index out of range": [faults.Errors({99: "invalid UUID length: 0"})],
    "read-only shard, old servers": [
        faults.Errors({0: "put batch: store is read-only due to: resource pressure"}, others_stored=False)
    ],
    "queue failed for all, told of one": [
        faults.Errors({0: "failed to push record to queue: disk"}, stored=True, others_stored=True)
    ],
    "shard shuts down": [faults.Errors({3: "shard shutdown in progress"}, others_stored=False)] * 2,
    "some replicas away": [
        faults.Errors(
            dict.fromkeys((0, 4), 'cannot achieve consistency level "QUORUM": cannot reach enough replicas'),
            stored=True,
        )
    ],
    "some not indexed": [
        faults.Errors({2: "insert to vector index: context canceled", 5: "end store object 5"}, stored=True)
    ],
    "some rate limited": [faults.Errors(dict.fromkeys(range(7), "request rate limit exceeded"))],
    "some of unknown nature": [faults.Errors({1: "something odd", 6: "something odd"}, stored=True)],
}


@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("name", TRANSIENT)
def test_what_goes_away_leaves_every_object_written(fake: FakeWeaviate, name: str, kind: str) -> None:
    with Rig(fake, kind) as rig:
        fake.script(*TRANSIENT[name])
        rig.write(*range(9))
        rig.check_all_written(*range(9))
        rig.check(most_sends=3 + 3 * len(TRANSIENT[name]))
        assert not fake.deleted  # the repair never leaves a gap


def test_attempts_are_those_of_each_object_where_they_were_gathered(rig: Rig, fake: FakeWeaviate) -> None:
    block = Block()
    for entry in rig.entries(made(n) for n in range(3)):
        block.append(entry)
    fake.script(
        faults.Fail(Code.RESOURCE_EXHAUSTED, "429"),
        faults.Errors({0: "invalid text property 'title' on class 'Article': odd"}),
    )
    outcomes = rig.sender.submit(rig.schema, block) + rig.sender.drain()
    assert [one.failure.attempts for one in outcomes if one.failure] == [2]
    assert rig.sends() == {uuid_of(n): 2 for n in range(3)}


def test_a_plain_resend_would_leave_objects_out_of_the_index(rig: Rig, fake: FakeWeaviate) -> None:
    """The control of the tests above: they can fail."""
    entries = rig.entries(made(n) for n in range(3))
    fake.script(faults.Disconnect(stored=True))
    first = rig.client.batch_objects(join_request(entries), 10)
    assert first.code() is Code.UNAVAILABLE
    assert rig.client.batch_objects(join_request(entries), 10).code() is Code.OK
    assert len(fake.unindexed) == 3


# What stays: exactly the culprits fail, with the server's words.


@pytest.mark.parametrize("culprits", [{0}, {8}, {2, 3, 7}, set(range(9))], ids=str)
def test_refused_objects_fail_alone_each_with_its_own_text(
    rig: Rig, fake: FakeWeaviate, culprits: set[int]
) -> None:
    texts = {n: DIMENSIONS.format(uuid_of(n)) for n in culprits}
    fake.script(faults.Errors(texts))
    rig.write(*range(9))
    assert rig.failures() == {uuid_of(n): ("invalid_vector", texts[n]) for n in culprits}
    assert replies(fake) == 1


def test_refused_and_passing_errors_in_one_reply(rig: Rig, fake: FakeWeaviate) -> None:
    fake.script(
        faults.Errors({1: "invalid UUID length: 0", 2: "something odd", 3: "request rate limit exceeded"}),
        faults.Errors({0: 'tenant not found: "x"'}),
    )
    rig.write(*range(5))
    assert {n: reason for n, (reason, _) in rig.failures().items()}.keys() >= {uuid_of(1)}
    assert len(rig.failures()) == 2
    assert max(rig.sends().values()) <= 3  # one of the first two was sent nudged and exact


def test_two_errors_for_one_object_are_told_together(rig: Rig, fake: FakeWeaviate) -> None:
    reply = proto.BatchObjectsReply()
    reply.errors.add(index=1, error="invalid UUID format")
    reply.errors.add(index=1, error="dimension cannot be 0")
    fake.script(faults.Malformed(reply.SerializeToString()))
    rig.write(*range(3))
    assert rig.failures() == {uuid_of(1): ("invalid_uuid", "invalid UUID format; dimension cannot be 0")}


def test_an_error_of_unknown_nature_is_refused_after_a_few_tries(rig: Rig, fake: FakeWeaviate) -> None:
    odd = faults.ErrorsWhere(lambda message: "something odd" if message.uuid == uuid_of(2) else None)
    fake.behave(lambda request, number: odd)
    rig.write(*range(5))
    assert rig.failures() == {uuid_of(2): ("server_error", "something odd")}
    assert rig.sends()[uuid_of(2)] == 4
    assert rig.sends()[uuid_of(1)] == 1


def test_tries_for_other_reasons_do_not_count_as_unknown_ones(rig: Rig, fake: FakeWeaviate) -> None:
    fake.script(*[faults.Fail(Code.UNAVAILABLE, "Socket closed")] * 6, faults.Errors({0: "something odd"}))
    rig.write(0, 1)
    rig.check_all_written(0, 1)


def test_passing_errors_of_an_object_are_refused_with_their_text_when_the_budget_is_spent(
    fake: FakeWeaviate,
) -> None:
    busy = faults.ErrorsWhere(lambda m: "cannot reach enough replicas" if m.uuid == uuid_of(1) else None)
    fake.behave(lambda request, number: busy)
    with Rig(fake, budget=0.0) as rig:
        rig.write(*range(3))
        assert rig.failures() == {uuid_of(1): ("replicas_unavailable", "cannot reach enough replicas")}


@pytest.mark.parametrize(
    "action",
    [
        faults.Fail(Code.UNAVAILABLE, "read-only mode is enabled temporally"),
        faults.Fail(Code.UNAVAILABLE, "failed to connect to all addresses; last error: Connection refused"),
        faults.Fail(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        faults.Errors({0: "store is read-only"}, others_stored=False),
    ],
    ids=repr,
)
def test_a_server_away_for_longer_than_the_budget_fails_the_job_with_the_last_cause(
    fake: FakeWeaviate, action: Any
) -> None:
    fake.behave(lambda request, number: action)
    with Rig(fake, budget=0.0) as rig, pytest.raises(WeaviateError) as raised:
        rig.write(*range(3))
    words = action.details if isinstance(action, faults.Fail) else "store is read-only"
    assert "writing to Article failed" in str(raised.value) and words in str(raised.value)


FATAL = [
    (Code.UNAUTHENTICATED, "token expired"),
    (Code.UNKNOWN, "extract auth: unauthorized: invalid api key"),
    (Code.UNIMPLEMENTED, "unknown service"),
]


@pytest.mark.parametrize(("code", "details"), FATAL, ids=repr)
def test_what_no_request_can_pass_fails_the_job_at_once(
    rig: Rig, fake: FakeWeaviate, code: Code, details: str
) -> None:
    fake.behave(lambda request, number: faults.Fail(code, details))
    with pytest.raises(WeaviateError, match=details):
        rig.write(0)
    assert replies(fake) == 1


USAGE = (("grpc-status-details-bin", b"\x08\x08type.googleapis.com/google.rpc.ErrorInfo weaviate.usagelimits"),)
REFUSED_CALLS = [
    (faults.Fail(Code.RESOURCE_EXHAUSTED, "object count reached", USAGE), "usage_limit"),
    (faults.Fail(Code.RESOURCE_EXHAUSTED, "usage limit exceeded: objects count limit of 10"), "usage_limit"),
    (faults.Fail(Code.PERMISSION_DENIED, "forbidden"), "permission_denied"),
    (faults.Fail(Code.FAILED_PRECONDITION, "index type is not allowed"), "restricted"),
]


@pytest.mark.parametrize(("action", "reason"), REFUSED_CALLS, ids=repr)
def test_a_call_refused_for_good_refuses_its_objects_without_a_storm(
    rig: Rig, fake: FakeWeaviate, action: faults.Fail, reason: str
) -> None:
    fake.behave(lambda request, number: action)
    rig.write(*range(5))
    text = f"{action.code.name}: {action.details}"
    assert rig.failures() == {uuid_of(n): (reason, text) for n in range(5)}
    assert replies(fake) == 1


# A whole request fails without naming an object.

POISONS = [
    (Code.UNKNOWN, "panic occurred: runtime error: index out of range", "server_error"),
    (Code.UNKNOWN, "something odd", "server_error"),
    (Code.INTERNAL, "grpc: error unmarshalling request: string field contains invalid UTF-8", "server_error"),
    (Code.INVALID_ARGUMENT, "odd", "server_error"),
    (
        Code.UNKNOWN,
        "auto create tenants: auto-tenant: add tenants to collection \"C\": tenant name at index 3: 'extract auth' is "
        "not a valid tenant name",
        "invalid_tenant",
    ),
    (Code.UNKNOWN, 'ensure tenant active: tenant not found: "t"', "tenant_not_found"),
]


@pytest.mark.parametrize(("code", "details", "reason"), POISONS, ids=repr)
@pytest.mark.parametrize("culprits", [{0}, {12}, {3, 4, 12}], ids=str)
def test_a_poisonous_object_is_isolated(
    rig: Rig, fake: FakeWeaviate, code: Code, details: str, reason: str, culprits: set[int]
) -> None:
    bad = {uuid_of(n) for n in culprits}

    def choose(request: Any, number: int) -> faults.Action | None:
        return faults.Fail(code, details) if any(m.uuid in bad for m in request.objects) else None

    fake.behave(choose)
    rig.write(*range(13))
    assert numbers_of(rig.failures()) == culprits
    assert set(rig.failures().values()) == {(reason, f"{code.name}: {details}")}
    rig.check(most_sends=12)


def test_an_object_of_another_length_in_a_queue_is_isolated(rig: Rig, fake: FakeWeaviate) -> None:
    """With asynchronous indexing the error is reported on the first object of the request."""

    def choose(request: Any, number: int) -> faults.Action | None:
        if any(m.uuid == uuid_of(5) for m in request.objects):
            return faults.Errors({0: "inconsistent vector lengths: 3 != 4"}, others_stored=False)
        return None

    fake.behave(choose)
    rig.write(*range(9))
    assert rig.failures() == {uuid_of(5): ("invalid_vector", "inconsistent vector lengths: 3 != 4")}


def test_a_reply_that_is_never_understood_ends(rig: Rig, fake: FakeWeaviate) -> None:
    fake.behave(lambda request, number: faults.Malformed(b"\xff\xff"))
    rig.write(*range(6))
    assert set(rig.failures().values()) == {("server_error", "the reply cannot be understood")}


# Sizes.


def test_a_request_too_large_for_a_balancer_is_split_and_later_ones_are_smaller(
    rig: Rig, fake: FakeWeaviate
) -> None:
    def choose(request: Any, number: int) -> faults.Action | None:
        size = request.ByteSize()
        too_large = f"grpc: received message larger than max ({size} vs. 400)"
        return faults.Fail(Code.RESOURCE_EXHAUSTED, too_large) if size > 400 else None

    fake.behave(choose)
    rig.write(*range(20))
    rig.check_all_written(*range(20))
    assert rig.sender.tally.splits
    before = replies(fake)
    rig.write(*range(20, 40))
    rig.check_all_written(*range(40))
    assert all(request.size <= 400 for request in fake.requests[before:])


def test_a_limit_that_is_not_told_is_found(rig: Rig, fake: FakeWeaviate) -> None:
    refusal = faults.Fail(Code.RESOURCE_EXHAUSTED, "message larger than max")
    fake.behave(lambda request, number: refusal if request.ByteSize() > 300 else None)
    rig.write(*range(30))
    rig.check_all_written(*range(30))


def test_the_servers_own_limit_is_kept_without_asking() -> None:
    with FakeWeaviate(max_message_size=1000) as fake, Rig(fake) as rig:
        rig.write(*range(60))
        rig.check_all_written(*range(60))
        assert all(request.size <= 1000 for request in fake.requests)


def test_an_object_too_large_for_any_request_is_refused_unsent() -> None:
    with FakeWeaviate(max_message_size=1000) as fake, Rig(fake) as rig:
        big = made(1)._replace(properties={"title": "x" * 2000})
        rig.outcomes += rig.sender.submit(rig.schema, rig.entries([made(0), big, made(2)]))
        rig.drain()
        rig.check()
        assert [reason for reason, _ in rig.failures().values()] == ["too_large"]
        assert "the server takes 1,000" in rig.failures()[uuid_of(1)][1]
        assert uuid_of(1) not in rig.sends()


def test_a_single_object_that_a_balancer_refuses_names_both_sizes(rig: Rig, fake: FakeWeaviate) -> None:
    def choose(request: Any, number: int) -> faults.Action | None:
        size = request.ByteSize()
        text = f"grpc: received message larger than max ({size} vs. 300)"
        return faults.Fail(Code.RESOURCE_EXHAUSTED, text) if size > 300 else None

    fake.behave(choose)
    big = made(1)._replace(properties={"title": "x" * 500})
    rig.outcomes += rig.sender.submit(rig.schema, rig.entries([made(0), big, made(2)]))
    rig.drain()
    rig.check()
    assert numbers_of(rig.failures()) == {1}
    assert "vs. 300" in rig.failures()[uuid_of(1)][1]


def test_a_request_that_runs_into_its_deadline_is_sent_again_in_parts(fake: FakeWeaviate) -> None:
    """A slow network would let the same large request time out for ever."""
    fake.behave(lambda request, number: faults.StoreThenHang(1e6) if len(request.objects) > 2 else None)
    with Rig(fake, shortest_deadline=0.05) as rig:
        rig.write(*range(8))
        rig.check_all_written(*range(8))
        fake.release()
    sizes = [len(request.uuids) for request in fake.requests]
    assert sizes[0] == 8 and max(sizes[-4:]) <= 2


def test_a_late_write_of_a_request_that_was_given_up_changes_nothing(fake: FakeWeaviate) -> None:
    fake.script(faults.Delay(1e6, late=True))
    with Rig(fake, shortest_deadline=0.1) as rig:
        rig.write(*range(4))
        fake.release()
        fake.wait_until(lambda: fake.hanging == 0)
        rig.check()
        rig.check_all_written(*range(4))


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_requests_keep_the_given_size(fake: FakeWeaviate, batch_size: int) -> None:
    with Rig(fake, batch_size=batch_size) as rig:
        rig.write(*range(20))
        rig.check_all_written(*range(20))
        assert max(len(request.uuids) for request in fake.requests) == min(batch_size, 20)


def test_an_empty_call_sends_nothing(rig: Rig, fake: FakeWeaviate) -> None:
    assert rig.sender.submit(rig.schema, []) == [] and rig.drain() == []
    assert not fake.requests


# Duplicates.


def test_of_equal_ids_the_last_is_sent_and_all_share_its_outcome(rig: Rig, fake: FakeWeaviate) -> None:
    objects = [made(0), made(1), made(0, version=1), made(0, version=2)]
    rig.outcomes += rig.sender.submit(rig.schema, rig.entries(objects))
    rig.drain()
    rig.check()
    assert len(told(rig.outcomes)) == 4 and replies(fake) == 1 and len(fake.requests[0].uuids) == 2
    stored = fake.objects["Article", "", uuid_of(0)]
    assert stored.properties.non_ref_properties["number"] == 2000


def test_equal_ids_of_different_tenants_are_different_objects(fake: FakeWeaviate) -> None:
    with Rig(fake, "tenants") as rig:
        objects = [made(0, "tenants")._replace(tenant=tenant) for tenant in ("a", "b", "a")]
        rig.outcomes += rig.sender.submit(rig.schema, rig.entries(objects))
        rig.drain()
        rig.check()
        assert {key[1] for key in fake.objects} == {"a", "b"} and len(fake.requests[0].uuids) == 2


def test_writing_twice_gives_the_same_content(fake: FakeWeaviate) -> None:
    with Rig(fake) as rig:
        rig.write(*range(5))
        first = dict(fake.objects)
        again = Sender(rig.client, pause=lambda tries: 0.0)
        outcomes = again.submit(rig.schema, rig.entries(made(n) for n in range(5))) + again.drain()
        assert [one.failure for one in told(outcomes)] == [None] * 5
        assert fake.objects == first


# In flight.


def test_no_more_requests_are_open_than_allowed_and_answers_may_come_in_any_order(fake: FakeWeaviate) -> None:
    with Rig(fake, batch_size=1, max_in_flight=2) as rig:
        fake.behave(lambda request, number: faults.Delay(1e6) if number in (0, 1) else None)
        worker = threading.Thread(target=rig.send, args=range(6))
        worker.start()
        fake.wait_until(lambda: fake.hanging == 2)
        assert len(fake.requests) == 2
        fake.release()
        worker.join(30)
        rig.drain()
        rig.check()
        rig.check_all_written(*range(6))


def test_senders_share_the_places_in_flight(fake: FakeWeaviate) -> None:
    with Rig(fake) as rig:
        rig.client.flow = flow = Flow(30.0, max_in_flight=1)
        one, other = (Sender(rig.client, pause=lambda tries: 0.0) for _ in range(2))
        fake.script(faults.Delay(1e6))
        outcomes = list(one.submit(rig.schema, rig.entries([made(0)])))
        others: list[Outcome] = []
        worker = threading.Thread(
            target=lambda: others.extend(other.submit(rig.schema, rig.entries([made(1)])) + other.drain())
        )
        worker.start()
        fake.wait_until(lambda: fake.hanging == 1)
        fake.release()
        worker.join(30)
        outcomes += one.drain() + others
        assert [one.failure for one in told(outcomes)] == [None, None]
        assert flow.wait_idle(10)


def test_a_sender_that_failed_leaves_its_requests_to_end_by_themselves(fake: FakeWeaviate) -> None:
    def choose(request: Any, number: int) -> faults.Action:
        first = request.objects[0].uuid == uuid_of(0)
        return faults.Delay(1e6) if first else faults.Fail(Code.UNAUTHENTICATED, "gone")

    fake.behave(choose)
    with Rig(fake, batch_size=2) as rig:
        with pytest.raises(WeaviateError, match="gone"):
            rig.write(*range(4))
        fake.wait_until(lambda: fake.hanging == 1)
        fake.behave(None)
        fake.release()
        assert rig.client.flow.wait_idle(10)
        fake.wait_until(lambda: all(request.end for request in fake.requests))
        assert numbers_of(key[2] for key in fake.objects) == {0, 1}  # not cancelled
        after = Sender(rig.client, pause=lambda tries: 0.0)
        outcomes = after.submit(rig.schema, rig.entries(made(n) for n in range(4))) + after.drain()
        assert len(told(outcomes)) == 4  # nothing of the first one leaks into the next


def test_a_call_that_cannot_be_started_keeps_no_place_in_flight(rig: Rig) -> None:
    rig.client.close()
    with pytest.raises(ValueError, match=r"[Cc]losed"):
        rig.write(0)
    assert rig.client.flow.wait_idle(0)


def test_the_time_of_an_answer_does_not_contain_the_time_until_it_is_looked_at(
    rig: Rig, fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a slow pipeline would look like a slow server, and get smaller requests and longer deadlines."""
    rig.send(0)
    assert rig.client.flow.wait_idle(10)
    fake.wait_until(lambda: fake.requests[0].end)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 500)
    rig.drain()
    assert max(rig.sender.tally.latencies_ms) < 100_000
    assert rig.client.flow.deadline() == 30.0


# The network.


@pytest.mark.parametrize("kind", ["unnamed", "no vectors"])
@pytest.mark.parametrize("fault", ["reset mid-request", "reset in place of the reply", "reply swallowed"])
def test_a_network_that_breaks(fake: FakeWeaviate, fault: str, kind: str) -> None:
    with FaultProxy(fake.grpc_url) as proxy, Rig(fake, kind, through=proxy.address) as rig:
        broken = threading.Event()

        def pause(tries: int) -> float:
            if not broken.is_set():  # after the first failure the network is well again
                broken.set()
                proxy.swallow_replies = proxy.reset_replies = False
                proxy.reset_after = None
                proxy.reset_all()
            return 0.1  # gRPC itself connects again after a second only

        rig.client.flow = Flow(1.0 if fault == "reply swallowed" else 30.0)
        rig.sender = Sender(rig.client, pause=pause)
        if fault == "reset mid-request":
            proxy.reset_after = proxy.bytes_up + 400
        else:
            proxy.swallow_replies = fault == "reply swallowed"
            proxy.reset_replies = not proxy.swallow_replies
        rig.write(*range(30))
        rig.check_all_written(*range(30))
        assert broken.is_set()


# Secrets that run out.


def test_a_token_that_ran_out_is_read_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ["first"]
    with FakeWeaviate(api_key="first") as fake:
        description = fake.create_collection(COLLECTIONS["unnamed"])
        connection = connection_to(fake, api_key=lambda: tokens[-1])
        client = Client(connection)
        sender = Sender(client, batch_size=1, pause=lambda tries: 0.0)
        schema = CollectionSchema.from_rest(description)
        encode = ObjectEncoder(schema).encode
        fake._api_key = "second"  # the first one ran out
        tokens.append("second")
        outcomes = sender.submit(schema, [encode(made(n)) for n in range(4)]) + sender.drain()
        assert [one.failure for one in told(outcomes)] == [None] * 4
        fake._api_key = "third"  # this one the source does not know
        with pytest.raises(WeaviateError, match="unauthorized") as raised:
            sender.submit(schema, [encode(made(9))])
            sender.drain()
        assert "second" not in str(raised.value)
        client.close()


def test_the_tally_counts_what_was_done(rig: Rig, fake: FakeWeaviate) -> None:
    fake.script(faults.Disconnect(stored=True), faults.Ok(), faults.Errors({0: "request rate limit exceeded"}))
    rig.write(*range(4))
    tally = rig.sender.tally
    assert (tally.requests, tally.retries, tally.unknown_outcomes, tally.repaired) == (4, 2, 1, 4)
    assert tally.batch_sizes == [4, 4, 4, 1] and len(tally.latencies_ms) == 4
    assert tally.bytes == sum(request.size for request in fake.requests)
