"""A real collection that does not fit what is written, or goes away meanwhile: its objects fail, each by itself."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.faults.trial import Trial
from weaviate_io import WeaviateObject
from weaviate_io.kind import Kind
from weaviate_io.testing import WeaviateServer

pytestmark = pytest.mark.server
COUNT = 60


def test_of_a_vector_of_another_length_the_first_one_stored_decides(write: Any, server: WeaviateServer) -> None:
    """The collection is empty: what is written first fixes the length."""
    trial = Trial(write, server, batch_size=20)
    trial.run(range(1))
    odd = [one._replace(vector=[1.0, 2.0, 3.0, 4.0]) for one in trial.objects((7, 8))]
    done = trial.run([*trial.objects(range(1, 7)), *odd, *trial.objects(range(9, COUNT))])
    assert {failure.reason for failure in done.failed} == {"invalid_vector"}
    assert all("expects 3" in failure.error for failure in done.failed)
    trial.check(failed=(7, 8))


def test_vectors_of_two_lengths_into_an_empty_collection(write: Any, server: WeaviateServer) -> None:
    """Nothing tells which of them is meant, but what is told written can be found."""
    trial = Trial(write, server, batch_size=20)
    odd = [one._replace(vector=[1.0, 2.0, 3.0, 4.0]) for one in trial.objects((7, 8))]
    done = trial.run([*trial.objects(range(7)), *odd, *trial.objects(range(9, COUNT))])
    failed = {uuid.UUID(failure.uuid).int - 1 for failure in done.failed}
    assert failed and {failure.reason for failure in done.failed} <= {"invalid_vector", "not_indexed"}
    trial.check(failed=failed, most_sends=40)


def test_a_vector_of_an_unknown_name_fails_alone(write: Any, server: WeaviateServer) -> None:
    trial = Trial(write, server, "named", batch_size=20)
    (other,) = trial.objects([5])
    assert isinstance(other.vector, dict)
    objects: list[WeaviateObject] = [
        *trial.objects(range(5)),
        other._replace(vector={**other.vector, "unheard of": [1.0]}),
        *trial.objects(range(6, COUNT)),
    ]
    done = trial.run(objects)
    assert [failure.reason for failure in done.failed] == ["unknown_vector"]
    trial.check(failed=[5])


def test_of_equal_ids_the_last_of_a_request_is_stored_once(write: Any, server: WeaviateServer) -> None:
    trial = Trial(write, server, batch_size=20)
    done = trial.run([*range(COUNT), *range(0, COUNT, 7)])
    assert done.counters["duplicates"] == len(range(0, COUNT, 7))
    trial.check()


def drop_before(trial: Trial, at: int, before_batch: Any) -> None:
    path = f"/schema/{trial.collection}"
    before_batch(lambda number: trial.rest("DELETE", path) if number == at else None)


def test_objects_of_a_collection_that_is_dropped_meanwhile_fail(
    write: Any, own_server: WeaviateServer, monkeypatch: pytest.MonkeyPatch, before_batch: Any
) -> None:
    """The server must not create collections by itself (``AUTOSCHEMA_ENABLED=false``)."""
    trial = Trial(write, own_server, batch_size=20, verify="off")
    monkeypatch.setattr(Kind, "sender_limit", 1)  # the first one is done with when the next one leaves
    drop_before(trial, 1, before_batch)
    done = trial.run(range(COUNT))
    assert {failure.reason for failure in done.failed} == {"collection_not_found"}
    assert 0 < len(done.written) <= 20  # by the first request, and dropped after that
    assert len(done.written) + len(done.failed) == COUNT


def test_a_server_with_auto_schema_makes_a_dropped_collection_anew(
    write: Any, server: WeaviateServer, monkeypatch: pytest.MonkeyPatch, before_batch: Any
) -> None:
    """No promise, but a limit to know: nobody is told, and what was there before is gone."""
    trial = Trial(write, server, batch_size=20, verify="off")
    monkeypatch.setattr(Kind, "sender_limit", 1)  # the first one is done with when the next one leaves
    drop_before(trial, 1, before_batch)
    done = trial.run(range(COUNT))
    assert len(done.written) == COUNT
    assert len(trial.rest("GET", f"/objects?class={trial.collection}&limit=1000")["objects"]) == COUNT - 20


def test_a_property_that_is_added_meanwhile_is_no_fault(
    write: Any, server: WeaviateServer, before_batch: Any
) -> None:
    trial = Trial(write, server, batch_size=20)
    added = {"name": "later", "dataType": ["text"]}
    path = f"/schema/{trial.collection}/properties"
    before_batch(lambda number: trial.rest("POST", path, added) if number == 1 else None)
    assert not trial.run(range(COUNT)).failed
    trial.check()
