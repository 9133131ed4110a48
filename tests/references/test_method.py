"""The sender with references on the fake server: every fault, and what is there afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter

import grpc
import pytest

from tests.references.harness import Rig, author, paper, reference, store, stored
from tests.sender.harness import told
from weaviate_io.errors import WeaviateError
from weaviate_io.references.method import BatchReferences
from weaviate_io.testing import FakeWeaviate, FaultProxy, faults

LOST = faults.StoreThenFail(grpc.StatusCode.UNAVAILABLE, "Socket closed")
ALL = [reference(source, target) for source in range(10) for target in range(3)]


def check_each_once(fake: FakeWeaviate, name: str = "kept") -> None:
    for source in range(10):
        assert Counter(stored(fake, source, name)) == Counter(paper(target) for target in range(3))


def test_references_are_written_in_one_request(fake):
    with Rig(fake) as rig:
        rig.write(ALL)
        assert rig.failures() == []
        assert rig.batches() == [30]
        check_each_once(fake)


def test_equal_references_of_a_batch_are_sent_once_and_share_the_outcome(fake):
    with Rig(fake) as rig:
        rig.write([reference(0, 1)] * 5 + [reference(99, 1)] * 3)
        assert rig.batches() == [2]
        assert stored(fake, 0) == [paper(1)]
        assert rig.failures() == [("source_not_found", paper(1))] * 3


@pytest.mark.parametrize(
    "fault",
    [
        LOST,
        faults.Disconnect(stored=True),
        faults.Fail(grpc.StatusCode.UNAVAILABLE, "Socket closed"),
        faults.Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down"),
        faults.Fail(grpc.StatusCode.UNKNOWN, "something went wrong"),
        faults.StoreThenFail(grpc.StatusCode.UNKNOWN, "panic occurred: index out of range"),
        faults.StoreThenFail(grpc.StatusCode.INTERNAL, "RST_STREAM"),
        faults.Malformed(b"\xff"),
        faults.Malformed(b"\xff", stored=False),
        faults.Errors({3: "something unheard of", 7: "something unheard of"}),
        faults.Errors({3: "something unheard of", 7: "context deadline exceeded"}, stored=True),
        faults.Errors({0: "store is read-only"}, others_stored=False),
        faults.Errors({0: "store is read-only"}),
        faults.Errors({29: "not enough memory"}, stored=True),
        faults.Errors({5: "rate limit"}),
        faults.Errors({77: "out of range"}),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["kept", "writesFor"])
def test_no_fault_makes_duplicates_or_loses_a_reference(fake, fault, name):
    with Rig(fake) as rig:
        fake.script(fault)
        rig.write(one._replace(from_property=name) for one in ALL)
        assert rig.failures() == []
        check_each_once(fake, name)


def test_what_was_stored_before_the_answer_was_lost_is_not_sent_again(fake):
    with Rig(fake) as rig:
        fake.script(LOST)
        rig.write(ALL)
        assert rig.batches() == [30]
        assert rig.sender.tally.unknown_outcomes == 1


def test_of_a_half_stored_request_the_rest_is_sent(fake):
    with Rig(fake) as rig:
        half = dict.fromkeys(range(0, 30, 2), "something unheard of")
        fake.script(faults.Errors(half), LOST)
        rig.write(ALL)
        assert rig.batches() == [30, 15]
        check_each_once(fake)


def test_a_property_without_duplicates_is_sent_again_without_a_look(fake):
    with Rig(fake) as rig:
        fake.script(LOST)
        rig.write([reference(0, 1, "writesFor")])
        assert rig.batches() == [1, 1]
        assert stored(fake, 0, "writesFor") == [paper(1)]


def test_after_a_deadline_that_passed_behind_the_write_nothing_is_doubled(fake):
    with Rig(fake, deadline=0.3) as rig:
        fake.script(faults.StoreThenHang(600))
        rig.write(ALL)
        assert rig.failures() == []
        check_each_once(fake)


def test_a_swallowed_reply_doubles_nothing(fake):
    with FaultProxy(fake.grpc_url) as proxy, Rig(fake, deadline=0.5, through=proxy.address) as rig:
        rig.write([reference(0, 0)])
        proxy.swallow_replies = True
        rig.write(ALL[1:])
        check_each_once(fake)
        assert rig.batches() == [1, 29]


def test_an_error_of_unknown_nature_that_stays_fails_its_reference_alone(fake):
    with Rig(fake) as rig:
        bad = paper(2)
        fake.behave(lambda *_: faults.ErrorsWhere(lambda one: "unheard of" if one.to_uuid == bad else None))
        rig.write(ALL)
        assert rig.failures() == [("server_error", bad)] * 10
        assert all(stored(fake, source) == [paper(0), paper(1)] for source in range(10))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"ref batch: object with id {author(1)} not found", "source_not_found"),
        (f'source: object Member/{author(1)} not found for tenant "a"', "source_not_found"),
        (f'target: object Paper/{paper(1)} not found for tenant ""', "target_not_found"),
        ("property kept does not exist for class Author", "unknown_property"),
        ("ref batch: property 'Kept' not found in schema", "unknown_property"),
        ('source class "Author" not found in schema', "collection_not_found"),
        ('target class "Author" not found in schema', "invalid_reference"),
        ("multi-target references require the class name in the target beacon url", "invalid_reference"),
        (
            "invalid reference: cannot reference a multi-tenant enabled class from a non multi-tenant enabled class",
            "invalid_reference",
        ),
        ("invalid cref URI: 2nd path segment must be uuid, but got 'by'", "invalid_reference"),
        ("source: get object Member/x: determine shard: tenant not active: 'cold'", "tenant_not_active"),
        ('source: get object Member/x: determine shard: tenant not found: "b"', "tenant_not_found"),
    ],
)
def test_what_the_server_refuses_is_refused_at_once(fake, text, reason):
    with Rig(fake) as rig:
        fake.script(faults.Errors({1: text}))
        rig.write(ALL[:3])
        assert rig.failures() == [(reason, paper(1))]
        assert rig.batches() == [3]


def test_a_missing_source_costs_its_reference_only(fake):
    with Rig(fake) as rig:
        rig.write([reference(0, 1), reference(99, 1), reference(1, 1)])
        assert [reason for reason, _ in rig.failures()] == ["source_not_found"]
        assert stored(fake, 0) == stored(fake, 1) == [paper(1)]


def test_skip_existing_sends_what_is_absent_only(fake):
    with Rig(fake, skip_existing=True) as rig:
        rig.write(ALL)
        rig.write(ALL)
        rig.write([*ALL, reference(0, 5)])
        assert rig.failures() == []
        assert rig.batches() == [30, 1]
        assert stored(fake, 0) == [*map(paper, range(3)), paper(5)]


def test_sources_are_read_at_the_same_time(fake, monkeypatch):
    together = threading.Barrier(8)
    read = BatchReferences._stored

    def read_together(*source):
        together.wait(10)
        return read(*source)

    monkeypatch.setattr(BatchReferences, "_stored", read_together)
    with Rig(fake, skip_existing=True) as rig:
        rig.write([reference(source, 0) for source in range(8)])
        assert rig.failures() == [] and rig.batches() == [8]


def test_skip_existing_knows_a_reference_that_does_not_name_its_collection(fake):
    with Rig(fake, skip_existing=True) as rig:
        fake.references["Author", "", author(0)]["kept"] = [f"weaviate://localhost/{paper(1)}"]
        rig.write([reference(0, 1)])
        assert rig.batches() == []


def test_skip_existing_leaves_equal_references_in_two_requests_single(fake):
    with Rig(fake, skip_existing=True, batch_size=4) as rig:
        fake.script(faults.Ok(), LOST, faults.Errors({0: "unheard of"}, stored=True))
        rig.write(ALL + ALL)
        check_each_once(fake)


def test_without_it_a_rerun_doubles_references(fake):
    with Rig(fake) as rig:
        rig.write(ALL)
        rig.write(ALL)
        assert len(stored(fake, 0)) == 6


def test_check_targets_finds_absent_ones_with_one_search_for_a_collection(fake):
    with Rig(fake, check_targets=True) as rig:
        dangling = [reference(0, 77), reference(1, 78)]
        both = [reference(0, target, "likes") for target in (1, 79)]
        both += [
            one._replace(to_collection="Author", to_uuid=author(n)) for n, one in ((1, both[0]), (80, both[1]))
        ]
        rig.write([*ALL, *dangling, *both])
        assert rig.failures() == [
            ("target_not_found", one) for one in (paper(77), paper(78), paper(79), author(80))
        ]
        assert [one.method for one in fake.requests] == ["Search", "Search", "BatchReferences"]
        check_each_once(fake)


def test_check_targets_of_absent_ones_only_sends_nothing(fake):
    with Rig(fake, check_targets=True) as rig:
        rig.write([reference(0, 77)])
        assert rig.batches() == []
        ((_, failure),) = told(rig.outcomes)
        assert failure is not None
        assert failure.error == f"Paper has no object {paper(77)}"
        assert failure.attempts == 0


def test_check_targets_takes_a_collection_that_is_gone_for_empty(fake):
    with Rig(fake, check_targets=True) as rig:
        del fake.schemas["Paper"]
        rig.write([reference(0, 1)])
        assert rig.failures() == [("target_not_found", paper(1))]


def test_without_check_targets_dangling_references_are_written(fake):
    with Rig(fake) as rig:
        rig.write([reference(0, 77)])
        assert stored(fake, 0) == [paper(77)]


def test_a_server_that_stays_away_fails_the_write_with_its_words(fake):
    with Rig(fake, budget=0.0) as rig:
        fake.behave(lambda *_: faults.Fail(grpc.StatusCode.UNAVAILABLE, "restarting"))
        with pytest.raises(WeaviateError, match=r"writing to Author failed .* restarting"):
            rig.write(ALL)


def test_random_faults_leave_every_reference_there_once(fake):
    for seed in range(15):
        dice = random.Random(seed)
        with Rig(fake, skip_existing=dice.random() < 0.3, batch_size=dice.randint(1, 12)) as rig:

            def fault(message, number, dice=dice):
                if number > 40 or dice.random() < 0.4:
                    return None
                some = {i: "unheard of" for i in range(len(message.references)) if dice.random() < 0.3}
                return dice.choice(
                    [
                        LOST,
                        faults.Fail(grpc.StatusCode.UNAVAILABLE, "gone"),
                        faults.Errors(some, stored=dice.random() < 0.5),
                        faults.Errors({0: "store is read-only"}, others_stored=False),
                    ]
                )

            fake.behave(fault)
            rig.write(ALL)
            # What keeps an unclear error for four tries fails, whether it is there or not.
            assert {reason for reason, _ in rig.failures()} <= {"server_error"}, f"seed {seed}"
            failed = {entry.reference for entry, failure in told(rig.outcomes) if failure is not None}
            for one in ALL:
                times = stored(fake, ALL.index(one) // 3).count(one.to_uuid)
                assert times <= 1, f"seed {seed}: {one} is there {times} times"
                assert times == 1 or one in failed, f"seed {seed}: {one} was reported written, but is not there"
        fake.reset()


def test_a_source_that_went_away_in_between_is_reported_as_such(fake):
    with Rig(fake) as rig:

        def lose(message, number):
            if number == 0:
                for key in list(fake.objects):
                    if key[0] == "Author":
                        del fake.objects[key]
                return faults.Fail(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            return None

        fake.behave(lose)
        rig.write([reference(0, 1)])
        assert rig.failures() == [("source_not_found", paper(1))]
        store(fake, "Author", author(0))
        rig.write([reference(0, 1)])
        assert stored(fake, 0) == [paper(1)]
