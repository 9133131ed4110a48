"""Sends encoded objects and tells the outcome of each one. There is no Beam in it.

A request goes out with a deadline and is never cancelled. Its answer is judged object by object: what is
refused is an outcome, what may succeed later is sent again, alone, after a growing, jittered pause. A request
that is too large is split, and one that fails without naming an object is halved until the culprit is found.

After an answer that leaves open what was stored (a deadline, a lost connection, a restart), sending again is
not enough: the server recognises the vector as unchanged and never puts it into the vector index. Such objects
are repaired: sent once with a vector that differs by one unit in the last place, then sent as they are. At no
moment are they absent, and in the end they are exactly what was given. Vectors that the server made itself are
read back once the object is safely stored, and take the same way.
"""

from __future__ import annotations

import logging
import queue
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import grpc
from apache_beam.utils.retry import FuzzedExponentialIntervals

from weaviate_io import proto
from weaviate_io.client import Client
from weaviate_io.encoding import EncodedObject, has_vectors, join_request, with_nudged_vectors, with_vectors
from weaviate_io.errors import Meaning, Verdict, WeaviateError, call_verdict, object_verdict
from weaviate_io.schema import CollectionSchema

_LOGGER = logging.getLogger(__name__)

BUDGET = 300.0
"""Seconds after which a request is given up; below Flink's checkpoint timeout of 600."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds between tries
_UNCLEAR_TRIES = 4  # of an object whose error is of unknown nature
_UNEXPLAINED_TRIES = 2  # of a request that fails as a whole without a reason, before it is halved
_LIMIT = re.compile(r"larger than max \(\d+ vs\. (\d+)\)")
_CONCERNS_ALL = (Meaning.TAINTED, Meaning.POISON)


class Item(NamedTuple):
    """An encoded object, and whatever its owner wants back with the outcome."""

    encoded: EncodedObject
    owner: Any = None


class Failure(NamedTuple):
    """Why an object was not written: a stable reason, the words of the server, and how often it was sent."""

    reason: str
    error: str
    attempts: int


class Outcome(NamedTuple):
    """What became of an object: written where ``failure`` is None."""

    collection: str
    item: Item
    failure: Optional[Failure]


@dataclass
class Tally:
    """What a sender did since it was last asked; the numbers behind the metrics."""

    requests: int = 0
    retries: int = 0
    unknown_outcomes: int = 0
    repaired: int = 0
    splits: int = 0
    bytes: int = 0
    throttled_seconds: float = 0.0
    batch_sizes: list[int] = field(default_factory=list)
    latencies_ms: list[int] = field(default_factory=list)


class _Fault(NamedTuple):
    verdict: Verdict
    text: str


_UNREADABLE_REPLY = _Fault(Verdict(Meaning.POISON, "server_error"), "the reply cannot be understood")


@dataclass
class _Entry:
    """One object of a request: the items it stands for (the last one's content is sent), and its next steps.

    ``steps`` are the payloads still to be acknowledged, one after the other; a repair has two of them.
    """

    items: list[Item]
    steps: list[bytes]
    attempts: int = 0

    @property
    def uuid(self) -> str:
        return self.items[-1].encoded.uuid

    @property
    def tenant(self) -> Optional[str]:
        return self.items[-1].encoded.tenant


@dataclass
class _Request:
    schema: CollectionSchema
    entries: list[_Entry]
    give_up_at: float
    pauses: Iterator[float]
    not_before: float = 0.0
    unexplained: int = 0
    read_back: bool = False  # the server's own vectors are to be repaired once this request is through
    sent_at: float = 0.0

    @property
    def size(self) -> int:
        return sum(len(entry.steps[0]) for entry in self.entries)


class Sender:
    """Sends objects through a client, a few requests at a time.

    One thread owns a sender; calls block while its limit of open requests is reached. After an exception the
    sender is of no further use: what was in flight is left to end by itself.

    Args:
      client: the open connection.
      consistency_level: number of the level (``proto.CONSISTENCY_LEVELS``), None for the server's default.
      batch_size: most objects in a request; None lets it adapt up to 1,000.
      max_in_flight: open requests of this sender.
      budget: seconds after which a request is given up.
    """

    def __init__(
        self,
        client: Client,
        *,
        consistency_level: Optional[int] = None,
        batch_size: Optional[int] = None,
        max_in_flight: int = 2,
        budget: float = BUDGET,
    ) -> None:
        self._client = client
        self._flow = client.flow
        self._consistency_level = consistency_level
        self._batch_size = batch_size
        self._max_in_flight = max_in_flight
        self._budget = budget
        self._waiting: deque[_Request] = deque()
        self._in_flight = 0
        self._answers: queue.SimpleQueue[tuple[_Request, Any]] = queue.SimpleQueue()
        self._outcomes: list[Outcome] = []
        self.tally = Tally()

    def request_size(self, schema: CollectionSchema) -> int:
        """Objects that a request to the collection should have now."""
        size = self._flow.request_size(schema.name, schema.makes_vectors)
        return min(size, self._batch_size) if self._batch_size else size

    @property
    def max_bytes(self) -> int:
        """Bytes that a request should not exceed now."""
        return min(self._flow.max_bytes, self._client.max_message_size // 2)

    def submit(self, schema: CollectionSchema, items: Sequence[Item]) -> list[Outcome]:
        """Send objects of one collection; returns what became known meanwhile.

        Of several objects with one id and tenant only the last is sent; all of them share its outcome.
        """
        for entries in self._cut(schema, _merge(items)):
            self._enqueue(schema, entries)
            self._pump(self._max_in_flight)
        return self._take()

    def drain(self) -> list[Outcome]:
        """Wait until every object has an outcome, and return what is new."""
        self._pump(0)
        return self._take()

    def _take(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _cut(self, schema: CollectionSchema, entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
        """Requests of at most the size that suits the server; an object too large for any is refused."""
        request: list[_Entry] = []
        total = 0
        for entry in entries:
            size = entry.items[-1].encoded.size
            if size > self._client.max_message_size:
                limit = self._client.max_message_size
                fault = _Fault(
                    Verdict(Meaning.REFUSED, "too_large"),
                    f"the object has {size} bytes, the server takes {limit}",
                )
                self._refuse(schema, entry, fault)
                continue
            if request and (total + size > self.max_bytes or len(request) >= self.request_size(schema)):
                yield request
                request, total = [], 0
            request.append(entry)
            total += size
        if request:
            yield request

    def _enqueue(self, schema: CollectionSchema, entries: list[_Entry]) -> None:
        now = time.monotonic()
        self._waiting.append(_Request(schema, entries, now + self._budget, _pauses()))

    def _pump(self, open_requests: int) -> None:
        """Send and judge until no more than so many requests are open, all of them in flight or pausing."""
        while True:
            self._start_ready()
            if self._in_flight + len(self._waiting) <= open_requests:
                return
            self._judge_next()

    def _start_ready(self) -> None:
        now = time.monotonic()
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if request.not_before <= now and self._in_flight < self._max_in_flight:
                self._start(request)
            else:
                self._waiting.append(request)

    def _start(self, request: _Request) -> None:
        payload = join_request((entry.steps[0] for entry in request.entries), self._consistency_level)
        for entry in request.entries:
            entry.attempts += 1
        self._flow.acquire()
        request.sent_at = time.monotonic()
        self._in_flight += 1
        self.tally.requests += 1
        self.tally.bytes += len(payload)
        self.tally.batch_sizes.append(len(request.entries))
        call = self._client.batch_objects(payload, self._flow.deadline())
        call.add_done_callback(lambda done: self._answered(request, done))

    def _answered(self, request: _Request, call: Any) -> None:
        """Called by gRPC, in a thread of its own."""
        self._flow.release()
        self._answers.put((request, call))

    def _judge_next(self) -> None:
        """Wait for an answer or for the end of a pause, whichever comes first."""
        started = time.monotonic()
        timeout = None
        if self._in_flight < self._max_in_flight:
            timeout = max(0.0, min(r.not_before for r in self._waiting) - started) if self._waiting else None
        try:
            request, call = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.tally.throttled_seconds += time.monotonic() - started
            return
        self._in_flight -= 1
        seconds = time.monotonic() - request.sent_at
        self.tally.latencies_ms.append(int(seconds * 1000))
        if call.code() is grpc.StatusCode.OK:
            self._flow.finished(
                request.schema.name, len(request.entries), seconds, request.schema.makes_vectors
            )
            self._judge_reply(request, call.result())
        else:
            self._judge_failed_call(request, call)

    def _judge_reply(self, request: _Request, payload: bytes) -> None:
        texts = _errors_by_index(payload)
        if texts is None or any(index >= len(request.entries) for index in texts):
            self._isolate(request, _UNREADABLE_REPLY)
            return
        faults = {i: _Fault(object_verdict(text), text) for i, text in texts.items()}
        taint = next((f for f in faults.values() if f.verdict.meaning in _CONCERNS_ALL), None)
        done: list[_Entry] = []
        doubtful: list[_Entry] = []
        failing: list[tuple[_Entry, _Fault]] = []
        for index, entry in enumerate(request.entries):
            fault = faults.get(index)
            if fault is None:
                (done if taint is None else doubtful).append(entry)
            elif fault.verdict.meaning is Meaning.REFUSED:
                self._refuse(request.schema, entry, fault)
            elif fault.verdict.meaning in _CONCERNS_ALL:
                doubtful.append(entry)
            else:
                failing.append((entry, fault))
        self._advance(request, done)
        self._retry_objects(request, failing)
        if taint is None:
            return
        if taint.verdict.meaning is Meaning.POISON:
            self._isolate(_part(request, doubtful), taint)
        else:
            self._retry_request(_part(request, doubtful), taint, in_doubt=True)

    def _judge_failed_call(self, request: _Request, call: Any) -> None:
        details = call.details() or ""
        verdict = call_verdict(call.code(), details, _status_details(call))
        fault = _Fault(verdict, f"{call.code().name}: {details}")
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._flow.too_slow(request.schema.name, len(request.entries), request.schema.makes_vectors)
        if verdict.meaning is Meaning.FATAL:
            raise WeaviateError(f"writing to {request.schema.name} failed: {fault.text}")
        if verdict.meaning is Meaning.REFUSED:
            for entry in request.entries:
                self._refuse(request.schema, entry, fault)
        elif verdict.meaning is Meaning.TOO_LARGE:
            self._split_too_large(request, fault)
        elif verdict.meaning is Meaning.POISON:
            self._isolate(request, fault)
        else:
            self._retry_request(request, fault, in_doubt=verdict.meaning is not Meaning.RETRY)

    def _advance(self, request: _Request, entries: list[_Entry]) -> None:
        """Entries whose current step was acknowledged: on to the next one, or written."""
        finished = []
        for entry in entries:
            entry.steps.pop(0)
            if not entry.steps:
                finished.append(entry)
        going_on = [entry for entry in entries if entry.steps]
        if going_on:
            self._waiting.appendleft(_part(request, going_on))
        if request.read_back and finished:
            self._repair_made_vectors(request, finished)
            return
        for entry in finished:
            self._outcomes.extend(Outcome(request.schema.name, item, None) for item in entry.items)

    def _repair_made_vectors(self, request: _Request, entries: list[_Entry]) -> None:
        """The objects are stored: read the vectors that the server made for them, nudge, and restore."""
        found = self._read_vectors(request, entries)
        repairs, settled = [], []
        for entry in entries:
            stored = found.get((entry.tenant, entry.uuid))
            if stored is None or not (stored.vector_bytes or stored.vectors):
                settled.append(entry)
                continue
            exact = with_vectors(entry.items[-1].encoded.payload, stored.vector_bytes, stored.vectors)
            entry.steps = [with_nudged_vectors(exact), exact]
            repairs.append(entry)
        self.tally.repaired += len(repairs)
        if repairs:
            follow_up = _part(request, repairs)
            follow_up.read_back = False
            self._waiting.appendleft(follow_up)
        for entry in settled:
            self._outcomes.extend(Outcome(request.schema.name, item, None) for item in entry.items)

    def _read_vectors(self, request: _Request, entries: list[_Entry]) -> dict[tuple[Optional[str], str], Any]:
        found: dict[tuple[Optional[str], str], Any] = {}
        for tenant in {entry.tenant for entry in entries}:
            ids = [entry.uuid for entry in entries if entry.tenant == tenant]
            search = proto.SearchRequest(
                collection=request.schema.name, tenant=tenant or "", limit=len(ids), uses_127_api=True
            )
            search.metadata.uuid = search.metadata.vector = True
            search.properties.SetInParent()
            search.filters.operator = proto.CONTAINS_ANY
            search.filters.target.property = "_id"
            search.filters.value_text_array.values.extend(ids)
            for result in self._search(search, request.give_up_at).results:
                found[tenant, result.metadata.id] = result.metadata
        return found

    def _search(self, search: Any, give_up_at: float) -> Any:
        for pause in _pauses():
            try:
                return self._client.search(search)
            except grpc.RpcError as error:
                text = f"{error.code().name}: {error.details()}"
                if time.monotonic() + pause > give_up_at:
                    raise WeaviateError(f"reading back from {search.collection} failed: {text}") from None
                self.tally.throttled_seconds += pause
                time.sleep(pause)
        raise AssertionError("the pauses do not end")

    def _retry_objects(self, request: _Request, failing: Sequence[tuple[_Entry, _Fault]]) -> None:
        """Send single objects again; what keeps failing until its tries or the budget are spent is refused."""
        pause = next(request.pauses) if failing else 0.0
        late = time.monotonic() + pause > request.give_up_at
        again: dict[bool, list[_Entry]] = {}
        for entry, fault in failing:
            unclear = fault.verdict.meaning is Meaning.UNCLEAR
            if late or (unclear and entry.attempts >= _UNCLEAR_TRIES):
                self._refuse(request.schema, entry, fault)
            else:
                again.setdefault(fault.verdict.meaning is not Meaning.RETRY, []).append(entry)
        for in_doubt, entries in again.items():
            self._send_again(_part(request, entries), pause, in_doubt)

    def _retry_request(self, request: _Request, fault: _Fault, in_doubt: bool) -> None:
        """Send a whole request again; when the budget is spent, the server is away and the job fails."""
        pause = next(request.pauses)
        if time.monotonic() + pause > request.give_up_at:
            raise WeaviateError(
                f"writing to {request.schema.name} failed for {self._budget:.0f} s, last with {fault.text[:500]} "
                f"({fault.verdict.reason}); run the job again when the server is well"
            )
        self._send_again(request, pause, in_doubt)

    def _send_again(self, request: _Request, pause: float, in_doubt: bool) -> None:
        _LOGGER.debug("sending %d objects of %s again", len(request.entries), request.schema.name)
        self.tally.retries += 1
        if in_doubt:
            self.tally.unknown_outcomes += 1
            self._plan_repair(request)
        request.not_before = time.monotonic() + pause
        self._waiting.append(request)

    def _plan_repair(self, request: _Request) -> None:
        if not request.schema.indexes_vectors:
            return
        for entry in request.entries:
            exact = entry.steps[-1]
            if has_vectors(exact):
                entry.steps = [with_nudged_vectors(exact), exact]
                self.tally.repaired += 1
            elif request.schema.makes_vectors:
                request.read_back = True

    def _isolate(self, request: _Request, fault: _Fault) -> None:
        """A request that fails as a whole: try again, then halve it until the culprit stands alone."""
        request.unexplained += 1
        if request.unexplained < _UNEXPLAINED_TRIES:
            self._retry_request(request, fault, in_doubt=True)
        elif len(request.entries) == 1:
            self._refuse(request.schema, request.entries[0], fault)
        else:
            self._plan_repair(request)
            self._split(request, unexplained=_UNEXPLAINED_TRIES - 1)

    def _split_too_large(self, request: _Request, fault: _Fault) -> None:
        limit = _LIMIT.search(fault.text)
        self._flow.too_large(int(limit[1]) if limit else request.size // 2)
        if len(request.entries) == 1:
            self._refuse(request.schema, request.entries[0], fault)
        else:
            self._split(request, unexplained=0)

    def _split(self, request: _Request, unexplained: int) -> None:
        self.tally.splits += 1
        half = len(request.entries) // 2
        for entries in (request.entries[half:], request.entries[:half]):
            part = _part(request, entries)
            part.unexplained = unexplained
            self._waiting.appendleft(part)

    def _refuse(self, schema: CollectionSchema, entry: _Entry, fault: _Fault) -> None:
        failure = Failure(fault.verdict.reason, fault.text, entry.attempts)
        self._outcomes.extend(Outcome(schema.name, item, failure) for item in entry.items)


def _merge(items: Iterable[Item]) -> list[_Entry]:
    entries: dict[tuple[Optional[str], str], _Entry] = {}
    for item in items:
        key = (item.encoded.tenant, item.encoded.uuid)
        entry = entries.get(key)
        if entry is None:
            entries[key] = _Entry([item], [item.encoded.payload])
        else:
            entry.items.append(item)
            entry.steps = [item.encoded.payload]
    return list(entries.values())


def _part(request: _Request, entries: list[_Entry]) -> _Request:
    """A request for some of the entries, with the same budget."""
    return _Request(
        request.schema,
        entries,
        request.give_up_at,
        request.pauses,
        unexplained=request.unexplained,
        read_back=request.read_back,
    )


def _pauses() -> Iterator[float]:
    return iter(
        FuzzedExponentialIntervals(
            initial_delay_secs=_FIRST_PAUSE, num_retries=10_000, max_delay_secs=_LONGEST_PAUSE
        )
    )


def _errors_by_index(payload: bytes) -> Optional[dict[int, str]]:
    try:
        reply = proto.BatchObjectsReply.FromString(payload)
    except Exception:  # the runtimes of protobuf raise different classes for bytes that are no message
        return None
    texts: dict[int, str] = {}
    for error in reply.errors:
        known = texts.get(error.index)
        texts[error.index] = error.error if known is None else f"{known}; {error.error}"
    return None if any(index < 0 for index in texts) else texts


def _status_details(call: Any) -> bytes:
    trailers = call.trailing_metadata() or ()
    return next((value for key, value in trailers if key == "grpc-status-details-bin"), b"")
