"""Loads a data set into a real server, part after part, as a process of its own.

``python -m benchmarks.real_loads NAME DATA_SET COLLECTION OBJECTS PARTS URL GRPC_URL`` loads the next one whenever a
line comes in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.contestants import BATCHES, Load, Make, official_batch, official_insert_many, pipeline, source
from benchmarks.datasets import BLOCK, DATA_SETS, DataSet
from benchmarks.processes import print_costs
from benchmarks.raw import requests_of, send
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.objects import WeaviateObject
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema

RAW = {
    f"raw {size} x {in_flight}": (size, in_flight)
    for size, in_flight in ((100, 2), (500, 2), (1000, 2), (1000, 4), (2000, 2))
}
"""Loaders that send prebuilt requests: objects in each, and how many are in flight."""


OF_SIZE = "in a request"
"""How the name of a pipeline ends that has a size of requests of its own, such as ``ours, 1000 in a request``."""


def encoded(
    data: DataSet, description: dict[str, Any], blocks: range, tenant: Callable[[int], str] | None = None
) -> list[Entry]:
    """The objects of some blocks, ready to be sent.

    Args:
      data: where they are from.
      description: of their collection, as REST has it.
      blocks: which ones.
      tenant: gives the tenant of an object by its number.
    """
    encode = ObjectEncoder(CollectionSchema.from_rest(description)).encode
    entries = []
    for number, row in enumerate(row for block in blocks for row in data.rows(block)):
        object_id, vector = row.pop("id"), row.pop("embedding")
        entries.append(
            encode(WeaviateObject(row, object_id, vector, tenant=tenant(number) if tenant else None))
        )
    return entries


class _From:
    """Rows of blocks that are counted from another one than the first."""

    def __init__(self, first: int, make: Make) -> None:
        self._first = first
        self._make = make

    def __call__(self, block: int) -> Iterator[Any]:
        return self._make(self._first + block)


def _load(name: str, data: DataSet, collection: str, blocks: range) -> Load:
    if name in RAW:
        size, in_flight = RAW[name]
        requests = requests_of(encoded(data, data.schema(collection), blocks), size)  # before the clock starts
        return lambda blocks, url, grpc_url: send(requests, in_flight, grpc_url)
    rows, list_rows = (_From(blocks.start, make) for make in (data.rows, data.list_rows))
    if name in BATCHES:
        return official_batch(BATCHES[name], list_rows, collection)
    if name == "official insert_many(1000)":
        return official_insert_many(list_rows, collection)
    sources = {"source": rows, "source, lists": list_rows}
    if name in sources:
        return source(sources[name])
    if name.endswith(OF_SIZE):
        return pipeline(rows, collection, batch_size=int(name.split()[1]))
    return pipeline(rows, collection, verify="off" if name == "ours, verify off" else "existing")


def main() -> None:
    """Make the rows, load each part when it is asked for, and print its cost."""
    name, data_set, collection, objects, parts, url, grpc_url = sys.argv[1:]
    data, blocks = DATA_SETS[data_set], max(1, int(objects) // int(parts) // BLOCK)
    data.columns()

    def loads() -> Iterator[Callable[[], None]]:
        for first in range(0, int(parts) * blocks, blocks):
            load = _load(name, data, collection, range(first, first + blocks))
            yield lambda load=load: load(blocks, url, grpc_url)

    print_costs(blocks * BLOCK, loads())


if __name__ == "__main__":
    main()
