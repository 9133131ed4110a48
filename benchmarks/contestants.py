"""What is measured: one way to get objects into a server, run as a process of its own.

``python -m benchmarks.contestants NAME OBJECTS URL GRPC_URL`` loads so many objects and prints its cost as JSON:
wall and CPU seconds from the first object to the last answer. Connecting and disconnecting, and what a pipeline
does before its first and after its last element, are no part of it. The rows are the same for all: a vector of 768
float32 and three properties, made beforehand as far as the form allows.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import weaviate
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.util import GroupIntoBatches
from weaviate.classes.data import DataObject

from benchmarks import processes
from benchmarks.processes import Cost, mark, print_costs
from benchmarks.raw import limits, send
from weaviate_io import WriteToWeaviate, wiring
from weaviate_io.columns import ColumnEncoder
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.mapping import Mapper
from weaviate_io.schema import CollectionSchema

COLLECTION = "Article"
DESCRIPTION = {
    "class": COLLECTION,
    "vectorizer": "none",
    "properties": [
        {"name": "title", "dataType": ["text"]},
        {"name": "url", "dataType": ["text"]},
        {"name": "views", "dataType": ["int"]},
    ],
}
"""The collection, as REST has it."""

DIMENSIONS = 768
IMAGE = 128
"""Numbers of the smaller vector, where there are two."""

BLOCK = 1000
"""Rows that are made at once; vectors repeat from block to block."""

EVERYTHING = "Everything"
"""A collection with tenants, two named vectors, and properties of all common types, as the null server describes it."""

TENANTS = 10
GROUP = 10


def run(name: str, objects: int, url: str, grpc_url: str) -> Cost:
    """Run a contestant in a process of its own."""
    return processes.run("benchmarks.contestants", name, objects, url, grpc_url)


_vectors: list[Any] = []


def _matrix() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((BLOCK, DIMENSIONS), dtype=np.float32)


def _ids(block: int) -> list[str]:
    return [f"{block:08x}-0000-4000-8000-{number:012x}" for number in range(BLOCK)]


def numpy_rows(block: int) -> Iterator[dict[str, Any]]:
    """Dicts with numpy vectors."""
    if not _vectors:
        _vectors.extend(_matrix())
    return _rows(block)


def list_rows(block: int) -> Iterator[dict[str, Any]]:
    """Dicts with vectors as lists of floats."""
    if not _vectors:
        _vectors.extend(_matrix().tolist())
    return _rows(block)


def _rows(block: int) -> Iterator[dict[str, Any]]:
    for number, (object_id, vector) in enumerate(zip(_ids(block), _vectors, strict=True)):
        yield {
            "id": object_id,
            "title": f"Article number {number}".ljust(40, "."),
            "url": f"https://example.org/articles/{number}".ljust(60, "/"),
            "views": number,
            "embedding": vector,
        }


_columns: dict[str, pa.Array] = {}


def tables(block: int) -> Iterator[pa.RecordBatch]:
    """One record batch with the same columns; the ids are new in each."""
    if not _columns:
        rows = list(numpy_rows(0))
        flat = pa.array(_matrix().reshape(-1))
        _columns["title"] = pa.array([row["title"] for row in rows])
        _columns["url"] = pa.array([row["url"] for row in rows])
        _columns["views"] = pa.array([row["views"] for row in rows])
        _columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS)
    yield pa.RecordBatch.from_pydict({"id": pa.array(_ids(block)), **_columns})


_everything: dict[str, pa.Array] = {}


def tables_of_everything(block: int) -> Iterator[pa.RecordBatch]:
    """Record batches with a tenant, two vectors, ten properties, and a null in each tenth row of some of them.

    They are as large as row groups of Parquet: one for so many blocks.
    """
    if block % GROUP:
        return
    if not _everything:
        numbers, some = range(BLOCK), [number % 10 > 0 for number in range(BLOCK)]
        known = list(numpy_rows(0))

        def with_nulls(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
            return pa.array([value if there else None for value, there in zip(values, some, strict=True)], kind)

        _everything["tenant"] = pa.array([f"tenant{number % TENANTS}" for number in numbers])
        _everything["text_vector"] = pa.array(list(_matrix()), pa.list_(pa.float32()))
        image = [row[:IMAGE] for row in _matrix()]
        _everything["image_vector"] = with_nulls(image, pa.list_(pa.float32(), IMAGE))
        _everything["title"] = pa.array([row["title"] for row in known])
        _everything["url"] = with_nulls([row["url"] for row in known])
        _everything["views"] = with_nulls(numbers)
        _everything["number"] = pa.array([number / 7 for number in numbers])
        _everything["boolean"] = pa.array([number % 2 > 0 for number in numbers])
        _everything["date"] = with_nulls([10**15 + number for number in numbers], pa.timestamp("us", "UTC"))
        _everything["uuid"] = pa.array(_ids(BLOCK))
        _everything["texts"] = with_nulls([[f"tag{number}", "common"] for number in numbers])
        _everything["numbers"] = pa.array([[number / 3, number / 5, 1.0] for number in numbers])
        _everything["object"] = with_nulls([{"name": f"name{number}", "number": number} for number in numbers])
        for name, column in _everything.items():
            _everything[name] = pa.concat_arrays([column] * GROUP)
    ids = pa.concat_arrays([pa.array(_ids(block + number)) for number in range(GROUP)])
    yield pa.RecordBatch.from_pydict({"id": ids, **_everything})


_rows_of_everything: list[dict[str, Any]] = []


def rows_of_everything(block: int) -> Iterator[dict[str, Any]]:
    """The same as dicts of Python values, without nulls, which the official client takes for values."""
    if not _rows_of_everything:
        for row in next(tables_of_everything(0)).slice(0, BLOCK).to_pylist():
            vectors = {"text": row.pop("text_vector"), "image": row.pop("image_vector")}
            row["uuid"] = uuid.UUID(row["uuid"])
            named = {name: vector for name, vector in vectors.items() if vector is not None}
            known = {name: value for name, value in row.items() if value is not None}
            _rows_of_everything.append(known | {"embedding": named})
    for object_id, row in zip(_ids(block), _rows_of_everything, strict=True):
        yield row | {"id": object_id}


class _Nothing(beam.DoFn):
    """Takes what a pipeline ends with. Its bundles end after those of the steps before it in the same stage."""

    def process(self, element: Any) -> None:
        pass

    def finish_bundle(self) -> None:
        mark()


Load = Callable[[int, str, str], None]
"""Takes a number of blocks, the REST and the gRPC address."""

Make = Callable[[int], Iterator[Any]]
"""Gives the rows of a block: dicts with ``id`` and ``embedding``, or record batches of such columns."""


class _Made:
    """Rows whose first one is when a load begins."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __call__(self, block: int) -> Iterator[Any]:
        mark()
        return self._make(block)


def source(make: Make) -> Load:
    """A pipeline that makes the rows, and nothing of them."""

    def load(blocks: int, url: str, grpc_url: str) -> None:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(range(blocks)) | beam.FlatMap(_Made(make)) | beam.ParDo(_Nothing())

    return load


def pipeline(make: Make, collection: str = COLLECTION, consumed: bool = False, **options: Any) -> Load:
    """A pipeline that writes; ``options`` are those of the write."""

    options = {"id_field": "id", "vector_field": "embedding", **options}

    def load(blocks: int, url: str, grpc_url: str) -> None:
        write = WriteToWeaviate(collection, url=url, grpc_url=grpc_url, **options)
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            outputs = pipeline | beam.Create(range(blocks)) | beam.FlatMap(_Made(make)) | write
            outputs.failed | "failed" >> beam.ParDo(_Nothing())
            if consumed:
                outputs.written | "written" >> beam.ParDo(_Nothing())

    return load


def _bare_loop(make: Make) -> Load:
    """Record batches encoded as the pipeline does it, and sent: a loop without Beam."""
    schema = CollectionSchema.from_rest(DESCRIPTION)
    mapper = Mapper(COLLECTION, id_field="id", vector_field="embedding")
    encoder = ColumnEncoder(mapper, ObjectEncoder(schema), schema)

    def load(blocks: int, url: str, grpc_url: str) -> None:
        batches = (batch for block in range(blocks) for batch in _Made(make)(block))
        parts = (part for batch in batches for part in encoder.encode_table(batch, limits))
        send((join_request(part) for part in parts), 2, grpc_url)
        mark()

    return load


def _official(url: str, grpc_url: str) -> Any:
    host, port = url.removeprefix("http://").split(":")
    grpc_host, grpc_port = grpc_url.split(":")
    return weaviate.connect_to_custom(
        http_host=host,
        http_port=int(port),
        http_secure=False,
        grpc_host=grpc_host,
        grpc_port=int(grpc_port),
        grpc_secure=False,
    )


def official_batch(open_batch: Callable[[Any], Any], make: Make, name: str = COLLECTION) -> Load:
    """The batches of the official client, opened as ``open_batch(client.batch)``."""

    def load(blocks: int, url: str, grpc_url: str) -> None:
        with _official(url, grpc_url) as client:
            with open_batch(client.batch) as batch:
                for block in range(blocks):
                    for row in _Made(make)(block):
                        vector, tenant = row.pop("embedding"), row.pop("tenant", None)
                        batch.add_object(name, row, uuid=row.pop("id"), vector=vector, tenant=tenant)
            mark()
            if client.batch.failed_objects:
                raise SystemExit(f"{len(client.batch.failed_objects)} objects failed")

    return load


def official_insert_many(make: Make, name: str = COLLECTION) -> Load:
    """``insert_many`` of the official client, a block at a time."""

    def load(blocks: int, url: str, grpc_url: str) -> None:
        with _official(url, grpc_url) as client:
            collection = client.collections.get(name)
            for block in range(blocks):
                objects = []
                for row in _Made(make)(block):
                    vector = row.pop("embedding")
                    objects.append(DataObject(uuid=row.pop("id"), vector=vector, properties=row))
                if collection.data.insert_many(objects).has_errors:
                    raise SystemExit("objects failed")
                mark()

    return load


BATCHES: dict[str, Callable[[Any], Any]] = {
    "official fixed_size(200, 2)": lambda batch: batch.fixed_size(200, 2),
    "official fixed_size(1000, 2)": lambda batch: batch.fixed_size(1000, 2),
    "official dynamic": lambda batch: batch.dynamic(),
}
"""The settings of the official client's batches."""


def _batches_of_beam(make: Make) -> Load:
    """The same write with Beam's own expansion of ``GroupIntoBatches``."""

    def load(blocks: int, url: str, grpc_url: str) -> None:
        wiring.GroupBoundedIntoBatches = GroupIntoBatches.WithShardedKey  # type: ignore[misc, assignment]
        pipeline(make, batching="group_into_batches")(blocks, url, grpc_url)

    return load


BATCHINGS: dict[str, Load] = {
    "in bundles": pipeline(numpy_rows, batching="bundle"),
    "GroupIntoBatches, ours": pipeline(numpy_rows, batching="group_into_batches"),
    "GroupIntoBatches, Beam's own": _batches_of_beam(numpy_rows),
}
"""The ways to make batches of bounded input."""

CONTESTANTS: dict[str, Load] = {
    "source of dicts": source(numpy_rows),
    "source of dicts, lists": source(list_rows),
    "source of record batches": source(tables),
    "dicts": pipeline(numpy_rows),
    "dicts, written consumed": pipeline(numpy_rows, consumed=True),
    "dicts, lists": pipeline(list_rows),
    "record batches": pipeline(tables),
    "record batches, bare loop": _bare_loop(tables),
    **{name: official_batch(open_batch, list_rows) for name, open_batch in BATCHES.items()},
    "official insert_many(1000)": official_insert_many(list_rows),
    "source of everything": source(tables_of_everything),
    "everything": pipeline(
        tables_of_everything,
        EVERYTHING,
        vector_field={"text": "text_vector", "image": "image_vector"},
        tenant_field="tenant",
    ),
    **{
        f"everything, {name}": official_batch(open_batch, rows_of_everything, EVERYTHING)
        for name, open_batch in BATCHES.items()
    },
}
"""By name: what takes a number of blocks, the REST and the gRPC address."""


def main() -> None:
    """Load once, and print the cost."""
    name, objects, url, grpc_url = sys.argv[1:]
    blocks = max(1, int(objects) // BLOCK)
    print_costs(blocks * BLOCK, [lambda: (CONTESTANTS | BATCHINGS)[name](blocks, url, grpc_url)])


if __name__ == "__main__":
    main()
