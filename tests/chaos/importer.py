"""A worker of the chaos import: a process of its own, so that it can be killed at any time.

It imports its slices one after the other, each as a pipeline, and keeps what came out of a slice once its pipeline
has ended. Started again after its death it goes on with the first slice that is not kept: what a runner does with
bundles. Every request is noted with the times of its sending and its acknowledgement.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.chaos.gaps import Request
from tests.oracle.judge import key_of
from tests.oracle.places import Key
from tests.write.running import run_write
from weaviate_io import WeaviateObject, WriteToWeaviate, proto
from weaviate_io.client import Client

COLLECTION = "Chaos"
SLICE = 1000  # objects
LENGTHS = {"one": 64, "two": 32}  # of the vectors
CATCHING_UP = {"frequency": 5000, "frequencyWhilePropagating": 1000, "propagationDelay": 5000}
"""How often replicas are compared, and the least age of what is sent to them, in ms; the server takes 30 s for each
by default."""

_BAD_VALUE, _BAD_VECTOR = 250, 400  # places in each 500 rows of those that must fail


class Plan(NamedTuple):
    """What a worker is told."""

    folder: str
    seed: int
    objects: int
    slices: list[int]
    url: str
    grpc_url: str
    consistency_level: str | None
    verify: str


class Done(NamedTuple):
    """What came out of a slice."""

    written: list[Key]
    failed: list[Key]
    counters: dict[str, int]


def description(replicas: int) -> dict[str, Any]:
    """The collection, as REST JSON."""
    index = {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}
    return {
        "class": COLLECTION,
        "properties": [{"name": "title", "dataType": ["text"]}, {"name": "number", "dataType": ["int"]}],
        "vectorConfig": dict.fromkeys(LENGTHS, index),
        "replicationConfig": {"factor": replicas} | ({"asyncConfig": CATCHING_UP} if replicas > 1 else {}),
    }


def objects_of(seed: int, number: int, objects: int) -> list[WeaviateObject]:
    """The objects of a slice, the same each time; a few of them are bad."""
    random = np.random.default_rng([seed, number])
    made = []
    for place in range(number * SLICE, min((number + 1) * SLICE, objects)):
        vectors = {name: random.standard_normal(length).astype(np.float32) for name, length in LENGTHS.items()}
        if is_bad(place) and place % 500 == _BAD_VECTOR:
            vectors["two"] = vectors["two"][1:]
        value = "many" if place % 500 == _BAD_VALUE else place
        identity = str(uuid.UUID(bytes=random.bytes(16)))
        made.append(
            WeaviateObject({"title": f"row {place}", "number": value}, identity, vectors, collection=COLLECTION)
        )
    return made


def is_bad(place: int) -> bool:
    """Whether the row must fail."""
    return place % 500 in (_BAD_VALUE, _BAD_VECTOR)


def slices_of(objects: int) -> range:
    """The numbers of all slices."""
    return range(-(-objects // SLICE))


def kept_slices(folder: Path) -> dict[int, Done]:
    """What the workers kept."""
    return {int(path.stem): _read(path) for path in folder.glob("*.slice")}


def _read(path: Path) -> Done:
    written, failed, counters = json.loads(path.read_text())
    return Done([Key(*key) for key in written], [Key(*key) for key in failed], counters)


def requests_in(folder: Path) -> list[Request]:
    """What all workers noted; the last line of a killed one may be cut off."""
    lines = (line for path in folder.glob("*.requests") for line in path.read_text().split("\n"))
    return [Request(*json.loads(line)) for line in lines if line.endswith("]]")]


def _note_requests(folder: Path) -> None:
    """Keep what is sent and acknowledged, as no output of a killed process tells of it."""
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex}.requests"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    send = Client.batch_objects

    def noted(self: Client, request: bytes, timeout: float) -> Any:
        sent = time.monotonic()
        uuids = [message.uuid for message in proto.BatchObjectsRequest.FromString(request).objects]
        call = send(self, request, timeout)

        def note(done: Any) -> None:
            if done.code().name == "OK":
                os.write(file, (json.dumps([sent, time.monotonic(), uuids]) + "\n").encode())

        call.add_done_callback(note)
        return call

    Client.batch_objects = noted  # type: ignore[method-assign]


def main() -> None:
    """Import the slices of a plan, given as JSON, that are not kept yet."""
    plan = Plan(**json.loads(sys.argv[1]))
    folder = Path(plan.folder)
    _note_requests(folder)
    for number in plan.slices:
        path = folder / f"{number}.slice"
        if path.exists():
            continue
        write = WriteToWeaviate(
            COLLECTION,
            url=plan.url,
            grpc_url=plan.grpc_url,
            dimensions=LENGTHS,
            consistency_level=plan.consistency_level,
            verify=plan.verify,
        )
        with tempfile.TemporaryDirectory() as outputs:
            done = run_write(objects_of(plan.seed, number, plan.objects), write, Path(outputs))
        kept = Done([key_of(one) for one in done.written], [key_of(one) for one in done.failed], done.counters)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(kept))
        half.rename(path)


if __name__ == "__main__":
    main()
