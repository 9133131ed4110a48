"""Replicas become equal some time after a node was away; until then each may be right about other objects.

    settled = settle(places, "Article", seconds=120)
    print(settled)

A server compares its replicas in the background, and sends each what the others have newer. And where others
acknowledged, one may still be at work: it has stored what it is to index. So what a replica lacks is judged when all
hold the same objects and no index grows any more, or when that took too long.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.oracle.places import Key, Place, Stored

_PAUSE = 2.0  # seconds between looks, which read everything
_QUIET = 3  # looks in a row that find the same
_CHUNK = 500  # ids in a filter


class Settled(NamedTuple):
    """How it went: ``behind`` is how many objects each place lacked, or had otherwise than most, at first.

    ``equal`` says whether all are the same now, ``seconds`` how long it took until then.
    """

    behind: dict[str, int]
    seconds: float
    equal: bool

    def __str__(self) -> str:
        lacking = [f"{place} {count}" for place, count in self.behind.items() if count]
        told = f"equal after {self.seconds:.0f} s" if self.equal else f"NOT equal after {self.seconds:.0f} s"
        return f"replicas: {told}; objects that one lacked or had otherwise: {', '.join(lacking) or 'none'}"


def settle(places: Sequence[Place], collection: str, seconds: float) -> Settled:
    """Wait until all places hold the same objects, and their indexes rest.

    Args:
      places: the replicas.
      collection: its name.
      seconds: how long to wait at most.
    """
    started = equal_at = time.monotonic()
    first: dict[str, int] | None = None
    seen: list[object] = []
    while True:
        held = {place.name: dict(place.everything(collection)) for place in places}
        behind = _behind(held)
        first = behind if first is None else first
        is_equal = not any(behind.values())
        if not is_equal:
            equal_at = time.monotonic()
        seen.append([behind, *(_indexed(place, held[place.name]) for place in places)])
        rests = is_equal and len(seen) >= _QUIET and all(one == seen[-1] for one in seen[-_QUIET:])
        if rests or time.monotonic() - started >= seconds:
            return Settled(first, equal_at - started, is_equal)
        time.sleep(_PAUSE)


def _behind(held: dict[str, dict[Key, Stored]]) -> dict[str, int]:
    """How many objects each place lacks, or has otherwise than most of the places that have them."""
    hashes = {name: {key: _hash(one) for key, one in stored.items()} for name, stored in held.items()}
    behind = dict.fromkeys(held, 0)
    for key in set().union(*hashes.values()):
        having = Counter(contents[key] for contents in hashes.values() if key in contents)
        usual = having.most_common(1)[0][0]
        for name, contents in hashes.items():
            behind[name] += contents.get(key) != usual
    return behind


def _hash(stored: Stored) -> int:
    vectors = sorted((name, vector.tobytes()) for name, vector in stored.vectors.items())
    return hash((repr(sorted(stored.properties.items())), tuple(vectors)))


def _indexed(place: Place, held: dict[Key, Stored]) -> Counter[str]:
    """How many objects each vector index knows."""
    ids: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    queries: dict[str, np.ndarray] = {}
    for key, stored in held.items():
        for name, vector in stored.vectors.items():
            ids[key.collection, key.tenant, name].append(key.uuid)
            queries[name] = vector
    known: Counter[str] = Counter()
    for (collection, tenant, name), uuids in ids.items():
        for start in range(0, len(uuids), _CHUNK):
            some = uuids[start : start + _CHUNK]
            known[name] += len(place.found_in_index(collection, tenant, name, queries[name], some))
    return known
