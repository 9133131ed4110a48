"""Sends encoded objects and tells the outcome of each one. There is no Beam in it.

A request goes out with a deadline and is never cancelled. Its answer is judged object by object: what is
refused is an outcome, what may succeed later is sent again, alone, after a growing, jittered pause. A request
that is too large is split, and one that fails without naming an object is halved until the culprit is found.
What may be stored without being in the vector index is repaired (:mod:`weaviate_io.repair`).
How long is tried is decided elsewhere (:mod:`weaviate_io.patience`).
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Optional, Union

import grpc

from weaviate_io.client import Client
from weaviate_io.encoding import join_request, vector_names
from weaviate_io.errors import (
    NO_MEMORY,
    OF_PROVIDER,
    PUSH_BACK,
    Meaning,
    SearchRefused,
    Verdict,
    WeaviateError,
    call_verdict,
    object_verdict,
)
from weaviate_io.outcome import Failure, Fault, Outcome, Tally, errors_by_index, outcome_of, status_details
from weaviate_io.patience import Patience, wait_after
from weaviate_io.repair import BatchObjects, Method
from weaviate_io.request import Block, Entry, Request, merge, pause_after
from weaviate_io.schema import CollectionSchema
from weaviate_io.searching import search_until
from weaviate_io.together import ask_all
from weaviate_io.verification import Search, finds_nothing

BUDGET = 300.0
"""Seconds of failing after which a request is given up; below Flink's checkpoint timeout of 600."""

LONGEST_WAIT = 1800.0
"""Seconds that an object may wait for the rate limits of a model provider, or for memory that others get."""

_UNCLEAR_TRIES = 4  # of an object whose error is of unknown nature
_WHOLE_TRIES = 3  # of objects that a model provider fails at, before they are sent in halves
_UNEXPLAINED_TRIES = 3  # of a request that fails as a whole without a reason, before it is halved
_LIMIT = re.compile(r"larger than max \(\d+ vs\. (\d+)\)")
_CONCERNS_ALL = (Meaning.TAINTED, Meaning.POISON)
_MAY_BE_STORED = (Meaning.IN_DOUBT, Meaning.UNCLEAR)
_TIMED_OUT = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)  # as client or server is first
_Answer = Union[Verdict, dict[int, str], None]
"""What it means that a call failed, or the error texts of its reply by index, None where it cannot be understood."""

_NOT_FOUND = Fault(
    Verdict(Meaning.UNCLEAR, "not_indexed"),
    "the server acknowledged the object, but does not find it",
)


class Sender:
    """Sends objects through a client, a few requests at a time.

    One thread owns a sender; calls block while its limit of open requests is reached. After an exception the
    sender is of no further use: what was in flight is left to end by itself.

    Args:
      client: the open connection.
      method: what is called, and how doubt about its outcome is settled.
      consistency_level: number of the level (``proto.CONSISTENCY_LEVELS``), None for the server's default.
      batch_size: most objects in a request; None lets it adapt up to 2,000.
      max_in_flight: open requests of this sender; None lets them adapt, from 2 to 32.
      budget: seconds of failing after which a request is given up.
      longest_wait: seconds that an object may wait for rate limits, or while others get the memory that it waits for;
        they do not count as failing.
      pause: seconds to wait before the next try, of the number of failed ones.
      wait: seconds to wait at a rate limit, of those waited before and of its text.
      tally: where to count, together with the method.
    """

    def __init__(
        self,
        client: Client,
        method: Optional[Method] = None,
        *,
        consistency_level: Optional[int] = None,
        batch_size: Optional[int] = None,
        max_in_flight: Optional[int] = None,
        budget: float = BUDGET,
        longest_wait: float = LONGEST_WAIT,
        pause: Callable[[int], float] = pause_after,
        wait: Callable[[float, str], float] = wait_after,
        tally: Optional[Tally] = None,
    ) -> None:
        self._client = client
        self._method = method or BatchObjects()
        self._flow = client.flow
        self._consistency_level = consistency_level
        self._batch_size = batch_size
        self._max_in_flight = max_in_flight
        self._budget = budget
        self._pause = pause
        self._patience = Patience(client, budget, longest_wait, pause, wait)
        self._waiting: deque[Request] = deque()
        self._open = 0
        self._answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._outcomes: list[Outcome] = []
        self.tally = tally or Tally()

    def request_size(self, schema: CollectionSchema) -> int:
        """Objects that a request to the collection should have now."""
        size = self._flow.request_size(schema.name, schema.makes_vectors)
        return min(size, self._batch_size) if self._batch_size else size

    @property
    def max_bytes(self) -> int:
        """Bytes that a request should not exceed now."""
        return min(self._flow.max_bytes, self._client.max_message_size // 2)

    def submit(self, schema: CollectionSchema, objects: Union[Block, Sequence[Entry]]) -> list[Outcome]:
        """Send objects of one collection; returns what became known meanwhile.

        Of several objects with one id and tenant only the last is sent; all of them share its outcome.
        """
        for part in self._parts(schema, objects):
            self._waiting.append(Request(schema, part))
            self._pump()
        return self._take()

    def drain(self) -> list[Outcome]:
        """Wait until every object has an outcome, and return what is new."""
        self._pump(until_idle=True)
        return self._take()

    def _take(self) -> list[Outcome]:
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _parts(
        self, schema: CollectionSchema, objects: Union[Block, Sequence[Entry]]
    ) -> Iterable[Union[Block, list[Entry]]]:
        if isinstance(objects, Block):
            if self._is_request(schema, objects):
                return (objects,)
            objects = objects.opened()
        return self._cut(schema, merge(objects))

    def _is_request(self, schema: CollectionSchema, block: Block) -> bool:
        """Whether a block can be sent as it is: no two objects are one, and all suit the server."""
        return (
            len(block) <= self.request_size(schema)
            and block.size <= max(self.max_bytes, block.largest)
            and block.largest <= self._client.max_message_size
            and len(set(block.keys)) == len(block)
        )

    def _cut(self, schema: CollectionSchema, entries: Iterable[Entry]) -> Iterator[list[Entry]]:
        """Requests of at most the size that suits the server; an object too large for any is refused."""
        limit = self._client.max_message_size
        request: list[Entry] = []
        total = 0
        for entry in entries:
            size = entry.size
            if size > limit:
                text = f"the object has {size:,} bytes, the server takes {limit:,} in a request"
                self._refuse(schema, entry, Fault(Verdict(Meaning.REFUSED, "too_large"), text))
                continue
            if request and (total + size > self.max_bytes or len(request) >= self.request_size(schema)):
                yield request
                request, total = [], 0
            request.append(entry)
            total += size
        if request:
            yield request

    @property
    def _limit(self) -> int:
        """Requests that may be open now: in flight, or about to be and looked up."""
        return self._flow.sender_limit(self._open) if self._max_in_flight is None else self._max_in_flight

    def _pump(self, until_idle: bool = False) -> None:
        """Send and judge until no more requests are open than may be, all of them under way or pausing."""
        while True:
            while not self._answers.empty():  # so that what is open is
                self._judge_next()
            self._start_ready()
            most = 0 if until_idle else self._limit
            if self._open + len(self._waiting) <= most and self._answers.empty():
                return
            self._judge_next()

    def _start_ready(self) -> None:
        now = time.monotonic()
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if request.not_before <= now and self._open < self._limit:
                self._start(request)
            else:
                self._waiting.append(request)

    def _start(self, request: Request) -> None:
        self._open += 1
        request.opened_at, request.company = time.monotonic(), self._open
        if request.is_prepared:
            self._send(request)
        elif not self._method.asks_before(request):
            self._looked(request, *self._prepare(request))
        else:
            questions = self._method.questions(request)
            if not questions:
                self._look(request)
                return
            self._flow.look()
            owner = threading.get_ident()

            def ask(question: Any) -> Any:
                if threading.get_ident() != owner and not self._client.starts_at_once:
                    raise WeaviateError(
                        "gRPC's thread, which brings all answers, is not to wait for new secrets"
                    )
                return self._client.start_search(question)

            ask_all(ask, questions, finds_nothing, partial(self._answered_questions, request))

    def _answered_questions(self, request: Request, all_new: bool) -> None:
        """Mostly called by gRPC, in its thread. What can be sent is sent at once: the owner may be busy for long."""
        self._flow.looked()
        try:
            if not all_new:
                self._look(request)
                return
            request.is_prepared = True
            suits = len(request) <= self.request_size(request.schema)
            if suits and self._client.starts_at_once and self._flow.try_acquire():
                self._call(request)
            else:
                self._answers.put(lambda: self._send(request))
        except BaseException as error:
            self._fail(error)

    def _look(self, request: Request) -> None:
        """Prepare a request in a thread of its own, which ends by itself if nobody waits for it."""
        looking = threading.Thread(
            target=self._look_in_thread, args=(request,), name="weaviate-io-look", daemon=True
        )
        looking.start()
        self._flow.look()  # maybe after it has looked, but not where no thread can be had

    def _look_in_thread(self, request: Request) -> None:
        try:
            prepared = self._prepare(request)
        except BaseException as error:
            self._fail(error)
        else:
            self._answers.put(lambda: self._looked(request, *prepared))
        finally:
            self._flow.looked()

    def _prepare(self, request: Request) -> tuple[list[Outcome], Tally]:
        tally = Tally()
        with self._searching(tally) as search:
            return self._method.prepare(search, request, tally), tally

    def _fail(self, error: BaseException) -> None:
        """Have the owner raise what another thread met."""

        def fail() -> None:
            raise error

        self._answers.put(fail)

    def _looked(self, request: Request, outcomes: list[Outcome], tally: Tally) -> None:
        self.tally.add(tally)
        self._outcomes += outcomes
        request.is_prepared = True
        if len(request):
            self._send(request)
        else:
            self._open -= 1

    def _send(self, request: Request) -> None:
        self.tally.throttled_seconds += self._flow.acquire()
        self._cut_to_size(request)
        self._call(request)

    def _call(self, request: Request) -> None:
        """Start the call of a request that has its place in flight; maybe not in the owner's thread."""
        try:
            request.is_prepared = False  # for this try; what was cut off is still
            payload = join_request(request.contents, self._consistency_level)
            request.sent_bytes, request.sent_at = len(payload), time.monotonic()
            call = self._method.call(self._client, payload, self._flow.deadline(request.schema.makes_vectors))
        except BaseException:
            self._flow.release()
            raise
        for entry in () if request.block else request.entries:
            entry.attempts += 1
        call.add_done_callback(lambda done: self._answered(request, done))

    def _cut_to_size(self, request: Request) -> None:
        """Leave what is more than suits the server by now for a request of its own, to be sent next."""
        size = self.request_size(request.schema)
        if len(request) > size:
            rest = request.part(request.entries[size:])
            # Where the first part gets through, the server does not fail any more.
            rest.tries, rest.failing_since, rest.given_way = 0, 0.0, 0.0
            self._waiting.appendleft(rest)
            request.entries = request.entries[:size]

    def _answered(self, request: Request, call: Any) -> None:
        """Called by gRPC, in a thread of its own: the owner of the sender may be busy with other things.

        So the time is that of the answer, and what it shows of the server is known before the place is free.
        """
        seconds = time.monotonic() - request.sent_at
        answer: _Answer | Exception
        try:
            answer = self._learn(request, call, seconds)
        except Exception as error:  # gRPC would only log it, and the owner wait forever
            answer = error
        self._flow.release()
        self._answers.put(lambda: self._judge(request, call, answer, seconds))

    def _learn(self, request: Request, call: Any, seconds: float) -> _Answer:
        """Tell the flow what the answer shows of the server; returns what it says."""
        name, objects, vectorized = request.schema.name, len(request), request.schema.makes_vectors
        code = call.code()
        verdict = texts = None
        if code is grpc.StatusCode.OK:
            payload = call.result()
            texts = errors_by_index(payload, objects)
            is_full = NO_MEMORY.encode() in payload
            if not is_full:
                self._flow.finished(name, objects, seconds, vectorized)
                if texts is not None and len(texts) < objects:
                    taken = request.sent_at + seconds - request.opened_at
                    self._flow.depth.answered(request.company, objects - len(texts), taken)
        else:
            verdict = call_verdict(code, call.details() or "", status_details(call))
            is_full = verdict.reason == "out_of_memory"
        if is_full:
            self._flow.full(self.request_size(request.schema), seconds, self._pause)
        elif verdict in PUSH_BACK:
            self._flow.pushed_back(seconds)
        if code in _TIMED_OUT:
            self._flow.too_slow(name, objects, seconds, vectorized)
        return texts if verdict is None else verdict

    def _judge_next(self) -> None:
        """Wait for an answer or for the end of a pause, whichever comes first."""
        started = time.monotonic()
        timeout = None
        if self._waiting and self._open < self._limit:
            timeout = max(0.0, min(request.not_before for request in self._waiting) - started)
        try:
            judge = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.tally.throttled_seconds += time.monotonic() - started
            return
        judge()

    def _judge(self, request: Request, call: Any, answer: _Answer | Exception, seconds: float) -> None:
        self._open -= 1
        self.tally.requests += 1
        self.tally.bytes += request.sent_bytes
        self.tally.batch_sizes.append(len(request))
        self.tally.latencies_ms.append(int(seconds * 1000))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Verdict):
            fault = Fault(answer, self._client.redact(f"{call.code().name}: {call.details() or ''}"))
            self._judge_failed_call(request, fault)
        else:
            self._judge_reply(request, answer)

    def _judge_reply(self, request: Request, texts: Optional[dict[int, str]]) -> None:
        if texts == {} and request.block is not None and not request.schema.makes_vectors:
            self._outcomes.append(Outcome(request.schema, request.block, None))
            return
        if texts is None:
            verdict = Verdict(Meaning.POISON, "server_error")
            self._isolate(request, Fault(verdict, "the reply cannot be understood"))
            return
        redact = self._client.redact  # a model provider may quote the key that it refuses
        faults = {index: Fault(object_verdict(text), redact(text)) for index, text in texts.items()}
        taint = next((fault for fault in faults.values() if fault.verdict.meaning in _CONCERNS_ALL), None)
        stored: list[Entry] = []
        doubtful: list[Entry] = []
        blamed: list[tuple[Entry, Fault]] = []
        failing: list[tuple[Entry, Fault]] = []
        unindexed: list[Entry] = []
        for index, entry in enumerate(request.entries):
            fault = faults.get(index)
            if fault is None:
                (stored if taint is None else doubtful).append(entry)
            elif fault.verdict.meaning is Meaning.REFUSED:
                self._refuse(request.schema, entry, fault)
            elif fault.verdict.meaning in _CONCERNS_ALL:
                doubtful.append(entry)
            elif fault.verdict.meaning is Meaning.UNINDEXED:
                unindexed.append(entry)
                unindexed_fault = fault
            else:
                (blamed if fault.verdict.meaning is Meaning.BLAMED else failing).append((entry, fault))
        self._advance(request, stored)
        self._single_out(request, blamed)
        self._retry_objects(request, failing)
        if unindexed:
            self._retry_request(request.part(unindexed), unindexed_fault, in_doubt=True)
        if taint is None:
            return
        if taint.verdict.meaning is Meaning.POISON:
            self._isolate(request.part(doubtful), taint)
        else:
            self._retry_request(request.part(doubtful), taint, in_doubt=True)

    def _judge_failed_call(self, request: Request, fault: Fault) -> None:
        verdict = fault.verdict
        if verdict.reason == "unauthenticated" and self._client.renew_secrets(request.sent_at):
            self._retry_request(request, fault, in_doubt=False)
        elif verdict.meaning is Meaning.FATAL:
            raise WeaviateError(f"writing to {request.schema.name} failed: {fault.text}")
        elif verdict.meaning is Meaning.REFUSED:
            for entry in request.entries:
                self._refuse(request.schema, entry, fault)
        elif verdict.meaning is Meaning.TOO_LARGE:
            self._split_too_large(request, fault)
        elif verdict.meaning is Meaning.POISON:
            self._isolate(request, fault)
        elif verdict.meaning in OF_PROVIDER:
            self._retry_objects(request, [(entry, fault) for entry in request.entries])
        else:
            self._retry_request(request, fault, in_doubt=verdict.meaning is not Meaning.RETRY)

    def _advance(self, request: Request, entries: Sequence[Entry]) -> None:
        """Entries whose current step was acknowledged: on to the next one, or written."""
        made = request.schema.made_vectors
        if made and any(made - vector_names(entry.now) for entry in entries):
            self._flow.got_through(request.schema.name)
        going_on: list[Entry] = []
        finished: list[Entry] = []
        for entry in entries:
            if entry.then is None:
                finished.append(entry)
            else:
                entry.step, entry.then = entry.then, None
                going_on.append(entry)
        unsure = [entry for entry in finished if entry.is_unsure]
        if unsure:
            finished = [entry for entry in finished if not entry.is_unsure]
            with self._searching(self.tally) as search:
                found = self._method.check(search, request, unsure)
            self.tally.repaired += len(found.planned)
            going_on += found.planned
            finished += found.settled
            self._retry_objects(request, [(entry, _NOT_FOUND) for entry in found.missing])
        if going_on:
            next_step = request.part(going_on)
            next_step.failing_since = 0.0
            self._waiting.appendleft(next_step)
        self._finish(request, finished)

    def _finish(self, request: Request, entries: Sequence[Entry]) -> None:
        if entries:
            self._outcomes.append(outcome_of(request.schema, entries, None))

    @contextmanager
    def _searching(self, tally: Tally) -> Iterator[Search]:
        """Search, in any number of threads until the block ends; what they waited at the same time counts once."""
        waits: defaultdict[int, float] = defaultdict(float)  # by thread
        is_over = threading.Event()

        def waited(seconds: float) -> None:
            if is_over.is_set():
                raise SearchRefused("abandoned", "another search of the request failed")
            waits[threading.get_ident()] += seconds

        try:
            yield lambda search: self._search(search, waited)
        finally:
            is_over.set()
            tally.throttled_seconds += max(list(waits.values()), default=0.0)

    def _search(self, search: Any, waited: Callable[[float], None]) -> Any:
        """Search until an answer comes or the budget is spent, which is the search's own."""
        try:
            return search_until(self._client, search, time.monotonic() + self._budget, self._pause, waited)
        except SearchRefused as error:
            raise SearchRefused(
                error.reason,
                f"{error}; verify='off' and check_targets=False read only what has to be repaired",
            ) from None

    def _retry_objects(self, request: Request, failing: Sequence[tuple[Entry, Fault]]) -> None:
        """Send single objects again; what keeps failing until its tries or the budget are spent is given up."""
        if not failing:
            return
        self._patience.begin(request)
        alike: dict[Meaning, list[tuple[Entry, Fault]]] = {}
        for entry, fault in failing:
            alike.setdefault(fault.verdict.meaning, []).append((entry, fault))
        for meaning, group in alike.items():
            pause = self._patience.pause_for(request, group[0][1])
            again: list[Entry] = []
            for entry, fault in group:
                entry.unclear += meaning is Meaning.UNCLEAR
                if pause is None or entry.unclear >= _UNCLEAR_TRIES:
                    if fault is _NOT_FOUND and request.schema.replicated:
                        # Acknowledged as the user asked for, by others than the replica that does not find it.
                        self._finish(request, [entry])
                        continue
                    self._patience.check_given_up(request, fault)
                    self._refuse(request.schema, entry, fault)
                else:
                    again.append(entry)
            for entries in _halves(again) if self._is_suspect(request, meaning) else (again,):
                if entries and pause is not None:
                    self._send_again(request.part(entries), group[0][1], pause, meaning in _MAY_BE_STORED)

    @staticmethod
    def _is_suspect(request: Request, meaning: Meaning) -> bool:
        """Whether one object of a request may be what a model provider fails at."""
        return meaning is Meaning.PROVIDER_DOWN and request.tries + 1 >= _WHOLE_TRIES

    def _retry_request(self, request: Request, fault: Fault, in_doubt: bool) -> None:
        """Send a whole request again; when the budget is spent, the server is away and the job fails."""
        self._patience.begin(request)
        if fault.verdict.reason == "out_of_memory" and self._flow.had_memory(request.failing_since):
            self._patience.give_way(request)
        # What was given up goes on in the server. If it stored its objects between the two steps of their
        # repair, the second step would find nothing changed, and the index would not learn of them.
        pause = self._patience.pause(request, self._flow.settling_time() if in_doubt else 0.0)
        if pause is None:
            raise WeaviateError(
                f"writing to {request.schema.name} failed for {self._budget:.0f} s, last with {fault.text[:500]} "
                f"({fault.verdict.reason}); run the job again when the server is well"
            )
        self._send_again(request.part(request.entries), fault, pause, in_doubt)

    def _send_again(self, request: Request, fault: Fault, pause: float, in_doubt: bool) -> None:
        self._patience.count(request, fault, pause)
        self.tally.retries += 1
        if in_doubt:
            self.tally.unknown_outcomes += 1
            self.tally.repaired += self._method.doubt(request)
        request.not_before = time.monotonic() + pause
        self._waiting.append(request)

    def _single_out(self, request: Request, blamed: Sequence[tuple[Entry, Fault]]) -> None:
        """Objects of a call that a model provider refused: halve them until the culprit stands alone."""
        if len(blamed) > 1:
            self._split(request.part([entry for entry, _ in blamed]), unexplained=0)
            return
        for entry, fault in blamed:
            self._patience.check_refused(request, fault)
            self._refuse(request.schema, entry, fault)

    def _isolate(self, request: Request, fault: Fault) -> None:
        """A request that fails as a whole: try again, then halve it until the culprit stands alone."""
        request.unexplained += 1
        if request.unexplained < _UNEXPLAINED_TRIES:
            self._retry_request(request, fault, in_doubt=True)
        elif len(request.entries) == 1:
            self._refuse(request.schema, request.entries[0], fault)
        else:
            self.tally.repaired += self._method.doubt(request)
            self._split(request, unexplained=_UNEXPLAINED_TRIES - 1)

    def _split_too_large(self, request: Request, fault: Fault) -> None:
        limit = _LIMIT.search(fault.text)
        self._flow.too_large(int(limit[1]) if limit else request.size // 2)
        if len(request.entries) == 1:
            self._refuse(request.schema, request.entries[0], fault)
        else:
            self._split(request, unexplained=0)

    def _split(self, request: Request, unexplained: int) -> None:
        self.tally.splits += 1
        for entries in reversed(_halves(request.entries)):
            part = request.part(entries)
            # One that is alone now is judged by itself, not by what its neighbours did.
            part.unexplained = unexplained if len(entries) > 1 else 0
            self._waiting.appendleft(part)

    def _refuse(self, schema: CollectionSchema, entry: Entry, fault: Fault) -> None:
        failure = Failure(fault.verdict.reason, fault.text, entry.attempts)
        self._outcomes.append(outcome_of(schema, [entry], failure))


def _halves(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    half = len(entries) // 2
    return entries[:half], entries[half:]
