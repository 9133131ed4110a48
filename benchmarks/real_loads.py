"""One load of a data set into a real server, run as a process of its own.

``python -m benchmarks.real_loads NAME DATA_SET COLLECTION OBJECTS URL GRPC_URL``
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from benchmarks.contestants import BATCHES, Load, official_batch, official_insert_many, pipeline, source
from benchmarks.datasets import BLOCK, DATA_SETS, DataSet
from benchmarks.processes import print_cost
from benchmarks.raw import requests_of, send
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.objects import WeaviateObject
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema

RAW = {
    f"raw {size} x {in_flight}": (size, in_flight)
    for size, in_flight in ((100, 2), (500, 2), (1000, 2), (1000, 4))
}
"""Loaders that send prebuilt requests: objects in each, and how many are in flight."""


def encoded(
    data: DataSet, description: dict[str, Any], blocks: int, tenant: Callable[[int], str] | None = None
) -> list[Entry]:
    """The objects of some blocks, ready to be sent.

    Args:
      data: where they are from.
      description: of their collection, as REST has it.
      blocks: how many of them.
      tenant: gives the tenant of an object by its number.
    """
    encode = ObjectEncoder(CollectionSchema.from_rest(description)).encode
    entries = []
    for number, row in enumerate(row for block in range(blocks) for row in data.rows(block)):
        object_id, vector = row.pop("id"), row.pop("embedding")
        entries.append(
            encode(WeaviateObject(row, object_id, vector, tenant=tenant(number) if tenant else None))
        )
    return entries


def _load(name: str, data: DataSet, collection: str, blocks: int) -> Load:
    if name in RAW:
        size, in_flight = RAW[name]
        requests = requests_of(encoded(data, data.schema(collection), blocks), size)  # before the clock starts
        return lambda blocks, url, grpc_url: send(requests, in_flight, grpc_url)
    if name in BATCHES:
        return official_batch(BATCHES[name], data.list_rows, collection)
    if name == "official insert_many(1000)":
        return official_insert_many(data.list_rows, collection)
    sources = {"source": data.rows, "source, lists": data.list_rows}
    if name in sources:
        return source(sources[name])
    return pipeline(data.rows, collection, verify="off" if name == "ours, verify off" else "existing")


def main() -> None:
    """Make the rows, load them once, and print the cost."""
    name, data_set, collection, objects, url, grpc_url = sys.argv[1:]
    data, blocks = DATA_SETS[data_set], max(1, int(objects) // BLOCK)
    data.columns()
    load = _load(name, data, collection, blocks)
    print_cost(blocks * BLOCK, lambda: load(blocks, url, grpc_url))


if __name__ == "__main__":
    main()
