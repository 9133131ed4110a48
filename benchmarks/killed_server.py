"""What a server that is killed in the middle of an import leaves: with the official client, and with this package.

Both import the same objects into a server that is killed (``kill -9``) and started again while it has some thousands
of them; the official client by ``batch.fixed_size``, as its documentation shows it. Then each object that was
reported written is looked for by the official client: by a filter on its id, and by a vector search that is filtered
by ids. What is found missing is repaired by ``weaviate-io check --repair``, and looked for again.

Where the kill falls decides how much is lost; that nothing is left after the check does not depend on it. The server
may lose the index entries of a few objects that it had acknowledged just before, whoever sent them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import requests
import weaviate
from weaviate.classes.config import Configure, DataType, Property
from weaviate.classes.query import Filter

from benchmarks.report import Figure, report
from pipelines import check_collection
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import WeaviateServer
from weaviate_io.testing.binary import DEFAULT_VERSION

OBJECTS, LENGTH = 6000, 768
KILLED_AT = (1500, 3500)  # objects that the server has
WAYS = ("official", "weaviate_io")


def rows() -> list[dict[str, Any]]:
    """The objects, the same for both."""
    vectors = np.random.default_rng(5).standard_normal((OBJECTS, LENGTH), dtype=np.float32)
    return [
        {"id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), "number": number, "embedding": vector}
        for number, vector in enumerate(vectors)
    ]


@contextlib.contextmanager
def connected(server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    """The official client."""
    host, port = server.url.removeprefix("http://").split(":")
    grpc_host, grpc_port = server.grpc_url.split(":")
    client = weaviate.connect_to_custom(host, int(port), False, grpc_host, int(grpc_port), False)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def killed_meanwhile(server: WeaviateServer, collection: str) -> Iterator[None]:
    """Kill and restart the server once it has so many objects; the import in the block goes on meanwhile."""
    query = {"query": f"{{ Aggregate {{ {collection} {{ meta {{ count }} }} }} }}"}
    ended = threading.Event()

    def stored() -> int:
        answer = requests.post(f"{server.url}/v1/graphql", json=query, timeout=30).json()
        return int(answer["data"]["Aggregate"][collection][0]["meta"]["count"])

    def watch() -> None:
        for count in KILLED_AT:
            while stored() < count:
                if ended.wait(0.02):
                    return
            server.kill()
            server.restart()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def import_officially(server: WeaviateServer, collection: str, data: Sequence[dict[str, Any]]) -> set[str]:
    """Import with the official client; gives the ids of what it does not report as failed."""
    with connected(server) as client, killed_meanwhile(server, collection):
        with client.batch.fixed_size(batch_size=200, concurrent_requests=2) as batch:
            for row in data:
                batch.add_object(
                    collection, {"number": row["number"]}, uuid=row["id"], vector=row["embedding"].tolist()
                )
        failed = {str(one.object_.uuid) for one in client.batch.failed_objects}
    return {row["id"] for row in data} - failed


def import_by_beam(server: WeaviateServer, collection: str, data: Sequence[dict[str, Any]]) -> set[str]:
    """Import with ``WriteToWeaviate``; gives the ids of what comes out of ``written``."""
    with tempfile.TemporaryDirectory() as folder:
        with killed_meanwhile(server, collection), beam.Pipeline(runner="FnApiRunner") as pipeline:
            write = WriteToWeaviate(
                collection,
                url=server.url,
                grpc_url=server.grpc_url,
                id_field="id",
                vector_field="embedding",
                properties=["number"],
            )
            written = (pipeline | beam.Create(data) | write).written
            written | beam.Map(lambda one: one.uuid) | beam.io.WriteToText(f"{folder}/written", num_shards=1)
        return {line for file in Path(folder).iterdir() for line in file.read_text().splitlines()}


def unfindable(server: WeaviateServer, collection: str, uuids: set[str]) -> tuple[set[str], set[str]]:
    """Those of the ids that no filter finds, and those that a vector search among the ids does not find."""
    ids = sorted(uuids)
    filtered: set[str] = set()
    known: set[str] = set()
    with connected(server) as client:
        query = client.collections.get(collection).query
        for start in range(0, len(ids), 500):
            some = Filter.by_id().contains_any(ids[start : start + 500])
            filtered |= {str(one.uuid) for one in query.fetch_objects(filters=some, limit=500).objects}
            nearest = query.near_vector([1.0] * LENGTH, filters=some, limit=500)
            known |= {str(one.uuid) for one in nearest.objects}
    return uuids - filtered, uuids - known


def measure(way: Any, data: Sequence[dict[str, Any]]) -> dict[str, int]:
    """One import, what it left, and what the check leaves of that."""
    with WeaviateServer(version=DEFAULT_VERSION) as server:
        with connected(server) as client:
            client.collections.create(
                "Article",
                properties=[Property(name="number", data_type=DataType.INT)],
                vector_config=Configure.Vectors.self_provided(),
            )
        written = way(server, "Article", data)
        by_filter, by_vector = unfindable(server, "Article", written)
        words = ("--url", server.url, "--grpc-url", server.grpc_url, "--repair")
        code = check_collection.main(["--collection", "Article", *words])
        left = set().union(*unfindable(server, "Article", written))
    return {
        "reported_written": len(written),
        "found_by_no_filter": len(by_filter),
        "found_by_no_vector_search": len(by_vector),
        "unfindable": len(by_filter | by_vector),
        "exit_code_of_check": code,
        "left_after_check": len(left),
    }


def main() -> int:
    """Import in both ways, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    logging.getLogger("weaviate-client").setLevel(logging.WARNING)
    data = rows()
    measured: dict[str, list[dict[str, int]]] = {name: [] for name in WAYS}
    for _ in range(parser.parse_args().rounds):
        for name, way in zip(WAYS, (import_officially, import_by_beam), strict=True):
            measured[name].append(measure(way, data))
    print(f"{'highest of':30} {'official client':>20} {'WriteToWeaviate':>20}")
    worst = {
        name: {key: max(one[key] for one in column) for key in column[0]} for name, column in measured.items()
    }
    for key in worst["official"]:
        print(f"{key:30} {worst['official'][key]:20,} {worst['weaviate_io'][key]:20,}")
    figures = [
        Figure("unfindable_of_weaviate_io", worst["weaviate_io"]["unfindable"], "objects", OBJECTS / 100),
        *(
            Figure(f"left_after_check_of_{name}", worst[name]["left_after_check"], "objects", 0.0)
            for name in WAYS
        ),
    ]
    return report("killed_server", figures, measured, DEFAULT_VERSION)


if __name__ == "__main__":
    sys.exit(main())
