"""Loads into a real server with its default index, beside a loader that does nothing but send prebuilt requests.

First every setting of the raw loader and of the official client's batches loads a part; the fastest of each then runs
against the pipeline and ``insert_many``, in rounds of which every second is turned around. Each load gets a collection
of its own. Ratios are taken within a round, between neighbours where they should be near one: what the server takes
for the same objects differs by a third within minutes, and by a twentieth from one load to the next. The CPU of the
pipeline, and that of the official client, is without that of the rows, which are made alone as well: with numpy
vectors for the one, with lists for the other. That of the server is what its process takes while a load runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import processes, spark
from benchmarks.contestants import BATCHES
from benchmarks.datasets import DATA_SETS, DataSet
from benchmarks.processes import Cost, Round, alternate, cpu_seconds, kept, median
from benchmarks.real_loads import RAW
from benchmarks.report import Figure, report
from weaviate_io import WeaviateConnection
from weaviate_io.client import Client
from weaviate_io.testing import WeaviateServer

INSERT_MANY = "official insert_many(1000)"
OURS, OURS_OFF, SPARK = "ours", "ours, verify off", "spark"
SOURCE, SOURCE_LISTS = "source", "source, lists"
WITH_LOOK_UPS = {"jeopardy_1536": 0.95, "clustered_128": 0.90}
TRIED, TRIES = 5, 3
"""What part of a data set the settings are compared by, and in how many rounds."""

ROUNDS = {"jeopardy_1536": 10, "clustered_128": 4}
"""A load of the first takes some seconds, one of the second a minute."""


class Target:
    """A server that data are loaded into, each time into a new collection."""

    def __init__(self, server: WeaviateServer) -> None:
        self._server = server
        self._client = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
        self._number = 0
        self.server_cpu_us: dict[str, list[float]] = {}

    def load(self, name: str, data_set: str, objects: int, spark_jar: str | None = None) -> Cost:
        """Load objects as the contestant of that name does, and drop them."""
        self._number += 1
        collection = f"Benchmark{self._number}"
        self._client.rest("POST", "/v1/schema", DATA_SETS[data_set].schema(collection))
        before = cpu_seconds(self._server.pid())
        arguments = (data_set, collection, objects, self._server.url, self._server.grpc_url)
        if name == SPARK:
            cost = processes.run("benchmarks.spark", spark_jar, *arguments)
        else:
            cost = processes.run("benchmarks.real_loads", name, *arguments)
        used = 1e6 * (cpu_seconds(self._server.pid()) - before) / cost.objects
        self.server_cpu_us.setdefault(f"{objects} of {data_set}: {name}", []).append(used)
        query = f"{{Aggregate{{{collection}{{meta{{count}}}}}}}}"
        answer = self._client.rest("POST", "/v1/graphql", {"query": query}).json()
        stored = answer["data"]["Aggregate"][collection][0]["meta"]["count"]
        if stored != (0 if name in (SOURCE, SOURCE_LISTS) else cost.objects):
            raise SystemExit(f"{name}: {stored} of {cost.objects} objects are there")
        self._client.rest("DELETE", f"/v1/schema/{collection}")
        return cost

    def fastest(self, names: list[str], data_set: str, objects: int) -> str:
        """The name of the fastest of some contestants with so many objects, by the median of some rounds."""
        rounds = alternate({name: self._of(name, data_set, objects) for name in names}, TRIES)
        return max(names, key=lambda name: statistics.median(costs[name].rate for costs in rounds))

    def compare(self, data_set: str, objects: int, rounds: int, spark_jar: str | None) -> list[dict[str, Cost]]:
        """Rounds of the pipeline and its peers."""
        part = max(1000, objects // TRIED)
        raw = self.fastest(list(RAW), data_set, part)
        batch = self.fastest(list(BATCHES), data_set, part)
        neighbours = (batch, INSERT_MANY, OURS, raw, OURS_OFF, SOURCE, SOURCE_LISTS)
        shown = {raw: "raw", batch: "batch"}
        contestants = {shown.get(name, name): self._of(name, data_set, objects) for name in neighbours}
        if spark_jar:
            contestants[SPARK] = lambda: self.load(SPARK, data_set, objects, spark_jar)
        print(f"{data_set}: the best of the raw loader is {raw}, of the official batches {batch}")
        return alternate(contestants, rounds)

    def _of(self, name: str, data_set: str, objects: int) -> Callable[[], Cost]:
        return lambda: self.load(name, data_set, objects)


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
    options.add_argument("--spark-jar", help="the Spark connector, a path of its jar; needs pyspark")
    given = options.parse_args()
    if given.spark_jar:
        spark.check(given.spark_jar)
    found: list[Figure] = []
    measured: dict[str, Any] = {}
    with WeaviateServer() as server:
        target = Target(server)
        for data_set in given.data_set or DATA_SETS:
            data: DataSet = DATA_SETS[data_set]
            objects = min(given.objects or data.objects, data.objects)
            rounds = target.compare(data_set, objects, given.rounds or ROUNDS[data_set], given.spark_jar)
            found += figures(data_set, rounds)
            measured[data_set] = kept(rounds)
    for name, used in target.server_cpu_us.items():
        median(f"us of the server's CPU, {name}", used)
    return report("real_server", found, {"rounds": measured, "server_cpu_us": target.server_cpu_us})


if __name__ == "__main__":
    sys.exit(main())
