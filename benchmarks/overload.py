"""What a server short of memory is sent more than once.

Eight senders of one process write objects into a server whose ``GOMEMLIMIT`` leaves it hardly more memory than the
objects take. Its collector works all the time, it refuses requests until there is room again, and its index refuses
objects that it has stored, which are repaired: sent twice more, and not in vain. It writes its tables of new objects
to disk after three seconds rather than a minute, so that what they took comes back soon. How much it refuses depends
on the moment when its memory is full, and differs from run to run; with still less memory it does nothing but collect.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.report import Figure, report
from weaviate_io.client import Client
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.errors import NO_MEMORY
from weaviate_io.objects import WeaviateObject
from weaviate_io.outcome import Outcome
from weaviate_io.request import Entry
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import WeaviateServer
from weaviate_io.testing.binary import DEFAULT_VERSION

SENDERS, GIVEN = 8, 200  # objects that a sender is given at once
OBJECTS, LENGTH = 8000, 384
MEMORY = ("48MiB", "52MiB", "56MiB")
FLUSH = {"PERSISTENCE_MEMTABLES_FLUSH_DIRTY_AFTER_SECONDS": "3"}
GOAL = 10.0  # percent


class Watched:
    """A client that counts the bytes of requests that the server has no memory for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.requests_refused = 0
        self.bytes_refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_objects(self, request: bytes, timeout: float) -> Any:
        """Write as the client does."""

        def done(call: Any) -> None:
            if NO_MEMORY in (call.details() or ""):
                self.requests_refused += 1
                self.bytes_refused += len(request)

        call = self._client.batch_objects(request, timeout)
        call.add_done_callback(done)
        return call


def objects(schema: CollectionSchema) -> list[Entry]:
    """What is written."""
    random = np.random.default_rng(3)
    encode = ObjectEncoder(schema).encode
    vectors = random.standard_normal((OBJECTS, LENGTH), dtype=np.float32)
    ids = [str(uuid.UUID(bytes=random.bytes(16))) for _ in range(OBJECTS)]
    return [
        encode(WeaviateObject({"title": f"object {number}"}, *given))
        for number, given in enumerate(zip(ids, vectors, strict=True))
    ]


def send(senders: Sequence[Sender], schema: CollectionSchema, entries: Sequence[Entry]) -> int:
    """Write with all senders at once; gives how many objects were written."""
    written: list[int] = []

    def work(sender: Sender, mine: Sequence[Entry]) -> None:
        outcomes: list[Outcome] = []
        for start in range(0, len(mine), GIVEN):
            outcomes += sender.submit(schema, mine[start : start + GIVEN])
        outcomes += sender.drain()
        written.extend(len(one.entries) for one in outcomes if one.failure is None)

    threads = [
        threading.Thread(target=work, args=(sender, entries[number::SENDERS]))
        for number, sender in enumerate(senders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(written)


def measure(memory: str) -> dict[str, Any]:
    """One import into a server with so much memory."""
    with WeaviateServer(version=DEFAULT_VERSION, environment={"GOMEMLIMIT": memory, **FLUSH}) as server:
        inner = Client(WeaviateConnection(server.url, grpc_url=server.grpc_url))
        client: Any = Watched(inner)
        try:
            properties = [{"name": "title", "dataType": ["text"]}]
            client.rest(
                "POST", "/v1/schema", {"class": "Article", "vectorizer": "none", "properties": properties}
            )
            schema = client.schema("Article")
            entries = objects(schema)
            needed = sum(entry.size for entry in entries)
            senders = [Sender(client) for _ in range(SENDERS)]
            started = time.monotonic()
            written = send(senders, schema, entries)
            seconds = time.monotonic() - started
        finally:
            inner.close()
    tallies = [sender.tally for sender in senders]
    sent = sum(sum(tally.batch_sizes) for tally in tallies)
    return {
        "seconds": seconds,
        "written": written,
        "requests": sum(tally.requests for tally in tallies),
        "requests_refused": client.requests_refused,
        "refused_percent": 100 * client.bytes_refused / needed,
        "repaired": sum(tally.repaired for tally in tallies),
        "sent_again_percent": 100 * (sent / OBJECTS - 1),
        "throttled_seconds": sum(tally.throttled_seconds for tally in tallies),
    }


def main() -> int:
    """Measure with each amount of memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--memory", nargs="+", default=MEMORY, help=f"GOMEMLIMIT (default: {' '.join(MEMORY)})")
    measured: dict[str, Any] = {"objects": OBJECTS, "length": LENGTH}
    figures = []
    for memory in parser.parse_args().memory:
        result = measured[memory] = measure(memory)
        print(f"{memory}: " + ", ".join(f"{name} {value:,.5g}" for name, value in result.items()), flush=True)
        figures += [
            Figure(f"written_{memory}", result["written"], "objects", OBJECTS, at_least=True),
            Figure(f"refused_{memory}", result["refused_percent"], "percent of the bytes", GOAL),
        ]
    pushed_back = sum(
        measured[memory]["requests_refused"] + measured[memory]["repaired"] for memory in list(measured)[2:]
    )
    figures.append(Figure("refused_at_all", pushed_back, "requests and objects", 1, at_least=True))
    return report("overload", figures, measured, DEFAULT_VERSION)


if __name__ == "__main__":
    sys.exit(main())
