"""CPU to turn one dict into the bytes of a request, beside the official client's for the same object.

The object has a vector of 768 float32 in numpy and three properties. The official side is what its
``batch.add_object`` does until the request is serialized. Rounds alternate, so that both see the same machine.
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from weaviate.collections.batch.grpc_batch import _BatchGRPC
from weaviate.collections.classes.batch import BatchObject
from weaviate.proto.v1 import batch_pb2
from weaviate.util import _ServerVersion

from benchmarks.report import Figure, report
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.mapping import Mapper
from weaviate_io.schema import CollectionSchema

OBJECTS, ROUNDS = 1000, 15
SCHEMA = CollectionSchema.from_rest(
    {
        "class": "Article",
        "vectorizer": "none",
        "properties": [
            {"name": "title", "dataType": ["text"]},
            {"name": "url", "dataType": ["text"]},
            {"name": "views", "dataType": ["int"]},
        ],
    }
)


def rows(count: int) -> list[dict[str, Any]]:
    """Dicts with an id, three properties and a vector, the same in every run."""
    random = np.random.default_rng(7)
    return [
        {
            "id": str(uuid.UUID(int=random.integers(0, 2**63, 2).tolist()[0] << 64 | number)),
            "title": f"Article number {number}".ljust(40, "."),
            "url": f"https://example.org/articles/{number}".ljust(60, "/"),
            "views": number,
            "embedding": random.standard_normal(768, dtype=np.float32),
        }
        for number in range(count)
    ]


def ours(data: list[dict[str, Any]]) -> bytes:
    """Map and encode, then join the request."""
    mapper = Mapper("Article", id_field="id", vector_field="embedding")
    encoder = ObjectEncoder(SCHEMA)
    return join_request(encoder.encode(mapper.map(row, SCHEMA)) for row in data)


def official(data: list[dict[str, Any]]) -> bytes:
    """What the official client does between ``add_object`` and the call."""
    grpc_batch = _BatchGRPC(_ServerVersion(1, 36, 0), None, None)
    objects = [
        BatchObject(
            collection="Article",
            properties={"title": row["title"], "url": row["url"], "views": row["views"]},
            references=None,
            uuid=row["id"],
            vector=row["embedding"],
            tenant=None,
            index=number,
        )._to_internal()
        for number, row in enumerate(data)
    ]
    return batch_pb2.BatchObjectsRequest(objects=grpc_batch.grpc_objects(objects)).SerializeToString()


def cpu_us(function: Callable[[list[dict[str, Any]]], bytes], data: list[dict[str, Any]]) -> float:
    """CPU of this process in microseconds per object."""
    started = time.process_time()
    function(data)
    return (time.process_time() - started) / len(data) * 1e6


def main() -> int:
    """Measure both in turn and compare the medians of the pairs."""
    data = rows(OBJECTS)
    same = batch_pb2.BatchObjectsRequest.FromString(ours(data)).objects
    theirs = batch_pb2.BatchObjectsRequest.FromString(official(data)).objects
    if [o.uuid for o in same] != [o.uuid for o in theirs] or same[0].vector_bytes != theirs[0].vector_bytes:
        print("the two sides encode different objects", file=sys.stderr)
        return 1
    pairs = [(cpu_us(ours, data), cpu_us(official, data)) for _ in range(ROUNDS)]
    ratios = sorted(our / their for our, their in pairs)
    our, their = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"us/object, median of {ROUNDS}: ours {our:.2f}, official {their:.2f}")
    print(f"ratio: lowest {ratios[0]:.3f}, median {statistics.median(ratios):.3f}, highest {ratios[-1]:.3f}")
    figure = Figure("map_and_encode_cpu_of_official", statistics.median(ratios), "ratio", 0.1)
    return report("encoding", [figure], {"us_per_object": pairs})


if __name__ == "__main__":
    sys.exit(main())
