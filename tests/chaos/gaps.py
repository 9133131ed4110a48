"""What an index misses although nobody did wrong: the known gaps, told apart from problems.

A server that is killed right after it acknowledged a request comes back without some of the request's vectors in the
index, and no client can know. Any later write to it, acknowledged before the kill, saves them.

With replicas the gap is wider: what a killed node was at is cut off in all of them, the copies included that they send
each other in the background, and others acknowledged it. What some replica still finds is counted as this gap then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tests.oracle.judge import NOT_BY_FILTER, NOT_IN_INDEX, Problem, Verdict
from tests.oracle.places import Key


class Request(NamedTuple):
    """A request that was acknowledged; times of ``time.monotonic()``, which all processes share."""

    sent: float
    acknowledged: float
    uuids: list[str]


class Kill(NamedTuple):
    """When a node was about to be killed, and when it was back."""

    begin: float
    end: float


def tell_apart(
    verdict: Verdict,
    acknowledged: Sequence[Request],
    kills: Mapping[str, Sequence[Kill]],
    replicas: int = 1,
) -> None:
    """Make notes of the problems that a known gap explains.

    Args:
      verdict: of the import.
      acknowledged: all requests that were acknowledged.
      kills: those of each node.
      replicas: how many nodes have each object.
    """
    last: dict[str, Request] = {}
    for request in sorted(acknowledged, key=lambda one: one.acknowledged):
        last.update(dict.fromkeys(request.uuids, request))
    missing_at: dict[Key, set[str]] = defaultdict(set)
    for problem in verdict.problems:
        if problem.kind in (NOT_IN_INDEX, NOT_BY_FILTER):
            for key in problem.keys:
                missing_at[key].add(problem.place)

    def was_not_saved(problem: Problem, key: Key) -> bool:
        own = last.get(key.uuid)
        # What is noted as acknowledged while the node was away had been before, on a machine short of CPU.
        return own is not None and any(
            own.acknowledged < kill.end
            and not any(own.acknowledged < one.sent and one.acknowledged < kill.begin for one in acknowledged)
            for kill in kills.get(problem.place, ())
        )

    def is_gap(problem: Problem, key: Key) -> bool:
        if replicas == 1:
            return problem.kind == NOT_IN_INDEX and was_not_saved(problem, key)
        return any(kills.values()) and 0 < len(missing_at[key]) < replicas

    problems, verdict.problems = verdict.problems, []
    for problem in problems:
        explained = {
            key
            for key in problem.keys
            if problem.kind in (NOT_IN_INDEX, NOT_BY_FILTER) and is_gap(problem, key)
        }
        if explained:
            verdict.notes.append(f"known gap: {problem._replace(keys=tuple(sorted(explained)))}")
        verdict.add(problem.kind, problem.where, set(problem.keys) - explained)
