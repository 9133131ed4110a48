"""Three real nodes, of which some are away, under a whole pipeline with each consistency level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.faults.trial import Trial
from tests.oracle.judge import NOT_IN_INDEX
from weaviate_io.kind import Kind
from weaviate_io.testing import FaultProxy, WeaviateServer

pytestmark = pytest.mark.server
COUNT = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[WeaviateServer]:
    with WeaviateServer(version="1.39.3", nodes=3) as running:
        yield running
        running.kill(0)  # alone, it would take 90 seconds to stop in good order


@pytest.fixture
def follower(cluster: WeaviateServer) -> int:
    """A node that can go without an election of the others, and to which nothing here is sent."""
    nodes = requests.get(f"{cluster.url}/v1/cluster/statistics", timeout=60).json()["statistics"]
    followers = {node["name"] for node in nodes if node["name"] != node["leaderId"]}
    return next(number for number in (1, 2) if f"node{number + 1}" in followers)


@pytest.mark.parametrize("level", ["ONE", "QUORUM"])
def test_one_of_three_replicas_may_be_away(
    write: Any, cluster: WeaviateServer, follower: int, before_batch: Any, level: str
) -> None:
    trial = Trial(write, cluster, replicas=3, batch_size=20, consistency_level=level)
    before_batch(lambda number: cluster.kill(follower) if number == 2 else None)
    done = trial.run(range(COUNT))
    cluster.restart(follower)
    assert not done.failed
    trial.check(nodes=slice(1))


def test_where_all_replicas_are_asked_for_one_that_is_away_is_waited_for(
    write: Any, cluster: WeaviateServer, follower: int, sending: Callable[..., None], before_batch: Any
) -> None:
    trial = Trial(write, cluster, replicas=3, batch_size=20, consistency_level="ALL", verify="all")
    back: list[int] = []

    def pause(tries: int) -> float:
        if not back:
            cluster.restart(follower)
            back.append(follower)
        return 0.3

    sending(budget=120.0, pause=pause)
    # Before the first batch: what a node acknowledged right before a kill may be lost from its index.
    before_batch(lambda number: cluster.kill(follower) if number == 0 else None)
    done = trial.run(range(COUNT))
    assert back and done.counters["retries"] and not done.failed
    trial.check()


def test_what_was_left_open_is_found_on_every_replica(
    write: Any,
    cluster: WeaviateServer,
    sending: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    before_batch: Any,
) -> None:
    """At ONE, where others acknowledge than the replica that is asked whether it finds what they acknowledged."""
    with FaultProxy(cluster.grpc_url) as proxy:
        trial = Trial(
            write,
            cluster,
            replicas=3,
            through=proxy.address,
            batch_size=20,
            consistency_level="ONE",
            verify="all",
        )

        def pause(tries: int) -> float:
            proxy.reset_replies = False
            return 0.3

        def break_first(number: int) -> None:
            proxy.reset_replies = number == 0

        sending(budget=60.0, pause=pause)
        monkeypatch.setattr(Kind, "sender_limit", 1)  # no look-up meets what is meant for the first batch
        before_batch(break_first)
        done = trial.run(range(COUNT))
    assert done.counters["unknown_outcomes"] and done.counters["repaired"] and not done.failed
    trial.settle()
    trial.check()


def test_what_a_killed_replica_lost_of_its_index_a_run_that_repairs_unasked_brings_back(
    write: Any, cluster: WeaviateServer, follower: int
) -> None:
    """Nobody tells the client: the objects were acknowledged before the kill, and others answer look-ups."""
    trial = Trial(write, cluster, replicas=3, batch_size=COUNT, consistency_level="ALL")
    trial.run(range(COUNT))
    cluster.kill(follower)
    cluster.restart(follower)
    assert {(one.kind, one.place) for one in trial.judged().problems} == {(NOT_IN_INDEX, f"node{follower + 1}")}
    trial.options["verify"] = "repair"
    trial.run(range(COUNT))
    trial.check()


def test_where_it_stays_away_its_objects_fail_with_the_words_of_the_server(
    write: Any, cluster: WeaviateServer, follower: int, sending: Callable[..., None], before_batch: Any
) -> None:
    """For a few seconds: then the others count the node as dead, and ``ALL`` means all that are alive."""
    trial = Trial(write, cluster, replicas=3, batch_size=COUNT, consistency_level="ALL")
    sending(budget=0.0)
    before_batch(lambda number: cluster.kill(follower))
    done = trial.run(range(COUNT))
    cluster.restart(follower)
    assert {failure.reason for failure in done.failed} == {"replicas_unavailable"}
    assert all("cannot reach enough replicas" in failure.error for failure in done.failed)
    trial.check(failed=range(COUNT))


def test_with_two_of_three_away_no_quorum_is_told_written(
    write: Any,
    cluster: WeaviateServer,
    sending: Callable[..., None],
    before_batch: Any,
    shortest_deadline: Any,
) -> None:
    """The last test of the module: nothing can be asked of this cluster any more."""
    trial = Trial(write, cluster, replicas=3, batch_size=COUNT, consistency_level="QUORUM")
    sending(budget=0.0)
    shortest_deadline(10.0)

    def kill_both(number: int) -> None:
        cluster.kill(1)
        cluster.kill(2)

    before_batch(kill_both)
    try:
        done = trial.run(range(COUNT))
    except Exception as error:  # with the leader of the cluster among the two, the server may not answer at all
        assert f"writing to {trial.collection} failed" in str(error)
        return
    assert not done.written and len(done.failed) == COUNT
    assert {failure.reason for failure in done.failed} == {"replicas_unavailable"}
