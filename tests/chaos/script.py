"""What goes wrong during a chaos import: a script made of a seed, and the hand that carries it out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from weaviate_io.testing import FaultProxy, WeaviateServer

SERVER = ("kill", "kill", "pause", "stop")
NETWORK = ("reset", "reset replies", "latency", "bandwidth")
WORKER = ("kill worker", "kill worker")
SILENCE = "silence"  # what was sent is lost without a word: it is missed only after the deadline of 90 seconds
_PER_ROUND = 10_000  # objects; each of the above happens once for so many


class Fault(NamedTuple):
    """One fault.

    ``at`` is the share of the import's bytes that have gone by, ``wait`` the seconds from then on; ``seconds`` is how
    long it lasts, ``target`` the node or the worker.
    """

    at: float
    wait: float
    kind: str
    seconds: float
    target: int

    def __str__(self) -> str:
        if self.kind in ("stop", "kill worker", "reset"):
            return f"{self.kind} {self.target}"
        return f"{self.kind} {self.target} for {self.seconds:.1f} s"


class Injected(NamedTuple):
    """A fault that happened, with ``time.monotonic()`` of its begin and end."""

    fault: Fault
    begin: float
    end: float


def script_of(seed: int, objects: int, nodes: int, workers: int, silence: bool) -> list[Fault]:
    """The faults of an import, in order. With several nodes they are hurt in turn."""
    chance = random.Random(seed)
    kinds = [*SERVER, *NETWORK, *WORKER] * max(1, objects // _PER_ROUND) + [SILENCE] * silence
    chance.shuffle(kinds)
    places = sorted(chance.uniform(0.02, 0.9) for _ in kinds)
    faults = []
    hurt = chance.randrange(nodes)
    for at, kind in zip(places, kinds, strict=True):
        hurt = (hurt + (kind in SERVER)) % nodes
        target = hurt if kind in SERVER else chance.randrange(workers) if kind in WORKER else 0
        faults.append(Fault(at, chance.uniform(0, 0.5), kind, chance.uniform(0.2, 4.0), target))
    return faults


LAST = Fault(1.0, 0.0, "kill", 0.5, 0)
"""The server is killed once more when the import has just ended, and no later write saves what it had not logged."""


def kill(server: WeaviateServer, fault: Fault) -> None:
    """End a node at once, and start it again after some time."""
    server.kill(fault.target)
    time.sleep(fault.seconds)
    server.restart(fault.target)


class Injector(threading.Thread):
    """Carries out a script while an import goes on.

    Args:
      script: what to do.
      server: the server to hurt.
      proxy: the network to hurt.
      kill_worker: kills the worker of a number.
      total: bytes of the import.
      over: tells that the import has ended, after which nothing more is done.
    """

    def __init__(
        self,
        script: list[Fault],
        server: WeaviateServer,
        proxy: FaultProxy,
        kill_worker: Callable[[int], None],
        total: int,
        over: threading.Event,
    ) -> None:
        super().__init__(name="chaos", daemon=True)
        self._script = script
        self._server = server
        self._proxy = proxy
        self._kill_worker = kill_worker
        self._total = total
        self._over = over
        self.injected: list[Injected] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for fault in self._script:
                while self._proxy.bytes_up < fault.at * self._total:
                    if self._over.wait(0.01):
                        return
                if self._over.wait(fault.wait):
                    return
                begin = time.monotonic()
                self._do(fault)
                self.injected.append(Injected(fault, begin, time.monotonic()))
        except BaseException as error:
            self.error = error

    def _do(self, fault: Fault) -> None:
        server, proxy, seconds = self._server, self._proxy, fault.seconds
        if fault.kind == "kill":
            kill(server, fault)
        elif fault.kind == "stop":
            server.stop(fault.target)
            server.restart(fault.target)
        elif fault.kind == "pause":
            server.pause(fault.target)
            time.sleep(seconds)
            server.resume(fault.target)
        elif fault.kind == "kill worker":
            self._kill_worker(fault.target)
        elif fault.kind == "reset":
            proxy.reset_all()
        elif fault.kind == "reset replies":
            proxy.reset_replies = True
            time.sleep(min(seconds, 1.0))
            proxy.reset_replies = False
        elif fault.kind == "latency":
            proxy.latency = 0.2
            time.sleep(seconds)
            proxy.latency = 0.0
        elif fault.kind == "bandwidth":
            proxy.bandwidth = 200_000
            time.sleep(seconds)
            proxy.bandwidth = None
        elif fault.kind == SILENCE:
            proxy.mode = "blackhole"
            time.sleep(seconds)
            proxy.mode = "pass"
