"""A search that outlives what passes: a server that restarts, is overloaded, or asks for patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from weaviate_io.client import Client
from weaviate_io.errors import Meaning, SearchRefused, call_verdict
from weaviate_io.outcome import status_details
from weaviate_io.request import pause_after


def search_until(
    client: Client,
    wanted: Any,
    give_up_at: float,
    pause: Callable[[int], float] = pause_after,
    on_pause: Callable[[float], None] = lambda seconds: None,
) -> Any:
    """The ``SearchReply`` to a ``SearchRequest``, tried again until ``time.monotonic()`` is ``give_up_at``.

    Args:
      client: the open connection.
      wanted: the request.
      give_up_at: the time of the last try.
      pause: seconds to wait before the next try, of the number of failed ones.
      on_pause: takes the seconds of every wait.

    Raises:
      SearchRefused: no other try makes it succeed, or the time is up.
    """
    tries = 0
    while True:
        try:
            return client.search(wanted)
        except grpc.RpcError as error:
            text = client.redact(f"{error.code().name}: {error.details()}")
            verdict = call_verdict(error.code(), error.details() or "", status_details(error))
        seconds = pause(tries)
        # Of many objects one may spoil a request; a search is refused as a whole.
        for_good = verdict.meaning in (Meaning.FATAL, Meaning.REFUSED) or (
            verdict.meaning is Meaning.POISON and verdict.reason != "server_error"
        )
        if for_good or time.monotonic() + seconds > give_up_at:
            raise SearchRefused(verdict.reason, f"reading from {wanted.collection} failed: {text}")
        on_pause(seconds)
        time.sleep(seconds)
        tries += 1
