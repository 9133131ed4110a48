"""CPU to turn a dict into the bytes of a request, beside the official client's for the same object.

The object has a vector of 768 float32 and three properties. Dicts that wait together in a bundle are encoded column by
column; what comes alone, or of a file, is encoded row by row. The official side is what its ``batch.add_object`` does
until the request is serialized, with lists of floats, which it takes faster than numpy. Rounds alternate in one
process, so that all see the same machine.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from weaviate.collections.batch.grpc_batch import _BatchGRPC
from weaviate.collections.classes.batch import BatchObject
from weaviate.proto.v1 import batch_pb2
from weaviate.util import _ServerVersion

from benchmarks.processes import median
from benchmarks.raw import limits
from benchmarks.report import Figure, report
from weaviate_io.columns import ColumnEncoder
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
    """Map and encode row by row, then join the request."""
    mapper = Mapper("Article", id_field="id", vector_field="embedding")
    encoder = ObjectEncoder(SCHEMA)
    return join_request(encoder.encode(mapper.map(row, SCHEMA)) for row in data)


def joined(blocks: Iterable[Any]) -> bytes:
    """The bytes of blocks, one after the other."""
    return b"".join(map(join_request, blocks))


def ours_together(data: list[dict[str, Any]]) -> bytes:
    """Map and encode column by column, then join the request."""
    mapper = Mapper("Article", id_field="id", vector_field="embedding")
    encoder = ColumnEncoder(mapper, ObjectEncoder(SCHEMA), SCHEMA)
    return joined(encoder.encode_rows(data, limits))


def with_lists(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows with lists as vectors."""
    return [row | {"embedding": row["embedding"].tolist()} for row in data]


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
    lists = with_lists(data)
    made = [
        batch_pb2.BatchObjectsRequest.FromString(request).objects
        for request in (ours_together(data), ours(data), official(lists))
    ]
    if len({tuple((one.uuid, one.vector_bytes) for one in objects) for objects in made}) > 1:
        print("the sides encode different objects", file=sys.stderr)
        return 1
    rounds = [
        {
            "together": {"us of CPU": cpu_us(ours_together, data)},
            "row by row": {"us of CPU": cpu_us(ours, data)},
            "official": {"us of CPU": cpu_us(official, lists)},
        }
        for _ in range(ROUNDS)
    ]

    def ratio(name: str, way: str, goal: float) -> Figure:
        ratios = [costs[way]["us of CPU"] / costs["official"]["us of CPU"] for costs in rounds]
        return Figure(name, median(name, ratios), "ratio", goal)

    figures = [
        ratio("map_and_encode_cpu_of_official", "together", 0.1),
        ratio("map_and_encode_row_by_row_cpu_of_official", "row by row", 0.1),
    ]
    return report("encoding", figures, {"rounds": rounds})


if __name__ == "__main__":
    sys.exit(main())
