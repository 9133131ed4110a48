"""What is measured: one way to get objects into a server, run as a process of its own.

``python -m benchmarks.contestants NAME OBJECTS URL GRPC_URL`` loads so many objects and prints its cost as JSON:
wall and CPU seconds from the first object to the last answer, without the start of the interpreter and without
imports. The rows are the same for all: a vector of 768 float32 and three properties, made beforehand as far as
the form allows.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import weaviate
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from weaviate.classes.data import DataObject

from weaviate_io import WriteToWeaviate

COLLECTION = "Article"
DIMENSIONS = 768
BLOCK = 1000
"""Rows that are made at once; vectors repeat from block to block."""


@dataclass(frozen=True)
class Cost:
    """What one load of ``objects`` took: seconds of wall clock and of CPU, and peak memory in megabytes."""

    objects: int
    seconds: float
    cpu: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Objects per second."""
        return self.objects / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per object."""
        return self.cpu / self.objects * 1e6


def run(name: str, objects: int, url: str, grpc_url: str) -> Cost:
    """Run a contestant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.contestants", name, str(objects), url, grpc_url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


_vectors: list[Any] = []


def _matrix() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((BLOCK, DIMENSIONS), dtype=np.float32)


def _ids(block: int) -> list[str]:
    return [str(uuid.UUID(int=block << 64 | number)) for number in range(BLOCK)]


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


class _Nothing(beam.DoFn):
    def process(self, element: Any) -> None:
        pass


def _source(make: Callable[[int], Iterator[Any]]) -> Callable[[int, str, str], None]:
    def load(blocks: int, url: str, grpc_url: str) -> None:
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(range(blocks)) | beam.FlatMap(make) | beam.ParDo(_Nothing())

    return load


def _write(make: Callable[[int], Iterator[Any]], consumed: bool = False) -> Callable[[int, str, str], None]:
    def load(blocks: int, url: str, grpc_url: str) -> None:
        write = WriteToWeaviate(COLLECTION, url=url, grpc_url=grpc_url, id_field="id", vector_field="embedding")
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            outputs = pipeline | beam.Create(range(blocks)) | beam.FlatMap(make) | write
            if consumed:
                outputs.written | beam.ParDo(_Nothing())

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


def _official_batch(open_batch: Callable[[Any], Any]) -> Callable[[int, str, str], None]:
    def load(blocks: int, url: str, grpc_url: str) -> None:
        with _official(url, grpc_url) as client:
            collection = client.collections.get(COLLECTION)
            with open_batch(collection.batch) as batch:
                for block in range(blocks):
                    for row in list_rows(block):
                        vector = row.pop("embedding")
                        batch.add_object(row, uuid=row.pop("id"), vector=vector)
            if collection.batch.failed_objects:
                raise SystemExit(f"{len(collection.batch.failed_objects)} objects failed")

    return load


def _insert_many(blocks: int, url: str, grpc_url: str) -> None:
    with _official(url, grpc_url) as client:
        collection = client.collections.get(COLLECTION)
        for block in range(blocks):
            objects = []
            for row in list_rows(block):
                vector = row.pop("embedding")
                objects.append(DataObject(uuid=row.pop("id"), vector=vector, properties=row))
            if collection.data.insert_many(objects).has_errors:
                raise SystemExit("objects failed")


CONTESTANTS: dict[str, Callable[[int, str, str], None]] = {
    "source of dicts": _source(numpy_rows),
    "source of dicts, lists": _source(list_rows),
    "source of record batches": _source(tables),
    "dicts": _write(numpy_rows),
    "dicts, written consumed": _write(numpy_rows, consumed=True),
    "dicts, lists": _write(list_rows),
    "record batches": _write(tables),
    "official fixed_size(200, 2)": _official_batch(lambda batch: batch.fixed_size(200, 2)),
    "official fixed_size(1000, 2)": _official_batch(lambda batch: batch.fixed_size(1000, 2)),
    "official dynamic": _official_batch(lambda batch: batch.dynamic()),
    "official insert_many(1000)": _insert_many,
}
"""By name: what takes a number of blocks, the REST and the gRPC address."""


def main() -> None:
    """Load once, and print the cost."""
    name, objects, url, grpc_url = sys.argv[1:]
    blocks = max(1, int(objects) // BLOCK)
    started, cpu = time.perf_counter(), time.process_time()
    CONTESTANTS[name](blocks, url, grpc_url)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(asdict(Cost(blocks * BLOCK, seconds, cpu, peak))))


if __name__ == "__main__":
    main()
