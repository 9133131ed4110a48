"""A fake Weaviate inside the test process: it stores, keeps a log, and fails on script.

It speaks gRPC (BatchObjects, BatchReferences, Search by ids, health) and the REST calls that a writer needs, both on
loopback. It knows no distances: a vector search finds which objects of a filter are in the index.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc

from weaviate_io import proto
from weaviate_io.testing import faults
from weaviate_io.testing.fake_grpc import Call, Handlers, batch_reply
from weaviate_io.testing.fake_references import add_references
from weaviate_io.testing.fake_rest import NO_KEY, WRONG_KEY, RestServer
from weaviate_io.testing.fake_store import FakeStore, Key, RequestRefused, WriteOutcome
from weaviate_io.testing.faults import Action

_QUERY_MAXIMUM_RESULTS = 10_000
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]


class Request(NamedTuple):
    """One gRPC request that arrived.

    ``uuids`` are those of its objects, of the sources of its references, or of its filter, ``size`` is in bytes,
    ``start`` and ``end`` are ``time.monotonic()`` seconds; ``end`` is ``None`` while it is being answered.
    """

    method: str
    uuids: list[str]
    size: int
    metadata: dict[str, str]
    start: float
    end: float | None


class FakeWeaviate:
    """A Weaviate server to write to in a test, as a context manager.

    Args:
      version: what ``/v1/meta`` says.
      max_message_size: bytes that a request may have (server default 104,858,000).
      api_key: when given, requests without ``authorization: Bearer <key>`` are refused.

    Attributes:
      url, grpc_url: where it listens, such as ``http://127.0.0.1:41001`` and ``127.0.0.1:41002``.
      objects: mapping of (collection, tenant or "", uuid) to the ``BatchObject`` message as it was sent.
      references: mapping of such keys to a mapping of property to beacons, ``weaviate://localhost/Paper/<uuid>``.
      schemas: mapping of collection name to its REST JSON.
      tenants: mapping of collection name to a mapping of tenant name to ``HOT`` or ``COLD``.
      requests: every gRPC request so far, a list of :class:`Request`.
      unindexed: keys of objects that are stored but missing in the vector index. Sending them again as they
        are does not help, as on a real server; sending a changed vector does.
      unfiltered: keys of objects that are stored but that no filter finds, as a killed server may leave them; the
        same helps.
      deleted: keys of deleted objects, in order.

    >>> with FakeWeaviate() as fake:
    ...     name = fake.create_collection({"class": "Article"})["class"]
    ...     fake.script(faults.Fail(grpc.StatusCode.UNAVAILABLE, "restarting"))  # the first request fails
    >>> name
    'Article'
    """

    def __init__(
        self, *, version: str = "1.39.3", max_message_size: int = 104_858_000, api_key: str | None = None
    ) -> None:
        self.version = version
        self.max_message_size = max_message_size
        self.url = ""
        self.grpc_url = ""
        self.requests: list[Request] = []
        self._api_key = api_key
        self._store = FakeStore()
        self._changed = threading.Condition()
        self._script: deque[Action] = deque()
        self._behaviour: Callable[[Any, int], Action | None] | None = None
        self._batches = 0
        self._round = 0
        self._sleepers: set[threading.Event] = set()

    @property
    def objects(self) -> dict[Key, Any]:
        """What is stored: (collection, tenant or "", uuid) -> ``BatchObject``."""
        return self._store.objects

    @property
    def references(self) -> dict[Key, dict[str, list[str]]]:
        """What objects point at: (collection, tenant or "", uuid) -> property -> beacons."""
        return self._store.references

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Collections by name, as their REST JSON."""
        return self._store.schemas

    @property
    def tenants(self) -> dict[str, dict[str, str]]:
        """Tenants by collection, with their status."""
        return self._store.tenants

    @property
    def unindexed(self) -> set[Key]:
        """Objects that the vector index misses."""
        return self._store.unindexed

    @property
    def unfiltered(self) -> set[Key]:
        """Objects that no filter finds."""
        return self._store.unfiltered

    @property
    def deleted(self) -> list[Key]:
        """Objects that were deleted."""
        return self._store.deleted

    @property
    def hanging(self) -> int:
        """How many requests are in a wait of ``Delay`` or ``StoreThenHang``."""
        return len(self._sleepers)

    def __enter__(self) -> FakeWeaviate:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen."""
        self._is_closing = False
        self._rest = RestServer(self._store, self._meta, self._api_key)
        self._rest_thread = threading.Thread(
            target=self._rest.serve_forever, args=(0.02,), name="fake-weaviate-rest", daemon=True
        )
        self._rest_thread.start()
        self.url = f"http://127.0.0.1:{self._rest.server_address[1]}"
        self._threads = ThreadPoolExecutor(64, thread_name_prefix="fake-weaviate-grpc")
        self._grpc = grpc.server(
            self._threads,
            handlers=[
                Handlers(
                    {"BatchObjects": self._batch, "BatchReferences": self._batch, "Search": self._search},
                    self._logged,
                )
            ],
            options=_OPTIONS,
        )
        self.grpc_url = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def close(self) -> None:
        """Stop listening; requests that hang are ended."""
        # Not stop(grace=0), which cancels in a thread of its own, maybe when the server is gone: a segmentation fault.
        stopping = threading.Thread(target=self._grpc.stop, args=[None])
        stopping.start()
        self._is_closing = True  # what is to wait from now on does not
        self.release()
        stopping.join()
        self._threads.shutdown()
        self._rest.shutdown()
        self._rest_thread.join()
        self._rest.server_close()

    def reset(self) -> None:
        """Be as new: no collections, objects, requests or faults; requests that hang go on."""
        with self._changed:
            self._round += 1
            self.requests.clear()
            self._script.clear()
            self._behaviour = None
            self._batches = 0
            self._store.clear()
        self.release()

    def create_collection(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """Create a collection from its REST JSON, such as ``{"class": "Article", "properties": [...]}``."""
        return self._store.create_collection(description)

    def script(self, *actions: Action) -> None:
        """Queue actions (see :mod:`weaviate_io.testing.faults`), one for each coming batch of objects or references."""
        with self._changed:
            self._script.extend(actions)

    def behave(self, choose: Callable[[Any, int], Action | None] | None) -> None:
        """Ask a function for the action of every batch that the script has none for.

        Args:
          choose: takes the ``BatchObjectsRequest`` or ``BatchReferencesRequest`` and its number from 0, gives an
            action, or ``None`` for :class:`~weaviate_io.testing.faults.Ok`. ``None`` in its place ends this.
        """
        with self._changed:
            self._behaviour = choose

    def release(self) -> None:
        """End all waits of ``Delay`` and ``StoreThenHang`` that are going on, as if their time was over."""
        with self._changed:
            for sleeper in self._sleepers:
                sleeper.set()

    def wait_until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until a condition holds, looking whenever a request arrives, begins to hang or is answered.

        Args:
          condition: takes nothing, such as ``lambda: fake.hanging == 2``.
          seconds: how long at most.

        Raises:
          TimeoutError: it does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"not so after {seconds} s; {len(self.requests)} requests arrived")

    def _meta(self) -> dict[str, Any]:
        return {
            "hostname": self.url,
            "version": self.version,
            "modules": {},
            "grpcMaxMessageSize": self.max_message_size,
        }

    def _logged(self, call: Call, answer: Callable[[Call], bytes]) -> bytes:
        """Check a request as the server's front does, answer it, and keep both times."""
        with self._changed:
            now, place = self._round, len(self.requests)
            metadata = dict(call.context.invocation_metadata())
            self.requests.append(
                Request(call.method, call.uuids(), call.size, metadata, time.monotonic(), None)
            )
            self._changed.notify_all()
        try:
            if call.size > self.max_message_size:
                text = f"grpc: received message larger than max ({call.size} vs. {self.max_message_size})"
                call.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            given = metadata.get("authorization")
            if self._api_key is not None and given != f"Bearer {self._api_key}":
                call.abort(grpc.StatusCode.UNKNOWN, f"extract auth: {WRONG_KEY if given else NO_KEY}")
            return answer(call)
        except RequestRefused as error:
            call.abort(grpc.StatusCode.UNKNOWN, str(error))
        finally:
            with self._changed:
                if now == self._round:
                    self.requests[place] = self.requests[place]._replace(end=time.monotonic())
                self._changed.notify_all()

    def _batch(self, call: Call) -> bytes:
        with self._changed:
            number = self._batches
            self._batches += 1
            action = self._script.popleft() if self._script else None
            choose = self._behaviour
        if action is None and choose is not None:
            action = choose(call.message, number)
        return self._do(action or faults.Ok(), call)

    def _do(self, action: Action, call: Call) -> bytes:
        batch = call.batch
        if isinstance(action, faults.Fail):
            call.abort(action.code, action.details, action.trailing_metadata)
        if isinstance(action, faults.StoreThenFail):
            self._apply(call, indexed=action.indexed)
            call.abort(action.code, action.details)
        if isinstance(action, faults.Disconnect):
            if action.stored:
                self._apply(call, indexed=action.indexed)
            call.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if isinstance(action, faults.Delay):
            if not self._wait(action.seconds, call, whole=action.late) and not action.late:
                return b""
            return self._do(action.then, call)
        if isinstance(action, faults.StoreThenHang):
            outcome = self._apply(call, indexed=False)
            if self._wait(action.seconds, call):
                self._store.finish_index(outcome.unindexed)
            return batch_reply(outcome.errors)
        if isinstance(action, faults.Malformed):
            if action.stored:
                self._apply(call)
            return action.reply
        if isinstance(action, faults.ErrorsWhere):
            found = ((index, action.error_of(message)) for index, message in enumerate(batch))
            action = faults.Errors({index: text for index, text in found if text is not None})
        if isinstance(action, faults.Errors):
            skip = range(len(batch)) if not action.others_stored else () if action.stored else action.errors
            outcome = self._apply(call, skip=skip, without_index=action.errors)
            return batch_reply(outcome.errors | dict(action.errors))
        return batch_reply(self._apply(call, indexed=action.indexed).errors)

    def _apply(
        self,
        call: Call,
        *,
        indexed: bool = True,
        skip: Collection[int] = (),
        without_index: Collection[int] = (),
    ) -> WriteOutcome:
        """Store what a request has."""
        if call.method == "BatchObjects":
            return self._store.write(call.batch, indexed=indexed, skip=skip, without_index=without_index)
        if not call.batch:
            raise RequestRefused("invalid params: length cannot be 0, need at least one reference for batching")
        return WriteOutcome(add_references(self._store, call.batch, skip), {})

    def _wait(self, seconds: float, call: Call, whole: bool = False) -> bool:
        """Wait, to the end or until the client has gone; whether the client is still there."""
        woken = threading.Event()
        with self._changed:
            if self._is_closing:
                woken.set()
            self._sleepers.add(woken)
            self._changed.notify_all()
        if whole or call.context.add_callback(woken.set):
            woken.wait(min(seconds, threading.TIMEOUT_MAX))
        with self._changed:
            self._sleepers.discard(woken)
        return call.context.is_active()

    def _search(self, call: Call) -> bytes:
        query, uuids = call.message, None
        if query.HasField("filters"):
            if query.filters.operator != proto.CONTAINS_ANY or query.filters.target.property != "_id":
                call.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake filters by _id with ContainsAny only")
            uuids = query.filters.value_text_array.values
            if not uuids:
                raise RequestRefused("extract contains values: invalid search term, only stopwords provided")
        if query.limit > _QUERY_MAXIMUM_RESULTS:
            raise RequestRefused(
                "explorer: list class: search: invalid pagination params: query maximum results exceeded"
            )
        found = self._store.select(query.collection, query.tenant, uuids, query.limit or 10, query.after)
        if query.HasField("near_vector"):
            if uuids is None:
                call.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake searches by vector among ids only")
            names = query.near_vector.targets.target_vectors
            found = self._store.near(query.collection, query.tenant, query.near_vector, *names, among=found)
        reply = proto.SearchReply()
        for uuid, message in found:
            metadata = reply.results.add().metadata
            if query.metadata.uuid:
                metadata.id = uuid
            for name, (kind, data) in self._store.vectors(message).items():
                if not query.metadata.vector and name not in query.metadata.vectors:
                    continue
                if name:
                    metadata.vectors.add(name=name, vector_bytes=data, type=kind or proto.VECTOR_SINGLE_FP32)
                else:
                    metadata.vector_bytes = data
        return reply.SerializeToString()
