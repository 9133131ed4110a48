"""What ``verify="existing"`` costs: a first import with the look-ups beside one without, and a rerun of it.

The collection holds many objects before, since a look-up takes longer among more. They have no vectors, so that
the index is small and an insert cheap: in a full index the look-ups are a smaller part. The figure is the time spent in
look-ups by that of the rest of the same import, as if the server did nothing else meanwhile; so it is an upper limit,
and stands on a machine with other work. Pairs of imports with and without them alternate; what they show is kept
too, but there it scatters.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import uuid
from copy import copy
from typing import Any

import numpy as np

from benchmarks.report import Figure, report
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.objects import WeaviateObject
from weaviate_io.outcome import Tally
from weaviate_io.repair import BatchObjects
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import WeaviateServer

PRESENT = (10_000, 100_000)
MILLION = 1_000_000
PAIRS = 3
OBJECTS = {64: 2000, 768: 1000}  # in an import, by the length of the vectors
GOALS = {64: 10.0, 768: 5.0}  # percent
REQUEST = 1000


class Timed:
    """A client that adds up the time of its searches."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def search(self, request: Any) -> Any:
        """Search as the client does."""
        started = time.perf_counter()
        try:
            return self._client.search(request)
        finally:
            self.seconds += time.perf_counter() - started


class Target:
    """A collection that is filled step by step.

    Args:
      client: the open connection.
      length: numbers in a vector.
    """

    def __init__(self, client: Client, length: int) -> None:
        self._client: Any = Timed(client)
        self._length = length
        self._random = np.random.default_rng(7)
        name = f"Vectors{length}"
        properties = [{"name": "title", "dataType": ["text"]}]
        client.rest("POST", "/v1/schema", {"class": name, "vectorizer": "none", "properties": properties})
        schema = client.schema(name)
        assert schema is not None
        self._schema: CollectionSchema = schema
        self._encode = ObjectEncoder(schema).encode
        self.present = 0

    def objects(self, count: int, with_vectors: bool = True) -> list[Entry]:
        """Objects that are not there yet."""
        vectors = self._random.standard_normal((count, self._length), dtype=np.float32)
        return [
            self._encode(
                WeaviateObject(
                    {"title": f"object {number}"},
                    str(uuid.UUID(bytes=self._random.bytes(16))),
                    vectors[number] if with_vectors else None,
                )
            )
            for number in range(count)
        ]

    def fill(self, present: int) -> None:
        """Add objects without vectors until so many are there."""
        while self.present < present:
            self.write(self.objects(min(REQUEST, present - self.present), with_vectors=False), "off")

    def write(self, objects: list[Entry], verify: str) -> tuple[float, float]:
        """Seconds that it takes to write the objects, and those of them that are spent in look-ups."""
        self._client.seconds = 0.0
        tally = Tally()
        sender = Sender(self._client, BatchObjects(verify, tally), tally=tally)
        started = time.perf_counter()
        outcomes = []
        for start in range(0, len(objects), REQUEST):
            outcomes += sender.submit(self._schema, [copy(one) for one in objects[start : start + REQUEST]])
        outcomes += sender.drain()
        seconds = time.perf_counter() - started
        if tally.unindexed or any(outcome.failure for outcome in outcomes):
            raise SystemExit(f"a healthy write failed, or raised an alarm: {tally}")
        self.present += len(objects)
        return seconds, self._client.seconds


def measure(target: Target, count: int) -> dict[str, Any]:
    """Pairs of imports without and with verification, each followed by a rerun."""
    target.write(target.objects(count), "existing")  # the size of requests has adapted
    without, looked, searching, again = [], [], [], []
    for pair in range(PAIRS):
        for verify in ("off", "existing") if pair % 2 else ("existing", "off"):
            objects = target.objects(count)
            seconds, in_searches = target.write(objects, verify)
            if verify == "off":
                without.append(seconds)
            else:
                looked.append(seconds)
                searching.append(in_searches)
                again.append(target.write(objects, verify)[0])
    shares = [100 * part / (whole - part) for part, whole in zip(searching, looked, strict=True)]
    return {
        "objects": count,
        "seconds_off": without,
        "seconds_existing": looked,
        "seconds_of_look_ups": searching,
        "seconds_rerun": again,
        "look_ups_us_an_object": statistics.median(1e6 * part / count for part in searching),
        "look_ups_percent": statistics.median(shares),
        "pairs_percent": statistics.median(100 * (b / a - 1) for a, b in zip(without, looked, strict=True)),
        "rerun_percent": statistics.median(100 * b / a for a, b in zip(without, again, strict=True)),
    }


def main() -> int:
    """Measure each length of vectors with each number of objects in the collection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="with a million objects there, too (minutes)")
    present = PRESENT + (MILLION,) * parser.parse_args().million
    measured: dict[str, Any] = {}
    figures = []
    with WeaviateServer(version="1.39.3") as server:
        client = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
        try:
            for length, count in OBJECTS.items():
                target = Target(client, length)
                for there in present:
                    target.fill(there)
                    place = f"{length}d_{there}"
                    result = measured[place] = measure(target, count)
                    share, rerun = result["look_ups_percent"], result["rerun_percent"]
                    figures += [
                        Figure(f"look_ups_of_first_import_{place}", share, "percent", GOALS[length]),
                        Figure(f"rerun_{place}", rerun, "percent of the import", 100.0),
                    ]
                    print(
                        f"{length} numbers, {there:,} objects there: look-ups {share:.1f} % of the rest "
                        f"({result['look_ups_us_an_object']:.0f} us an object), pairs differ by "
                        f"{result['pairs_percent']:+.0f} %, a rerun takes {rerun:.0f} %",
                        flush=True,
                    )
        finally:
            client.close()
    return report("verification", figures, measured, server.version)


if __name__ == "__main__":
    sys.exit(main())
