"""A real server that indexes after it acknowledged: the job ends when every vector is found, or says how many wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

from tests.write.running import DIRECT, FN_API, TWO_PROCESSES
from weaviate_io import WriteToWeaviate, client
from weaviate_io.testing import WeaviateServer

SIZE = 64
BATCHINGS = pytest.mark.parametrize("batching", ["bundle", "group_into_batches"])


@pytest.fixture(scope="module")
def server() -> Iterator[WeaviateServer]:
    """A server that indexes asynchronously, in place of the one of the session."""
    with WeaviateServer(version="1.39.3", environment={"ASYNC_INDEXING": "true"}) as running:
        yield running


@pytest.fixture(scope="module")
def synchronous() -> Iterator[WeaviateServer]:
    with WeaviateServer(version="1.39.3") as running:
        yield running


def create(server: WeaviateServer, name: str, **more: Any) -> None:
    description = {
        "class": name,
        "vectorizer": "none",
        "properties": [{"name": "n", "dataType": ["int"]}],
        **more,
    }
    assert requests.post(f"{server.url}/v1/schema", json=description, timeout=60).ok


def rows(count: int, seed: int = 7) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(seed).standard_normal((count, SIZE), dtype=np.float32)
    return [{"n": i, "v": vector} for i, vector in enumerate(vectors)]


def options(server: WeaviateServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "grpc_url": server.grpc_url, "id_field": "n", "vector_field": "v", **more}


def queue(server: WeaviateServer, name: str) -> int:
    nodes = requests.get(f"{server.url}/v1/nodes/{name}?output=verbose", timeout=60).json()["nodes"]
    return sum(shard["vectorQueueLength"] for node in nodes for shard in node["shards"])


def found(server: WeaviateServer, name: str, given: list[dict[str, Any]], tenant: str = "") -> int:
    """How many objects a search by their own vector finds first."""
    query = "{Get{%s(%snearVector:{vector:[%s]},limit:1){n}}}"
    which = f'tenant:"{tenant}",' if tenant else ""
    hits = 0
    with requests.Session() as session:
        for row in given:
            text = query % (name, which, ",".join(repr(float(x)) for x in row["v"]))
            answer = session.post(f"{server.url}/v1/graphql", json={"query": text}, timeout=60).json()
            hits += [one["n"] for one in answer["data"]["Get"][name]] == [row["n"]]
    return hits


@BATCHINGS
def test_every_vector_is_found_when_the_job_ends(write, server, new_name, batching):
    name = new_name()
    create(server, name)
    given = rows(5000)
    transform = WriteToWeaviate(name, batching=batching, wait_for_indexing=300, **options(server))
    done = write(given, transform)
    assert len(done.written) == 5000 and not done.failed
    assert queue(server, name) == 0
    assert found(server, name, given[::50]) == 100
    assert done.counters["written"] == done.counters["searchable"] == 5000
    assert done.counters["indexing_wait_seconds"] >= 0


def test_a_limit_that_is_too_short_fails_the_job_and_says_how_many_wait(write, server, new_name):
    name = new_name()
    create(server, name)
    with pytest.raises(Exception) as caught:
        write(rows(5000), WriteToWeaviate(name, wait_for_indexing=0.001, **options(server)))
    text = str(caught.value)
    assert f"vectors of {name} were still waiting to be indexed after wait_for_indexing=0.001 s" in text
    assert "all objects are stored" in text
    # The next write finds the rest of the queue, and waits for all of it.
    given = rows(5000)
    done = write(given[:1], WriteToWeaviate(name, wait_for_indexing=True, **options(server)))
    assert done.counters["searchable"] == 1
    assert found(server, name, given[::100]) == 50


@pytest.mark.parametrize("runner", [FN_API, DIRECT, TWO_PROCESSES], ids=lambda runner: runner.name)
def test_every_runner_waits_for_all_collections_and_tenants(write, server, new_name, runner):
    one, two = sorted((new_name(), new_name()))
    for name in (one, two):
        create(server, name, multiTenancyConfig={"enabled": True, "autoTenantCreation": True})
    given = rows(900)
    transform = WriteToWeaviate(
        lambda row: (one, two)[row["n"] % 2],
        tenant_field=lambda row: f"t{row['n'] % 3}",
        wait_for_indexing=300,
        **options(server),
    )
    done = write(given, transform, runner, through=("nothing", "group_by_key", "side_input"), bundles=3)
    assert len(done.written) == 900 and not done.failed
    assert done.counters["searchable"] == 900
    for name, tenant, start in ((one, "t0", 0), (two, "t1", 1)):
        mine = given[start::6]
        assert found(server, name, mine[::10], tenant) == len(mine[::10])


def test_a_write_of_nothing_does_not_wait(write, server, new_name):
    name = new_name()
    create(server, name)
    done = write([], WriteToWeaviate(name, wait_for_indexing=0.001, **options(server)), FN_API)
    assert "searchable" not in done.counters


@BATCHINGS
def test_a_server_that_indexes_at_once_is_asked_once(write, synchronous, monkeypatch, batching):
    name = "WeaviateIoTest_Synchronous" + batching.title().replace("_", "")
    create(synchronous, name)
    asked: list[str] = []
    rest = client.Client.rest

    def keep(self: Any, method: str, path: str, **more: Any) -> Any:
        asked.append(path)
        return rest(self, method, path, **more)

    monkeypatch.setattr(client.Client, "rest", keep)
    try:
        transform = WriteToWeaviate(name, batching=batching, wait_for_indexing=0.001, **options(synchronous))
        done = write(rows(500), transform)
    finally:
        requests.delete(f"{synchronous.url}/v1/schema/{name}", timeout=60)
    assert done.counters["searchable"] == 500
    assert [path for path in asked if "/nodes" in path] == [f"/v1/nodes/{name}?output=verbose"]


def test_objects_that_failed_are_not_counted_as_searchable(write, server, new_name):
    name = new_name()
    create(server, name)
    given = rows(100)
    given[3] = {**given[3], "n": "three"}
    done = write(given, WriteToWeaviate(name, wait_for_indexing=300, **options(server)))
    assert len(done.failed) == 1
    assert done.counters["searchable"] == done.counters["written"] == 99
