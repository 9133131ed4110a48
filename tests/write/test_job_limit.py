"""A limit of requests in flight over all workers of a job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from apache_beam.transforms.userstate import is_stateful_dofn
from apache_beam.utils.sharded_key import ShardedKey

from tests.sender.harness import made
from tests.write.running import FN_API, TWO_PROCESSES, Runner
from tests.write.test_unbounded import Clock
from weaviate_io import WriteReferencesToWeaviate, WriteToWeaviate
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.schema import CollectionSchema
from weaviate_io.testing import Delay, FakeWeaviate
from weaviate_io.testing.fake import Request
from weaviate_io.wiring import _with_turn
from weaviate_io.writing import SendInTurnFn

SCHEMA = {
    "class": "Article",
    "properties": [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}],
}
OTHER = {**SCHEMA, "class": "Report"}


def most_at_once(requests: Iterable[Request]) -> int:
    """How many of the requests were being answered at the same moment."""
    changes = sorted([(one.start, 1) for one in requests] + [(one.end or 0.0, -1) for one in requests])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def write_to(fake: FakeWeaviate, **options: Any) -> WriteToWeaviate:
    return WriteToWeaviate(
        lambda row: "Article" if row["number"] % 2 else "Report",
        url=fake.url,
        grpc_url=fake.grpc_url,
        batch_size=10,
        **options,
    )


@pytest.mark.parametrize(("runner", "limit"), [(TWO_PROCESSES, 1), (FN_API, None)], ids=str)
def test_processes_keep_the_limit_together(write: Any, fake: FakeWeaviate, runner: Runner, limit: int) -> None:
    for description in (SCHEMA, OTHER):
        fake.create_collection(description)
    fake.behave(lambda request, number: Delay(0.1))
    rows = [{"title": f"title {number}", "number": number} for number in range(200)]
    batching = "auto" if limit else "group_into_batches"
    transform = write_to(fake, max_requests_in_flight=limit, batching=batching)
    done = write(rows, transform, runner, bundles=4)
    assert len(done.written) == len(fake.objects) == 200
    most = most_at_once(fake.requests)
    assert most == 1 if limit else most > 1  # without the limit one process has two in flight


def test_unbounded_input_keeps_it_too(write: Any, fake: FakeWeaviate) -> None:
    fake.create_collection({"class": "Event", "properties": [{"name": "second", "dataType": ["int"]}]})
    fake.behave(lambda request, number: Delay(0.02))
    transform = WriteToWeaviate(
        "Event", url=fake.url, grpc_url=fake.grpc_url, batch_size=5, max_requests_in_flight=1
    )
    done = write(Clock(50), transform, FN_API)
    assert [one.reason for one in done.failed] == ["invalid_property"] * 5
    assert len(done.written) == len(fake.objects) == 45
    assert most_at_once(fake.requests) == 1


def test_batches_of_one_key_are_never_sent_together_and_there_are_as_many_keys_as_the_limit(
    fake: FakeWeaviate,
) -> None:
    fake.create_collection(SCHEMA)
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, max_requests_in_flight=3)
    send = SendInTurnFn(transform._named())
    assert is_stateful_dofn(send)  # so that no runner processes two elements with one key together
    send.setup()
    encoder = ObjectEncoder(CollectionSchema.from_rest(SCHEMA))
    batches = [[(encoder.encode(made(number, "no vectors")).payload, 0, None)] for number in range(40)]
    keys = set()
    for batch in batches:
        key, sharded = _with_turn((ShardedKey("Article", b""), batch), 3)
        keys.add(key)
        send.start_bundle()
        assert len(list(send.process((key, sharded)))) == 1
        assert not [one for one in fake.requests if one.end is None]
        assert not list(send.finish_bundle())
    send.teardown()
    assert keys == {0, 1, 2}
    assert len(fake.objects) == 40


@pytest.mark.parametrize("kind", [WriteToWeaviate, WriteReferencesToWeaviate])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_requests_in_flight": 0}, "max_requests_in_flight=0 is below 1"),
        ({"max_requests_in_flight": 4, "batching": "bundle"}, "cannot hold for batching='bundle'"),
    ],
)
def test_what_cannot_be_kept_is_refused(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind("Article", url="http://localhost:8080", **options)
