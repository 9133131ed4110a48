"""What a client can do to make the server cheaper, seen by the CPU that the server takes for an object.

The same objects, encoded beforehand, are sent in requests of several sizes, one or more at once, in several orders, by
tenants apart or mixed, by BatchStream, and to a server that indexes asynchronously, where the time includes the work
that goes on after the last answer. Each load gets a collection of its own. The figures hold the defaults of the
connector against the best of what it could do instead.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np

from benchmarks.datasets import BLOCK, DATA_SETS
from benchmarks.processes import cpu_seconds
from benchmarks.raw import requests_of, send
from benchmarks.real_loads import encoded
from benchmarks.report import Figure, report
from weaviate_io import WeaviateConnection
from weaviate_io.client import Client
from weaviate_io.framing import varint
from weaviate_io.indexing import IndexingWait
from weaviate_io.testing import WeaviateServer

DATA = DATA_SETS["jeopardy_1536"]
TENANTS, CLUSTERS = 10, 100
NAME = "Benchmark"
SETTINGS = {f"{size} x {count}": (size, count) for size in (100, 300, 1000) for count in (1, 2, 4)}
"""Objects in a request, and requests in flight."""

DEFAULT = "1000 x 2"
_BATCH_STREAM = "/weaviate.v1.Weaviate/BatchStream"
_LONGEST_WAIT = 600.0  # seconds

Send = Callable[[Sequence[bytes], str], None]


class Load(NamedTuple):
    """One way to send the objects, and the collection that it needs."""

    name: str
    description: dict[str, Any]
    requests: Sequence[bytes]
    send: Send


def unary(in_flight: int) -> Send:
    """Requests of their own, so many at once."""
    return lambda requests, grpc_url: send(requests, in_flight, grpc_url)


def stream(requests: Sequence[bytes], grpc_url: str) -> None:
    """The same requests as messages of one BatchStream, whose field numbers are the same inside."""
    messages = [b"\x0a\x00", *map(_data, requests), b"\x1a\x00"]  # start, data, stop
    with grpc.insecure_channel(grpc_url, [("grpc.max_send_message_length", -1)]) as channel:
        for _ in channel.stream_stream(_BATCH_STREAM)(iter(messages), timeout=_LONGEST_WAIT):
            pass


def _data(objects: bytes) -> bytes:
    data = b"\x0a" + varint(len(objects)) + objects
    return b"\x12" + varint(len(data)) + data


def by_cluster(vectors: np.ndarray) -> np.ndarray:
    """The order that puts objects of one cluster together: some rounds of k-means."""
    centres = vectors[np.random.default_rng(7).choice(len(vectors), CLUSTERS, replace=False)]
    for _ in range(5):
        nearest = np.argmax(vectors @ centres.T - 0.5 * (centres**2).sum(1), axis=1)
        centres = np.stack(
            [vectors[nearest == n].mean(0) if (nearest == n).any() else centres[n] for n in range(CLUSTERS)]
        )
    return np.argsort(nearest, kind="stable")


def loads(blocks: int) -> Iterator[Load]:
    """Every way to send so many blocks of objects to a server that indexes before it answers."""
    plain = DATA.schema(NAME)
    entries = encoded(DATA, plain, range(blocks))
    for name, (size, in_flight) in SETTINGS.items():
        yield Load(name, plain, requests_of(entries, size), unary(in_flight))
    yield Load("BatchStream, 1000", plain, requests_of(entries, 1000), stream)
    orders = {
        "shuffled": np.random.default_rng(7).permutation(len(entries)),
        "by cluster": by_cluster(DATA.columns()[1][: len(entries)]),
    }
    for name, order in orders.items():
        yield Load(f"{DEFAULT}, {name}", plain, requests_of([entries[n] for n in order], 1000), unary(2))
    tenants = plain | {"multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}
    owned = encoded(DATA, tenants, range(blocks), lambda number: f"tenant{number % TENANTS}")
    yield Load(f"{DEFAULT}, {TENANTS} tenants mixed", tenants, requests_of(owned, 1000), unary(2))
    apart = sorted(owned, key=lambda entry: entry.tenant or "")
    yield Load(f"{DEFAULT}, {TENANTS} tenants apart", tenants, requests_of(apart, 1000), unary(2))


def measure(server: WeaviateServer, client: Client, load: Load, objects: int) -> dict[str, float]:
    """Objects a second until the last answer and until the last is indexed, and the server's CPU for each."""
    client.rest("POST", "/v1/schema", load.description)
    started, cpu = time.perf_counter(), cpu_seconds(server.pid())
    load.send(load.requests, server.grpc_url)
    answered = time.perf_counter() - started
    IndexingWait(client, [NAME], _LONGEST_WAIT).run()
    indexed = time.perf_counter() - started
    used = 1e6 * (cpu_seconds(server.pid()) - cpu) / objects
    query = f"{{Aggregate{{{NAME}{{meta{{count}}}}}}}}"
    if "multiTenancyConfig" not in load.description:
        answer = client.rest("POST", "/v1/graphql", {"query": query}).json()
        stored = answer["data"]["Aggregate"][NAME][0]["meta"]["count"]
        if stored != objects:
            raise SystemExit(f"{load.name}: {stored} of {objects} objects are there")
    client.rest("DELETE", f"/v1/schema/{NAME}")
    rates = f"{objects / answered:5.0f} objects/s, indexed {objects / indexed:5.0f}/s"
    print(f"{load.name:32} {rates}, {used:5.0f} us of the server's CPU", flush=True)
    return {"rate": objects / answered, "indexed_rate": objects / indexed, "server_cpu_us": used}


def main() -> int:
    """Load in every way, and hold the defaults against the best."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--objects", type=int, default=4_000)
    options.add_argument("--rounds", type=int, default=1)
    given = options.parse_args()
    blocks = max(1, given.objects // BLOCK)
    rounds: list[dict[str, dict[str, float]]] = []

    def run(server: WeaviateServer, load: Load) -> None:
        client = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
        try:
            rounds[-1][load.name] = measure(server, client, load, blocks * BLOCK)
        finally:
            client.close()

    for _ in range(given.rounds):
        rounds.append({})
        with WeaviateServer() as server:
            for load in loads(blocks):
                run(server, load)
        with WeaviateServer(environment={"ASYNC_INDEXING": "true"}) as server:
            (default,) = (load for load in loads(blocks) if load.name == DEFAULT)
            run(server, default._replace(name=f"{DEFAULT}, asynchronous indexing"))

    def median(name: str, value: str) -> float:
        return statistics.median(measured[name][value] for measured in rounds)

    least = min(median(name, "server_cpu_us") for name in SETTINGS)
    best = max(median(name, "rate") for name in SETTINGS)
    figures = [
        Figure("server_cpu_of_default_of_least", median(DEFAULT, "server_cpu_us") / least, "ratio", 1.1),
        Figure("rate_of_default_of_best", median(DEFAULT, "rate") / best, "ratio", 0.9, at_least=True),
    ]
    return report("server_side", figures, {"rounds": rounds})


if __name__ == "__main__":
    sys.exit(main())
