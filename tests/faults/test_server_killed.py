"""A real server is killed, frozen or restarted under a whole pipeline; all is found in the end, by vector too."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.faults.trial import Trial
from weaviate_io.client import Client
from weaviate_io.testing import WeaviateServer

pytestmark = pytest.mark.server
COUNT = 400
OPTIONS = {"batch_size": 20, "verify": "all"}


class Hurt:
    """Hurts the server before one batch, and lets it come back once that was felt."""

    def __init__(self, server: WeaviateServer, way: str, at: int) -> None:
        self._server, self._way, self._at = server, way, at
        self.is_hurt = self.is_back = False
        self._lock = threading.Lock()  # look-ups pause in threads of their own

    def before(self, number: int) -> None:
        if number == self._at:
            getattr(self._server, self._way)()
            self.is_hurt = True

    def pause(self, tries: int) -> float:
        with self._lock:
            if self.is_hurt and not self.is_back:
                self._server.resume() if self._way == "pause" else self._server.restart()
                self.is_back = True
        return 0.2


@pytest.mark.parametrize(("way", "seed"), [("kill", 3), ("kill", 17), ("stop", 5), ("pause", 7)])
def test_a_server_that_comes_back_has_everything(
    write: Any,
    own_server: WeaviateServer,
    sending: Callable[..., None],
    before_batch: Any,
    shortest_deadline: Any,
    way: str,
    seed: int,
) -> None:
    """Of a kill, what was acknowledged right before may be lost from the index: a second run repairs it."""
    hurt = Hurt(own_server, way, at=random.Random(seed).randrange(2, COUNT // 20 - 1))
    if way == "pause":
        shortest_deadline(2.0)
    one = Trial(write, own_server, **OPTIONS)
    sending(pause=hurt.pause)
    before_batch(hurt.before)
    done = one.run(range(COUNT))
    assert hurt.is_back and not done.failed
    if way == "kill":
        one.run(range(COUNT))
    one.check()


def test_a_short_freeze_costs_nothing(
    write: Any, own_server: WeaviateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on before any deadline: nothing is sent twice."""
    original, calls = Client.batch_objects, []

    def batch_objects(self: Client, request: bytes, timeout: float) -> Any:
        calls.append(request)
        if len(calls) != 5:
            return original(self, request, timeout)
        own_server.pause()
        call = original(self, request, timeout)
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(timeout=1.0)
        own_server.resume()
        return call

    monkeypatch.setattr(Client, "batch_objects", batch_objects)
    one = Trial(write, own_server, batch_size=20, verify="off")
    done = one.run(range(COUNT))
    one.check()
    assert not done.counters.get("retries") and done.counters["requests"] == COUNT // 20 == len(calls)


def test_a_server_that_stays_frozen_fails_the_job_and_not_a_single_object(
    write: Any, own_server: WeaviateServer, sending: Any, before_batch: Any, shortest_deadline: Any
) -> None:
    shortest_deadline(1.0)
    sending(budget=2.0, pause=lambda tries: 0.1)
    one = Trial(write, own_server, batch_size=20)
    before_batch(lambda number: own_server.pause() if number == 5 else None)
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
        one.run(range(COUNT))
    own_server.resume()
    assert not one.run(range(COUNT)).failed
    one.check()
