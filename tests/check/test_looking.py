"""The ranges of ids, and what the searches with an object's own vector tell, on objects in memory."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from weaviate_io import examining, proto, scanning
from weaviate_io.examining import UNLINKED, VECTOR_INDEX, Examiner, Lack
from weaviate_io.schema import CollectionSchema, VectorIndex

RANDOM = np.random.default_rng(1)
IDS = {
    "none": [],
    "few": [0, 5, 2**128 - 1],
    "random": [int.from_bytes(RANDOM.bytes(16), "big") for _ in range(20_000)],
    "counted": list(range(20_000)),
    "by time": [(1_700_000_000_000 + n << 80) | int(RANDOM.integers(2**62)) for n in range(20_000)],
    "two ends": [*range(10_000), *range(2**128 - 10_000, 2**128)],
}


class Objects:
    """Objects in memory, which answers searches as the server does.

    Args:
      numbers: their ids.
      vectors: by id.
      unlinked: ids that only a search with a filter finds.
      lost: ids that none finds.
    """

    def __init__(
        self,
        numbers: list[int],
        vectors: dict[int, list[float]] | None = None,
        unlinked: tuple[int, ...] = (),
        lost: tuple[int, ...] = (),
    ) -> None:
        self.numbers = np.array(sorted(numbers), object)
        self.vectors = {number: np.array(one, "<f4") for number, one in (vectors or {}).items()}
        self.unlinked, self.lost = unlinked, lost
        self.searches = 0

    def search(self, wanted: Any) -> Any:
        self.searches += 1
        after = uuid.UUID(wanted.after).int + 1 if wanted.after else 0
        found = list(self.numbers[np.searchsorted(self.numbers, after) :])
        if wanted.filters.operator:
            asked = {uuid.UUID(one).int for one in wanted.filters.value_text_array.values}
            found = [number for number in found if number in asked]
        distances: dict[int, float] = dict.fromkeys(found, 0.0)
        if wanted.near_vector.vector_bytes:
            hidden = self.lost if wanted.filters.operator else (*self.lost, *self.unlinked)
            query = np.frombuffer(wanted.near_vector.vector_bytes, "<f4")
            distances = {n: -float(query @ self.vectors[n]) for n in found if n not in hidden}
            found = sorted(distances, key=lambda number: distances[number])
        reply = proto.SearchReply()
        for number in found[: wanted.limit]:
            metadata = reply.results.add().metadata
            metadata.id, metadata.distance = str(uuid.UUID(int=number)), distances[number]
            if wanted.metadata.vector:
                metadata.vector_bytes = self.vectors[number].tobytes()
        return reply


@pytest.mark.parametrize("kind", IDS)
def test_the_ranges_together_have_each_id_once_and_share_the_work(kind: str) -> None:
    objects = Objects(IDS[kind])
    ranges = scanning.divide(objects.search, "Article", None)
    assert objects.searches <= 140
    found = [list(scanning.pages(objects.search, "Article", one)) for one in ranges]
    together = sorted(uuid.UUID(one).int for pages in found for page in pages for one in page)
    assert together == sorted(IDS[kind])
    if len(together) > scanning.PAGE and kind != "two ends":
        sizes = [sum(map(len, pages)) for pages in found]
        assert max(sizes) < 2.5 * len(together) / scanning.RANGES, sizes


def test_ids_that_are_added_behind_the_last_one_meanwhile_are_read() -> None:
    objects = Objects(list(range(2000)))
    ranges = scanning.divide(objects.search, "Article", None)
    objects.numbers = np.append(objects.numbers, 2**127)
    read = [page for one in ranges for page in scanning.pages(objects.search, "Article", one)]
    assert sum(map(len, read)) == 2001


def examined(objects: Objects, index: VectorIndex | None = None) -> tuple[dict[int, set[Lack]], set[int]]:
    schema = CollectionSchema("Article", {}, {"": index or VectorIndex("")})
    uuids = [str(uuid.UUID(int=number)) for number in objects.numbers]
    findings = Examiner(objects.search, schema, lambda tenant, uuid: True, exact=True).look(None, uuids)
    lacks = {uuid.UUID(one).int: lack for one, lack in findings.lacks.items()}
    return lacks, {uuid.UUID(one).int for one in findings.untold}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_LIMITS", (2, 4))


@pytest.mark.usefixtures("small_limits")
def test_what_no_path_leads_to_is_told_from_what_an_index_lost() -> None:
    vectors = {n: [np.cos(n / 4), np.sin(n / 4)] for n in range(20)}
    objects = Objects(list(vectors), vectors, unlinked=(3, 4), lost=(7,))
    lacks = {3: {Lack(UNLINKED)}, 4: {Lack(UNLINKED)}, 7: {Lack(VECTOR_INDEX)}}
    assert examined(objects) == (lacks, set())


@pytest.mark.usefixtures("small_limits")
def test_what_equal_or_longer_vectors_crowd_out_is_no_alarm() -> None:
    crowd: dict[int, list[float]] = {n: [1.0, 0.0] for n in range(9)}
    longer: dict[int, list[float]] = {n: [0.1 * n, 5.0] for n in range(10, 20)}
    lacks, untold = examined(Objects([*crowd, *longer], {**crowd, **longer}))
    assert not lacks
    assert untold


@pytest.mark.usefixtures("small_limits")
def test_of_an_index_that_scans_nothing_only_the_search_among_all_tells() -> None:
    vectors = {n: [np.cos(n / 4), np.sin(n / 4)] for n in range(20)}
    objects = Objects(list(vectors), vectors, unlinked=(3,))
    assert examined(objects, VectorIndex("", flat_search_cutoff=0)) == ({3: {Lack(UNLINKED)}}, set())
