"""Every element of a write comes out once, whatever runs it, however it is batched, and whoever consumes it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.write.running import DIRECT, FN_API, TWO_PROCESSES
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import ErrorsWhere

SCHEMA = {
    "class": "Article",
    "properties": [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}],
}
BATCHINGS = ("bundle", "group_into_batches")
CONSUMERS = ("group_by_key", "side_input", "file")


def rows(count: int) -> list[dict[str, Any]]:
    """Of ten rows the encoder refuses one and the server another."""
    number: dict[int, Any] = {3: "not a number"}
    return [{"title": f"title {i}", "number": number.get(i % 10, i)} for i in range(count)]


def refused(message: Any) -> str | None:
    number = message.properties.non_ref_properties.fields["number"].number_value
    return "invalid text property 'title' on class 'Article': not today" if number % 10 == 7 else None


def refuse_sevens(_: Any, number: int) -> ErrorsWhere:
    return ErrorsWhere(refused)


def check(done: Any, fake: Any, count: int) -> None:
    """Every row is in one output, once; the metrics say so; and the server has what was written."""
    titles = {
        message.properties.non_ref_properties.fields["title"].string_value for message in fake.objects.values()
    }
    good = {row["title"] for i, row in enumerate(rows(count)) if i % 10 not in (3, 7)}
    bad = {row["title"] for row in rows(count)} - good
    assert titles == good
    assert sorted(one.uuid for one in done.written) == sorted(uuid for _, _, uuid in fake.objects)
    assert Counter(one.object.properties["title"] for one in done.failed) == Counter(bad)
    assert done.counters["written"] == len(good)
    assert done.counters.get("failed", 0) == len(bad)
    assert done.counters.get("duplicates", 0) == 0
    attempts = {one.object.properties["title"][-1]: one.attempts for one in done.failed}
    assert attempts == {"3": 0, "7": 1}  # the first kind never left the worker


@pytest.mark.parametrize("count", [10, 250, 2050])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_consumer_sees_every_element_once(write, fake, runner, batching, count):
    fake.create_collection(SCHEMA)
    fake.behave(refuse_sevens)
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, batching=batching)
    done = write(rows(count), transform, runner, through=CONSUMERS)
    check(done, fake, count)


@pytest.mark.parametrize("through", CONSUMERS)
@pytest.mark.parametrize("count", [10, 250])
@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("runner", [FN_API, DIRECT], ids=lambda runner: runner.name)
def test_a_single_consumer_sees_every_element_once(write, fake, runner, batching, count, through):
    fake.create_collection(SCHEMA)
    fake.behave(refuse_sevens)
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, batching=batching)
    check(write(rows(count), transform, runner, through=through), fake, count)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_two_processes_write_to_a_real_server(write, server, witness, new_name, batching):
    name = new_name()
    transform = WriteToWeaviate(
        name,
        url=server.url,
        grpc_url=server.grpc_url,
        id_field="title",
        schema={**SCHEMA, "class": name},
        batching=batching,
    )
    done = write(rows(2050), transform, TWO_PROCESSES, through=CONSUMERS)
    stored = {str(o.uuid): o.properties["number"] for o in witness.collections.get(name).iterator()}
    assert {one.uuid for one in done.written} == set(stored)
    assert len(done.written) == 1845
    assert [one.reason for one in done.failed] == ["invalid_property"] * 205
