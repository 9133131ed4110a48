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
from benchmarks.processes import cpu_seconds, median
from benchmarks.raw import requests_of, send
from benchmarks.real_loads import encoded
from benchmarks.report import Figure, report
from weaviate_io import WeaviateConnection
from weaviate_io.client import Client
from weaviate_io.flow import MAX_BYTES, MAX_OBJECTS
from weaviate_io.framing import varint
from weaviate_io.indexing import IndexingWait
from weaviate_io.testing import WeaviateServer

DATA = DATA_SETS["jeopardy_1536"]
TENANTS, CLUSTERS = 10, 100
NAME = "Benchmark"
SIZES: dict[str, int | None] = {"100": 100, "300": 300, "default": None, "1000": 1000}
"""Objects in a request; by default as many of these as a write sends."""

IN_FLIGHT = (1, 2, 4)
SETTINGS = [f"{size} x {count}" for size in SIZES for count in IN_FLIGHT]
DEFAULT = "default x 2"
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
    default = min(MAX_OBJECTS, MAX_BYTES // max(entry.size for entry in entries))
    for name, size in SIZES.items():
        requests = requests_of(entries, size or default)
        for in_flight in IN_FLIGHT:
            yield Load(f"{name} x {in_flight}", plain, requests, unary(in_flight))
    yield Load("BatchStream, default", plain, requests_of(entries, default), stream)
    orders = {
        "shuffled": np.random.default_rng(7).permutation(len(entries)),
        "by cluster": by_cluster(DATA.columns()[1][: len(entries)]),
    }
    for name, order in orders.items():
        yield Load(f"{DEFAULT}, {name}", plain, requests_of([entries[n] for n in order], default), unary(2))
    tenants = plain | {"multiTenancyConfig": {"enabled": True, "autoTenantCreation": True}}
    owned = encoded(DATA, tenants, range(blocks), lambda number: f"tenant{number % TENANTS}")
    yield Load(f"{DEFAULT}, {TENANTS} tenants mixed", tenants, requests_of(owned, default), unary(2))
    apart = sorted(owned, key=lambda entry: entry.tenant or "")
    yield Load(f"{DEFAULT}, {TENANTS} tenants apart", tenants, requests_of(apart, default), unary(2))


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
    options.add_argument("--rounds", type=int, default=3)
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

    def medians(value: str) -> dict[str, float]:
        return {name: statistics.median(measured[name][value] for measured in rounds) for name in SETTINGS}

    def ratio(value: str, best: str) -> float:
        name = f"{value} of {DEFAULT} by that of {best}"
        return median(name, [measured[DEFAULT][value] / measured[best][value] for measured in rounds])

    used, rates = medians("server_cpu_us"), medians("rate")
    least, fastest = min(used, key=used.__getitem__), max(rates, key=rates.__getitem__)
    figures = [
        Figure("server_cpu_of_default_of_least", ratio("server_cpu_us", least), "ratio", 1.1),
        Figure("rate_of_default_of_best", ratio("rate", fastest), "ratio", 0.9, at_least=True),
    ]
    return report("server_side", figures, {"rounds": rounds}, server.version)


if __name__ == "__main__":
    sys.exit(main())
