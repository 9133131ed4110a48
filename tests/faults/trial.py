"""A write through the whole pipeline into a server that fails, and the oracle's judgement of it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import requests

from tests.oracle.judge import Verdict, judge, key_of, places_of
from tests.oracle.places import Key
from tests.oracle.settling import settle
from tests.sender.harness import COLLECTIONS, made, uuid_of
from tests.write.running import Done
from weaviate_io import WeaviateObject, WriteToWeaviate
from weaviate_io.testing import FakeWeaviate, WeaviateServer

_ALL = slice(None)


class Trial:
    """Objects by number, written into a collection of their own.

    Args:
      write: the fixture that runs a pipeline.
      server: the fake, or a real one.
      kind: which collection (``COLLECTIONS`` of the sender's harness).
      through: gRPC address to use in place of the server's own, such as that of a proxy.
      replicas: how many nodes have each object.
      options: keywords of ``WriteToWeaviate``; the attribute of that name may be changed between runs.
    """

    def __init__(
        self,
        write: Callable[..., Done],
        server: FakeWeaviate | WeaviateServer,
        kind: str = "unnamed",
        through: str | None = None,
        replicas: int = 1,
        **options: Any,
    ) -> None:
        self.server = server
        self.kind = kind
        self.collection = f"WeaviateIoTest_{uuid.uuid4().hex[:12]}"
        self._write = write
        self.options = {"url": server.url, "grpc_url": through or server.grpc_url, **options}
        description = {**COLLECTIONS[kind], "class": self.collection}
        if replicas > 1:
            description["replicationConfig"] = {"factor": replicas}
        self.rest("POST", "/schema", description)
        self._sent: list[WeaviateObject] = []
        self._written: list[Key] = []
        self._failed: list[Key] = []

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        response = requests.request(method, f"{self.server.url}/v1{path}", json=body, timeout=60)
        response.raise_for_status()
        return response.json() if response.content else None

    def objects(self, numbers: Iterable[int]) -> list[WeaviateObject]:
        return [made(number, self.kind)._replace(collection=self.collection) for number in numbers]

    def run(self, given: Iterable[int] | list[WeaviateObject], **options: Any) -> Done:
        """Write objects, or those of the numbers; raises what the job fails with."""
        objects = [one if isinstance(one, WeaviateObject) else self.objects([one])[0] for one in given]
        done = self._write(objects, WriteToWeaviate(self.collection, **self.options), **options)
        self._sent += objects
        self._written += map(key_of, done.written)
        self._failed += map(key_of, done.failed)
        return done

    def check(self, failed: Iterable[int] = (), most_sends: int = 10, nodes: slice = _ALL) -> None:
        """What the jobs that succeeded told is true, and exactly the objects of these numbers failed."""
        verdict = self.judged(nodes)
        assert not verdict.problems, verdict
        assert {key.uuid for key in self._failed} == set(map(uuid_of, failed))
        assert not [thread.name for thread in threading.enumerate() if "weaviate_io" in thread.name]
        too_often = {uuid: times for uuid, times in self.sends().items() if times > most_sends}
        assert not too_often, "objects were sent very often"

    def judged(self, nodes: slice = _ALL) -> Verdict:
        """What the oracle says of these nodes."""
        return judge(places_of(self.server)[nodes], self._sent, self._written, self._failed, filter_by="number")

    def settle(self) -> None:
        """Wait until all nodes have the same objects."""
        settled = settle(places_of(self.server), self.collection, 120)
        assert settled.equal, settled

    def sends(self) -> Counter[str]:
        """How often each object was in a request, as far as the fake tells."""
        batches = (one for one in getattr(self.server, "requests", ()) if one.method == "BatchObjects")
        return Counter(uuid for request in batches for uuid in request.uuids)
