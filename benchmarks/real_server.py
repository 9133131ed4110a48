"""Loads into a real server with its default index, beside a loader that does nothing but send prebuilt requests.

First every setting of the raw loader and of the official client's batches loads a part; the fastest of each then runs
against the pipeline and ``insert_many``. Each has a collection and a process of its own. What the server takes for the
same objects differs by a third within minutes, and a large collection takes one to load: so they alternate part by
part, in seconds, and every second time in the opposite order. Ratios are those of whole collections, one a round. The
CPU of the pipeline, and that of the official client, is without that of the rows, which are made alone as well: with
numpy vectors for the one, with lists for the other. That of the server is what its process takes while a load runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import spark
from benchmarks.contestants import BATCHES
from benchmarks.datasets import DATA_SETS, DataSet
from benchmarks.processes import Cost, Loader, Round, alternate, cpu_seconds, kept, median, total
from benchmarks.real_loads import OF_SIZE, RAW
from benchmarks.report import Figure, report
from weaviate_io import WeaviateConnection
from weaviate_io.client import Client
from weaviate_io.testing import WeaviateServer

INSERT_MANY = "official insert_many(1000)"
OURS, OURS_OFF, SPARK = "ours", "ours, verify off", "spark"
SOURCE, SOURCE_LISTS = "source", "source, lists"
WITH_LOOK_UPS = {"jeopardy_1536": 0.95, "clustered_128": 0.90}
TRIED, TRIES = 20_000, 3
"""How many objects the settings are compared by at most, and in how many rounds."""

PARTS = {"jeopardy_1536": 1, "clustered_128": 10}
"""In how many parts a collection is loaded: each takes some seconds."""

ROUNDS = {"jeopardy_1536": 10, "clustered_128": 2}


class Target:
    """A server that data are loaded into."""

    def __init__(self, server: WeaviateServer, spark_jar: str | None = None, sizes: Sequence[int] = ()) -> None:
        self._server = server
        self._spark_jar = spark_jar
        self._sizes = sizes
        self._client = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
        self._collections = 0
        self.server_cpu_us: dict[str, list[float]] = {}

    def fastest(self, names: list[str], data_set: str, objects: int) -> str:
        """The name of the fastest of some contestants with so many objects, by the median of some rounds."""
        rounds = self._rounds({name: name for name in names}, data_set, objects, 1, TRIES)
        return max(names, key=lambda name: statistics.median(costs[name].rate for costs in rounds))

    def compare(self, data_set: str, objects: int, rounds: int) -> list[dict[str, Cost]]:
        """Rounds of the pipeline and its peers."""
        tried = min(objects, TRIED)
        raw = self.fastest(list(RAW), data_set, tried)
        batch = self.fastest(list(BATCHES), data_set, tried)
        print(f"{data_set}: the best of the raw loader is {raw}, of the official batches {batch}")
        neighbours = (batch, INSERT_MANY, OURS, raw, OURS_OFF, SOURCE, SOURCE_LISTS)
        shown = {raw: "raw", batch: "batch"}
        contestants = {shown.get(name, name): name for name in neighbours}
        contestants |= {name: name for name in (f"{OURS}, {size} {OF_SIZE}" for size in self._sizes)}
        if self._spark_jar:
            contestants[SPARK] = SPARK
        return self._rounds(contestants, data_set, objects, PARTS[data_set], rounds)

    def _rounds(
        self, contestants: dict[str, str], data_set: str, objects: int, parts: int, rounds: int
    ) -> list[dict[str, Cost]]:
        loads = {shown: self._parts(name, data_set, objects, parts) for shown, name in contestants.items()}
        done = alternate({shown: load.__next__ for shown, load in loads.items()}, parts * rounds)
        for load in loads.values():
            load.close()
        return [
            {shown: total([costs[shown] for costs in done[first : first + parts]]) for shown in contestants}
            for first in range(0, len(done), parts)
        ]

    def _parts(self, name: str, data_set: str, objects: int, parts: int) -> Iterator[Cost]:
        """Load part after part as the contestant of that name does, one collection after the other."""
        module = ("benchmarks.spark", self._spark_jar) if name == SPARK else ("benchmarks.real_loads", name)
        while True:
            self._collections += 1
            collection = f"Benchmark{self._collections}"
            self._client.rest("POST", "/v1/schema", DATA_SETS[data_set].schema(collection))
            where = (collection, objects, parts, self._server.url, self._server.grpc_url)
            done, used = [], 0.0
            with Loader(*module, data_set, *where) as loader:
                for _ in range(parts):
                    if done:
                        yield done[-1]
                    before = cpu_seconds(self._server.pid())
                    done.append(loader.load())
                    used += cpu_seconds(self._server.pid()) - before
            count = total(done).objects
            self.server_cpu_us.setdefault(f"{count} of {data_set}: {name}", []).append(1e6 * used / count)
            self._check(name, collection, 0 if name in (SOURCE, SOURCE_LISTS) else count)
            self._client.rest("DELETE", f"/v1/schema/{collection}")
            yield done[-1]

    def _check(self, name: str, collection: str, expected: int) -> None:
        query = f"{{Aggregate{{{collection}{{meta{{count}}}}}}}}"
        answer = self._client.rest("POST", "/v1/graphql", {"query": query}).json()
        stored = answer["data"]["Aggregate"][collection][0]["meta"]["count"]
        if stored != expected:
            raise SystemExit(f"{name}: {stored} of {expected} objects are there")


def _cpu_of_batch(costs: Round) -> float:
    ours, batch = costs[OURS].cpu_us - costs[SOURCE].cpu_us, costs["batch"].cpu_us - costs[SOURCE_LISTS].cpu_us
    return ours / batch


def _rate_of_spark(costs: Round) -> float:
    """With begin and end of both jobs, since Spark's cannot be told apart."""
    ours = costs[OURS]
    return ours.objects / (ours.seconds + ours.around) / costs[SPARK].rate


def figures(data_set: str, rounds: list[dict[str, Cost]]) -> list[Figure]:
    """The ratios of a data set against their goals."""

    def ratio(name: str, of: Callable[[Round], float], goal: float, at_least: bool = True) -> Figure:
        name = f"{data_set}_{name}"
        return Figure(name, median(name, [of(costs) for costs in rounds]), "ratio", goal, at_least)

    def rates(ours: str, peer: str) -> Callable[[Round], float]:
        return lambda costs: costs[ours].rate / costs[peer].rate

    found = [
        ratio("verify_off_rate_of_raw", rates(OURS_OFF, "raw"), 0.97),
        ratio("rate_of_raw", rates(OURS, "raw"), WITH_LOOK_UPS[data_set]),
        ratio("rate_of_official_batch", rates(OURS, "batch"), 1.15),
        ratio("cpu_of_official_batch", _cpu_of_batch, 0.1, False),
        ratio("rate_of_official_insert_many", rates(OURS, INSERT_MANY), 1.0),
    ]
    if SPARK in rounds[0]:
        found.append(ratio("rate_of_spark", _rate_of_spark, 2.0))
    return found


def main() -> int:
    """Load each data set in rounds, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data-set", choices=DATA_SETS, action="append", help="one of them only")
    options.add_argument("--objects", type=int, help="fewer objects than the data set has")
    options.add_argument("--rounds", type=int, help="of each data set; by default as many as it needs")
    options.add_argument(
        "--batch-size", type=int, action="append", default=[], help="the pipeline with it, too"
    )
    options.add_argument("--spark-jar", help="the Spark connector, a path of its jar; needs pyspark")
    given = options.parse_args()
    if given.spark_jar:
        spark.check(given.spark_jar)
    found: list[Figure] = []
    measured: dict[str, Any] = {}
    with WeaviateServer() as server:
        target = Target(server, given.spark_jar, given.batch_size)
        for data_set in given.data_set or DATA_SETS:
            data: DataSet = DATA_SETS[data_set]
            objects = min(given.objects or data.objects, data.objects)
            rounds = target.compare(data_set, objects, given.rounds or ROUNDS[data_set])
            found += figures(data_set, rounds)
            measured[data_set] = kept(rounds)
    for name, used in target.server_cpu_us.items():
        median(f"us of the server's CPU, {name}", used)
    return report(
        "real_server", found, {"rounds": measured, "server_cpu_us": target.server_cpu_us}, server.version
    )


if __name__ == "__main__":
    sys.exit(main())
