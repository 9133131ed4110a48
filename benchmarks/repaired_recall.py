"""Recall of a vector index half of which was repaired, beside the index as it was before.

A repair leaves the places that an object had before as tombstones in the graph, which the server clears away
later. So recall is measured of the whole index, of half of it, right after the other half was repaired by
``weaviate-io check --repair``, and once the tombstones are gone. Half of the index is lost by giving the server
the log of its graph from the time when it had half of the objects.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import requests
from weaviate.classes.config import Configure

from benchmarks.killed_server import connected
from benchmarks.report import Figure, report
from pipelines import check_collection
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import WeaviateServer
from weaviate_io.testing.process import free_ports

LENGTH, QUERIES, NEIGHBOURS = 64, 500, 10
CLEANUP_SECONDS = 30  # the server's default is 300
PATIENCE = 1800.0  # seconds for the tombstones to be cleared away


def vectors(count: int) -> np.ndarray:
    """Vectors and queries that lie near a space of 16 dimensions, as those of a model do."""
    random = np.random.default_rng(9)
    made = random.standard_normal((count, 16)) @ random.standard_normal((16, LENGTH))
    made += 0.3 * random.standard_normal(made.shape)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def id_of(number: int) -> str:
    """The id of an object; they are spread evenly."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def write(server: WeaviateServer, data: np.ndarray, numbers: range) -> None:
    """Import some of the objects."""
    rows = [{"id": id_of(number), "embedding": data[number]} for number in numbers]
    into = WriteToWeaviate(
        "Article", url=server.url, grpc_url=server.grpc_url, id_field="id", vector_field="embedding"
    )
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | beam.Create(rows) | into


def recall(server: WeaviateServer, queries: np.ndarray, truth: Sequence[set[str]]) -> float:
    """The share of the true neighbours that searches find."""
    hits = 0
    with connected(server) as client:
        query = client.collections.get("Article").query
        for vector, true in zip(queries, truth, strict=True):
            found = query.near_vector(vector.tolist(), limit=NEIGHBOURS, return_properties=[]).objects
            hits += len({str(one.uuid) for one in found} & true)
    return hits / (len(truth) * NEIGHBOURS)


class Debugged:
    """A server that tells what its graph has."""

    def __init__(self) -> None:
        port = free_ports().rest
        self._url = f"http://127.0.0.1:{port}/debug/stats/collection/Article/shards"
        self.server = WeaviateServer(
            version="1.39.3",
            environment={
                "DEBUG_ENDPOINTS_ENABLED": "true",
                "GO_PROFILING_DISABLE": "false",
                "GO_PROFILING_PORT": str(port),
            },
        )

    def stats(self) -> dict[str, int]:
        """How many nodes of the graph are tombstones, and how many no path leads to."""
        shards = requests.get(f"{self.server.url}/v1/schema/Article/shards", timeout=60).json()
        told = requests.get(f"{self._url}/{shards[0]['name']}/default", timeout=600).json()
        return {"tombstones": told["numTombstones"], "unreachable": len(told["unreachablePoints"])}

    def log_of_graph(self) -> Path:
        """The folder of the log that the graph is made of when the server starts."""
        assert self.server.data_path is not None
        (found,) = (self.server.data_path / "article").rglob("*.hnsw.commitlog.d")
        return found


def lose(debugged: Debugged, data: np.ndarray, count: int) -> None:
    """Import all objects, so that the graph has the first half only after a restart."""
    server = debugged.server
    write(server, data, range(count // 2))
    server.stop()
    kept = debugged.log_of_graph().with_suffix(".kept")
    shutil.copytree(debugged.log_of_graph(), kept)
    server.restart()
    write(server, data, range(count // 2, count))


def go_back(debugged: Debugged) -> None:
    """Start the server with the log of the graph that was kept."""
    debugged.server.stop()
    log = debugged.log_of_graph()
    shutil.rmtree(log)
    shutil.move(log.with_suffix(".kept"), log)
    debugged.server.restart()


def main() -> int:
    """Measure before, between and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    count = parser.parse_args().objects
    together = vectors(count + QUERIES)
    data, queries = together[:count], together[count:]
    nearest = np.argsort(-(queries @ data.T), axis=1)[:, :NEIGHBOURS]
    truth = [{id_of(number) for number in row} for row in nearest.tolist()]
    debugged = Debugged()
    measured: dict[str, Any] = {"objects": count, "length": LENGTH}

    def measure(name: str) -> float:
        share = recall(debugged.server, queries, truth)
        measured[name] = {"recall": share, **debugged.stats()}
        print(f"{name}: {measured[name]}", flush=True)
        return share

    with debugged.server as server:
        with connected(server) as client:
            client.collections.create(
                "Article",
                vector_config=Configure.Vectors.self_provided(
                    vector_index_config=Configure.VectorIndex.hnsw(cleanup_interval_seconds=CLEANUP_SECONDS)
                ),
            )
        lose(debugged, data, count)
        before = measure("whole")
        go_back(debugged)
        measure("half_lost")
        started = time.monotonic()
        words = ("--url", server.url, "--grpc-url", server.grpc_url)
        check_collection.main(["--collection", "Article", "--repair", *words])
        measured["seconds_of_repair"] = time.monotonic() - started
        after = measure("repaired")
        give_up_at = time.monotonic() + PATIENCE
        while debugged.stats()["tombstones"] and time.monotonic() < give_up_at:
            time.sleep(5)
        cleared = measure("cleared")
        left = check_collection.main(["--collection", "Article", *words])
    figures = [
        Figure("recall_lost_by_repair", before - after, f"of recall@{NEIGHBOURS}", 0.01),
        Figure("recall_lost_once_cleared", before - cleared, f"of recall@{NEIGHBOURS}", 0.01),
        Figure("exit_code_of_check", left, "of 0 and 1", 0.0),
    ]
    return report("repaired_recall", figures, measured, debugged.server.version)


if __name__ == "__main__":
    sys.exit(main())
