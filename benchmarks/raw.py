"""Objects on their way without Beam and without the connector's sender: nothing but requests and their answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import grpc

from weaviate_io import proto
from weaviate_io.encoding import join_request
from weaviate_io.flow import MAX_BYTES, MAX_OBJECTS
from weaviate_io.request import Entry


def limits() -> tuple[int, int]:
    """The most objects, and the most bytes, that a write puts into a request."""
    return MAX_OBJECTS, MAX_BYTES


def requests_of(entries: Sequence[Entry], size: int) -> list[bytes]:
    """Requests of so many objects each."""
    return [join_request(entries[start : start + size]) for start in range(0, len(entries), size)]


def send(requests: Iterable[bytes], in_flight: int, grpc_url: str) -> None:
    """Send requests, so many at once, and wait for all answers."""
    places = threading.Semaphore(in_flight)
    replies = []
    with grpc.insecure_channel(grpc_url, [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(proto.BATCH_OBJECTS)
        for request in requests:
            places.acquire()
            reply = call.future(request, timeout=300)
            reply.add_done_callback(lambda _: places.release())
            replies.append(reply)
        if any(proto.BatchObjectsReply.FromString(reply.result()).errors for reply in replies):
            raise SystemExit("objects failed")
