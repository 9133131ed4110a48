"""What the chaos import is made of: a script that its seed repeats, and the known gaps that it tells apart."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.gaps import Kill, Request, tell_apart
from tests.chaos.importer import COLLECTION, is_bad, objects_of
from tests.chaos.script import NETWORK, SERVER, WORKER, script_of
from tests.oracle.judge import LOST, NOT_BY_FILTER, NOT_IN_INDEX, NOT_ON_REPLICA, Verdict
from tests.oracle.places import Key


def test_a_seed_gives_the_same_faults_and_objects_each_time() -> None:
    script = script_of(7, 4000, 1, 2, silence=False)
    assert script == script_of(7, 4000, 1, 2, silence=False) != script_of(8, 4000, 1, 2, silence=False)
    assert Counter(one.kind for one in script) == Counter([*SERVER, *NETWORK, *WORKER])
    first, again = objects_of(7, 1, 1500), objects_of(7, 1, 1500)
    assert [one.uuid for one in first] == [one.uuid for one in again] and len(first) == 500


def test_nodes_are_hurt_in_turn() -> None:
    hurt = [one.target for one in script_of(3, 20_000, 3, 2, silence=True) if one.kind in SERVER]
    assert all(later == (node + 1) % 3 for node, later in pairwise(hurt))


def test_one_row_in_250_is_bad() -> None:
    assert sum(map(is_bad, range(4000))) == 16


UUID = "00000000-0000-0000-0000-000000000001"
KEY = Key(COLLECTION, "", UUID)
OWN = Request(1.0, 2.0, [UUID])
KILL = Kill(1.0, 2.0)


@pytest.mark.parametrize(
    ("kind", "requests", "kill", "gap"),
    [
        (NOT_IN_INDEX, [OWN], 2.1, 1),
        (NOT_IN_INDEX, [OWN, Request(1.5, 2.05, ["beside it"])], 2.1, 1),
        (NOT_IN_INDEX, [OWN, Request(2.01, 2.2, ["not acknowledged in time"])], 2.1, 1),
        (NOT_IN_INDEX, [OWN, Request(2.01, 2.05, ["saved it"])], 2.1, 0),
        (NOT_IN_INDEX, [OWN], 1.9, 1),  # noted while the node was away
        (NOT_IN_INDEX, [OWN], 0.9, 0),
        (NOT_IN_INDEX, [OWN, Request(2.5, 3.2, [UUID])], 2.1, 0),
        (NOT_IN_INDEX, [], 2.1, 0),
        (NOT_BY_FILTER, [OWN], 2.1, 0),
        (LOST, [OWN], 2.1, 0),
    ],
)
def test_only_the_last_requests_before_a_kill_explain_what_an_index_misses(
    kind: str, requests: list[Request], kill: float, gap: int
) -> None:
    verdict = Verdict(1, 1, 0)
    verdict.add(kind, "node1", [KEY])
    tell_apart(verdict, requests, {"node1": [Kill(kill, kill + 1)]})
    assert len(verdict.notes) == gap and len(verdict.problems) == 1 - gap
    assert str(KEY) in str(verdict)


@pytest.mark.parametrize(
    ("kind", "places", "kills", "gaps"),
    [
        (NOT_IN_INDEX, ["node2, index 'one'", "node2, index 'two'", "node3, index 'one'"], [KILL], 3),
        (NOT_BY_FILTER, ["node2, id"], [KILL], 1),
        (NOT_IN_INDEX, ["node2, index 'one'"], [], 0),
        (NOT_IN_INDEX, ["node1, index 'one'", "node2, index 'one'", "node3, index 'one'"], [KILL], 0),
        (NOT_ON_REPLICA, ["node2"], [KILL], 0),
    ],
)
def test_a_kill_explains_what_some_replica_still_finds(
    kind: str, places: list[str], kills: list[Kill], gaps: int
) -> None:
    verdict = Verdict(1, 1, 0)
    for place in places:
        verdict.add(kind, place, [KEY])
    tell_apart(verdict, [], {"node1": kills}, replicas=3)
    assert len(verdict.notes) == gaps and len(verdict.problems) == len(places) - gaps
