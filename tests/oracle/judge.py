"""The oracle: whether a write kept its promise, judged by what was given, what came out, and what is there.

    verdict = judge(places_of(server), sent, written, failed)
    print(verdict)
    assert not verdict.problems

It reads by REST and GraphQL, or looks into the fake, and shares no code with the writer. Multi-vectors without
MUVERA are scored by what is stored, so their index cannot be asked; the verdict says so.

Of several replicas each must have everything. What none of them has is lost; what another one has is not, and is told
apart: the server brings it to the others in time (:mod:`tests.oracle.settling`).
"""

from __future__ import annotations

import base64
import uuid as _uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from tests.oracle.places import FakePlace, Key, Place, RestPlace, Stored
from weaviate_io import WeaviateObject
from weaviate_io.testing import FakeWeaviate, WeaviateServer

LOST = "reported written, but not there"
NOT_ON_REPLICA = "not on this replica, but on another"
NOT_SENT = "there, but never sent"
ALTERED = "not as it was sent"
TWICE = "there more than once"
UNTOLD = "neither written nor failed"
IN_BOTH = "both written and failed"
TOLD_TOO_OFTEN = "told more often than sent"
NOT_GIVEN = "in an output, but never sent"
NOT_BY_ID = "not found by id"
NOT_BY_FILTER = "not found by filter"
NOT_IN_INDEX = "not in the vector index"

_CHUNK = 500  # ids in a filter; far below the flat-search cutoff, so that a search scans all of them
_BY_ID = 500  # objects that are asked for one by one; the filter by ids asks for all


class Problem(NamedTuple):
    """One kind of broken promise, where it was seen, and the objects."""

    kind: str
    where: str
    keys: tuple[Key, ...]

    @property
    def place(self) -> str:
        """Name of the place, without what was asked there."""
        return self.where.partition(",")[0]

    def __str__(self) -> str:
        some = ", ".join(str(key) for key in self.keys[:3])
        return f"{self.kind} ({self.where}): {len(self.keys)} objects, such as {some}"


@dataclass
class Verdict:
    """What the oracle found: problems, and notes of what is worth knowing but breaks no promise."""

    sent: int
    written: int
    failed: int
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        head = f"{self.sent:,} objects sent, {self.written:,} written, {self.failed:,} failed: "
        head += f"{len(self.problems)} problems" if self.problems else "all as promised"
        return "\n".join(
            [head, *(f"  PROBLEM {one}" for one in self.problems), *(f"  {n}" for n in self.notes)]
        )

    def add(self, kind: str, where: str, keys: Iterable[Key]) -> None:
        """Note a problem with these objects, if there are any."""
        found = tuple(sorted(set(keys)))
        if found:
            self.problems.append(Problem(kind, where, found))


def places_of(server: WeaviateServer | FakeWeaviate, debug_url: str | None = None) -> list[Place]:
    """All that has to be asked: the fake, or each node of a server, as each has a replica of its own."""
    if isinstance(server, FakeWeaviate):
        return [FakePlace(server)]
    if len(server.urls) == 1:
        return [RestPlace(server.url, debug_url=debug_url)]
    return [RestPlace(url, f"node{number}") for number, url in enumerate(server.urls, 1)]


def key_of(one: Any) -> Key:
    """Of a ``WeaviateObject`` with uuid and collection, a ``WrittenObject`` or a ``FailedObject``."""
    return Key(one.collection, one.tenant or "", str(one.uuid).lower())


def judge(
    places: Sequence[Place],
    sent: Iterable[WeaviateObject],
    written: Iterable[Key],
    failed: Iterable[Key],
    filter_by: str | None = None,
) -> Verdict:
    """Compare what was given with what came out and with what is there.

    Args:
      places: where to look: the replicas.
      sent: all objects that were given, with uuid and collection. Of several with one key any may be stored.
      written: keys that came out as written, as often as they came.
      failed: keys that came out as failed, likewise.
      filter_by: name of an int property with another value for each object, to look for them by.
    """
    given: dict[Key, list[WeaviateObject]] = defaultdict(list)
    for one in sent:
        given[key_of(one)].append(one)
    told_written, told_failed = Counter(written), Counter(failed)
    verdict = Verdict(sum(map(len, given.values())), told_written.total(), told_failed.total())
    _judge_outputs(verdict, given, told_written, told_failed)
    for place in places:
        for collection in sorted({key.collection for key in given}):
            _judge_place(verdict, place, collection, given, told_written, filter_by)
    _tell_lost_from_behind(verdict, len(places))
    return verdict


def _tell_lost_from_behind(verdict: Verdict, places: int) -> None:
    """Of what a place lacks, only what all places lack is lost."""
    lacking = Counter(key for one in verdict.problems if one.kind == LOST for key in one.keys)
    problems, verdict.problems = verdict.problems, []
    for problem in problems:
        elsewhere = {key for key in problem.keys if problem.kind == LOST and lacking[key] < places}
        verdict.add(problem.kind, problem.where, set(problem.keys) - elsewhere)
        verdict.add(NOT_ON_REPLICA, problem.where, elsewhere)


def _judge_outputs(
    verdict: Verdict, given: Mapping[Key, list[Any]], written: Counter[Key], failed: Counter[Key]
) -> None:
    told = written + failed
    verdict.add(UNTOLD, "outputs", (key for key in given if told[key] < len(given[key])))
    verdict.add(NOT_GIVEN, "outputs", (key for key in told if key not in given))
    both = {key for key in written.keys() & failed.keys() if len(given.get(key, ())) < 2}
    verdict.add(IN_BOTH, "outputs", both)
    too_often = (key for key in told if key in given and key not in both and told[key] > len(given[key]))
    verdict.add(TOLD_TOO_OFTEN, "outputs", too_often)


def _judge_place(
    verdict: Verdict,
    place: Place,
    collection: str,
    given: Mapping[Key, list[WeaviateObject]],
    written: Counter[Key],
    filter_by: str | None,
) -> None:
    where = place.name
    schema = place.schema(collection)
    types = {one["name"]: one["dataType"][0] for one in schema.get("properties") or ()}
    expected = sorted(key for key in written if key.collection == collection and key in given)
    stored: dict[Key, Stored] = {}
    times: Counter[Key] = Counter()
    for key, found in place.everything(collection):
        stored[key] = found
        times[key] += 1
    verdict.add(TWICE, where, (key for key, count in times.items() if count > 1))
    verdict.add(NOT_SENT, where, stored.keys() - given.keys())
    verdict.add(LOST, where, (key for key in expected if key not in stored))
    there = [key for key in expected if key in stored]
    verdict.add(ALTERED, where, (key for key in there if not _is_one_of(stored[key], given[key], types)))
    partly = sum(key in given and not written[key] for key in stored)
    if partly:
        verdict.notes.append(f"{where}: {partly} objects of {collection} are there although they failed")
    every = max(1, len(there) // _BY_ID)
    verdict.add(NOT_BY_ID, where, (key for key in there[::every] if not place.is_found(key)))
    _judge_filters(verdict, place, there, stored, filter_by)
    unindexed: dict[str, set[Key]] = {}
    for name, config in _indexes(schema):
        if _tells_nothing(config):
            verdict.notes.append(f"{where}: the index {name!r} of {collection} cannot be asked")
        else:
            keys = [key for key in there if name in stored[key].vectors]
            unindexed[name] = _judge_index(verdict, place, name, keys, stored)
    for graph in place.graphs(collection):
        if graph.unreachable:
            keys = [key for key in there if graph.index in stored[key].vectors]
            missed = _not_nearest(place, graph.index, keys, stored)
            verdict.notes.append(
                f"{where}: {graph.unreachable} nodes of the graph {graph.index!r} of {collection} cannot be "
                f"reached ({graph.tombstones} nodes are deleted ones, which may be among them); of {len(keys)} "
                f"objects {len(missed)} are not found by their own vector, "
                f"{len(missed & unindexed.get(graph.index, set()))} of them since they are not in the index"
            )


def _not_nearest(place: Place, name: str, keys: Sequence[Key], stored: Mapping[Key, Stored]) -> set[Key]:
    """The objects that a search among all, with their own vector, does not find."""
    missed: set[Key] = set()
    for collection, tenant, some in _chunks(keys, 100):
        found = place.nearest(collection, tenant, name, [stored[key].vectors[name] for key in some])
        missed.update(key for key, uuids in zip(some, found, strict=True) if key.uuid not in uuids)
    return missed


def _judge_filters(
    verdict: Verdict,
    place: Place,
    keys: Sequence[Key],
    stored: Mapping[Key, Stored],
    filter_by: str | None,
) -> None:
    by_ids: Counter[Key] = Counter()
    by_values: Counter[Key] = Counter()
    can_filter = filter_by is not None
    for collection, tenant, some in _chunks(keys):
        for uuid, times in place.found_by_ids(collection, tenant, [key.uuid for key in some]).items():
            by_ids[Key(collection, tenant, uuid)] += times
        if filter_by is not None:
            values = [int(stored[key].properties[filter_by]) for key in some]
            found = place.found_by_values(collection, tenant, filter_by, values)
            can_filter = found is not None
            for uuid, times in (found or {}).items():
                by_values[Key(collection, tenant, uuid)] += times
    ways = [("id", by_ids)] + ([(str(filter_by), by_values)] if can_filter else [])
    for name, times_found in ways:
        verdict.add(NOT_BY_FILTER, f"{place.name}, {name}", (key for key in keys if not times_found[key]))
        verdict.add(TWICE, f"{place.name}, {name}", (key for key in keys if times_found[key] > 1))


def _judge_index(
    verdict: Verdict, place: Place, name: str, keys: Sequence[Key], stored: Mapping[Key, Stored]
) -> set[Key]:
    missing: list[Key] = []
    for collection, tenant, some in _chunks(keys):
        query = stored[some[0]].vectors[name]
        known = place.found_in_index(collection, tenant, name, query, [key.uuid for key in some])
        missing += [key for key in some if key.uuid not in known]
    verdict.add(NOT_IN_INDEX, f"{place.name}, index {name!r}", missing)
    return set(missing)


def _chunks(keys: Iterable[Key], size: int = _CHUNK) -> Iterator[tuple[str, str, list[Key]]]:
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in keys:
        groups[key.collection, key.tenant].append(key)
    for (collection, tenant), group in groups.items():
        for start in range(0, len(group), size):
            yield collection, tenant, group[start : start + size]


def _indexes(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    named = schema.get("vectorConfig")
    configs = dict(named) if named else {"": schema}
    return [(name, config.get("vectorIndexConfig") or {}) for name, config in configs.items()]


def _tells_nothing(config: Mapping[str, Any]) -> bool:
    multi = config.get("multivector") or {}
    by_rows = multi.get("enabled") and not (multi.get("muvera") or {}).get("enabled")
    return bool(config.get("skip") or by_rows)


def _is_one_of(stored: Stored, given: Sequence[WeaviateObject], types: Mapping[str, str]) -> bool:
    return any(_equal(stored, one, types) for one in given)


def _equal(stored: Stored, given: WeaviateObject, types: Mapping[str, str]) -> bool:
    wanted, found = (
        {
            name: _plain(value, types.get(name, ""))
            for name, value in properties.items()
            if value is not None and not (isinstance(value, (list, tuple)) and not value)
        }
        for properties in (given.properties, stored.properties)
    )
    vector = given.vector if given.vector is not None else {}
    vectors = vector if isinstance(vector, Mapping) else {"": vector}
    return (
        found == wanted
        and vectors.keys() == stored.vectors.keys()
        and all(np.array_equal(_float32(one), stored.vectors[name]) for name, one in vectors.items())
    )


def _float32(vector: Any) -> np.ndarray:
    return np.frombuffer(vector, "<f4") if isinstance(vector, bytes) else np.asarray(vector, np.float32)


def _plain(value: Any, kind: str) -> Any:
    """A value so that what was given and what is read compare equal."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(one, kind.removesuffix("[]")) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one, kind) for name, one in value.items() if one is not None}
    if kind == "date":
        return datetime.fromisoformat(value.replace("Z", "+00:00")) if isinstance(value, str) else value
    if kind == "geoCoordinates":
        return float(np.float32(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, _uuid.UUID) or kind == "uuid":
        return str(value).lower()
    return value if isinstance(value, str) else float(value)
