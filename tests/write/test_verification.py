"""``verify=`` of a write: what two runs do about objects that are stored without being indexed."""

from __future__ import annotations

from typing import Any

import pytest

from weaviate_io import WriteToWeaviate

SCHEMA = {"class": "Article", "vectorizer": "none", "properties": [{"name": "number", "dataType": ["int"]}]}
ROWS = [{"number": i, "embedding": [float(i), 1.0]} for i in range(20)]


@pytest.fixture
def into(fake: Any) -> dict[str, Any]:
    fake.create_collection(SCHEMA)
    return {
        "collection": "Article",
        "url": fake.url,
        "grpc_url": fake.grpc_url,
        "vector_field": "embedding",
        "id_field": lambda row: row["number"],
    }


def lose_one(fake: Any) -> None:
    fake.unindexed.add(next(iter(fake.objects)))


@pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])
@pytest.mark.parametrize("verify", [{}, {"verify": "existing"}, {"verify": "all"}], ids=str)
def test_a_second_run_repairs_what_the_first_left_unindexed(write, fake, into, runner, batching, verify):
    write(ROWS, WriteToWeaviate(**into), runner)
    lose_one(fake)
    done = write(ROWS, WriteToWeaviate(**into, batching=batching, **verify), runner)
    assert len(done.written) == 20 and not done.failed
    assert not fake.unindexed
    assert done.counters["unindexed"] == 1 and done.counters["repaired"] >= 1
    assert done.counters["verified"] >= 20 and done.counters["written"] == 20


def test_with_off_no_search_is_sent(write, fake, into):
    write(ROWS, WriteToWeaviate(**into))
    lose_one(fake)
    fake.requests.clear()
    write(ROWS, WriteToWeaviate(**into, verify="off", dimensions=2))
    assert {request.method for request in fake.requests} == {"BatchObjects"}
    assert len(fake.unindexed) == 1


def test_another_word_is_refused_at_construction(into):
    with pytest.raises(ValueError, match="verify='some' is none of 'existing', 'all', 'repair', 'off'"):
        WriteToWeaviate(**into, verify="some")
