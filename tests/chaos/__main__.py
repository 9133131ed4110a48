"""`make chaos`: an import whose server, network and workers are killed, paused and cut off, and what is left of it.

Workers in processes of their own import objects into a real server, through a bad network, while a script made of a
seed hurts all three; a worker that died is started again. Then the oracle judges, the import is run once more in
peace, as the guide says to do after a server was killed, and the oracle judges again.

One thing is known to go wrong and is told apart (:mod:`tests.chaos.gaps`): what an index misses that was just written
when the server was killed, which no client can know. So the last thing that happens to each import is such a kill.
Whatever else is wrong then, and anything at all after the rerun, is a problem: exit code 1.

With three nodes each has a replica, and is judged, once the server has made them equal. The rerun repairs unasked.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests

from tests.chaos.gaps import Kill, tell_apart
from tests.chaos.importer import (
    COLLECTION,
    LENGTHS,
    Plan,
    description,
    is_bad,
    kept_slices,
    objects_of,
    requests_in,
    slices_of,
)
from tests.chaos.script import LAST, Injected, Injector, kill, script_of
from tests.oracle.judge import Verdict, judge, places_of
from tests.oracle.places import Key
from tests.oracle.settling import settle
from weaviate_io.testing import FaultProxy, WeaviateServer
from weaviate_io.testing.process import free_ports

WORKERS = 2
LEVELS = ("ONE", "QUORUM", "ALL")
OBJECTS = {1: 20_000, 3: 2_000}  # by the number of nodes, unless told otherwise
SETTLING = 180.0  # seconds in which replicas must become equal
_TOLD = ("requests", "retries", "unknown_outcomes", "repaired", "unindexed", "verified")


class Late(Exception):
    """The import did not end in time."""


class Chaos:
    """One chaos import.

    Args:
      server: the server.
      seed: of rows and faults.
      objects: how many.
      give_up: ``time.monotonic()`` at which it is too late.
      consistency_level: of the writes, with three nodes.
      silence: whether the network may lose what was sent without a word.
      debug_url: address of the server's debug listener.
    """

    def __init__(
        self,
        server: WeaviateServer,
        seed: int,
        objects: int,
        give_up: float,
        consistency_level: str | None = None,
        silence: bool = False,
        debug_url: str | None = None,
    ) -> None:
        self._server = server
        self._seed = seed
        self._objects = objects
        self._give_up = give_up
        self._level = consistency_level
        self._debug_url = debug_url
        self._silence = silence
        self._workers: list[subprocess.Popen[bytes]] = []
        self.sent = [one for number in slices_of(objects) for one in objects_of(seed, number, objects)]
        self.bad = {Key(COLLECTION, "", str(one.uuid)) for place, one in enumerate(self.sent) if is_bad(place)}

    def run(self) -> list[str]:
        """Import, judge, import again, judge again; gives what is wrong."""
        factor = len(self._server.urls)
        requests.delete(f"{self._server.url}/v1/schema/{COLLECTION}", timeout=60)
        answer = requests.post(f"{self._server.url}/v1/schema", json=description(factor), timeout=60)
        answer.raise_for_status()
        hurt = self._import("import", "existing", with_faults=True)
        peaceful = self._import("rerun", "existing" if factor == 1 else "repair", with_faults=False)
        return [f"after the import: {one}" for one in hurt.problems] + [
            f"after the rerun: {one}" for one in peaceful.problems
        ]

    def _import(self, name: str, verify: str, with_faults: bool) -> Verdict:
        started = time.monotonic()
        over = threading.Event()
        with tempfile.TemporaryDirectory() as temporary, FaultProxy(self._server.grpc_url) as proxy:
            folder = Path(temporary)
            script = (
                script_of(self._seed, self._objects, len(self._server.urls), WORKERS, self._silence)
                * with_faults
            )
            total = self._objects * 4 * sum(LENGTHS.values())
            injector = Injector(script, self._server, proxy, self._kill_worker, total, over)
            injector.start()
            try:
                starts = self._work(folder, proxy.address, verify, injector)
            finally:
                over.set()
                injector.join()
                for worker in self._workers:
                    worker.kill()
                    worker.wait()
            injected = list(injector.injected)
            if with_faults:
                begin = time.monotonic()
                kill(self._server, LAST)
                injected.append(Injected(LAST, begin, time.monotonic()))
            done = kept_slices(folder).values()
            written = [key for one in done for key in one.written]
            failed = [key for one in done for key in one.failed]
            acknowledged = requests_in(folder)
        seconds = time.monotonic() - started
        counters: Counter[str] = Counter()
        for one in done:
            counters.update(one.counters)
        print(f"  {name}: {seconds:.0f} s, {starts} starts of {WORKERS} workers")
        for one in injected:
            print(f"    {one.begin - started:6.1f} s: {one.fault}")
        if len(injector.injected) < len(script):
            print(f"    {len(script) - len(injector.injected)} faults found the import ended")
        told = [*_TOLD, *sorted(key for key in counters if key.startswith("failed_"))]
        print("  " + ", ".join(f"{key} {counters[key]:,}" for key in told))
        places = places_of(self._server, self._debug_url)
        if len(places) > 1:
            print(f"  {settle(places, COLLECTION, SETTLING)}")
        verdict = judge(places, self.sent, written, failed, "number")
        verdict.add("failed, or not, against expectation", "outputs", self.bad ^ set(failed))
        kills: dict[str, list[Kill]] = defaultdict(list)
        for one in injected:
            if one.fault.kind == LAST.kind:
                kills[f"node{one.fault.target + 1}"].append(Kill(one.begin, one.end))
        tell_apart(verdict, acknowledged, kills, replicas=len(places))
        print("  " + str(verdict).replace("\n", "\n  "), flush=True)
        return verdict

    def _work(self, folder: Path, grpc_url: str, verify: str, injector: Injector) -> int:
        """Run workers until all slices are kept; gives how often one was started."""
        slices = slices_of(self._objects)
        starts = 0
        self._workers.clear()
        mine = [list(slices[number::WORKERS]) for number in range(WORKERS)]
        plans = [
            Plan(str(folder), self._seed, self._objects, some, self._server.url, grpc_url, self._level, verify)
            for some in mine
        ]
        for plan in plans:
            self._workers.append(_start(plan))
            starts += 1
        while True:
            for number, worker in enumerate(self._workers):
                if worker.poll() not in (None, 0):
                    self._workers[number] = _start(plans[number])
                    starts += 1
            if all(worker.poll() == 0 for worker in self._workers):
                return starts
            if injector.error:
                raise injector.error
            if time.monotonic() > self._give_up:
                done = len(list(folder.glob("*.slice")))
                raise Late(f"{done} of {len(slices)} parts were done in time; {_last_words(folder)}")
            time.sleep(0.1)

    def _kill_worker(self, number: int) -> None:
        self._workers[number].kill()


def _start(plan: Plan) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.importer", json.dumps(plan._asdict())]
    with open(Path(plan.folder) / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _last_words(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").split("\n")
    return next((f"last in the log: {line[:500]}" for line in reversed(lines) if line), "no word in the log")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chaos import as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of rows and faults (default: any)")
    parser.add_argument("--objects", type=int, help="of each import (default: 20,000, with three nodes 2,000)")
    parser.add_argument("--seconds", type=float, default=1800, help="after which it has failed (default: 1800)")
    parser.add_argument(
        "--nodes", type=int, choices=(1, 3), default=1, help="3: three replicas, at each consistency level"
    )
    parser.add_argument("--level", choices=LEVELS, help="with three nodes: the only one (default: all)")
    parser.add_argument("--short", action="store_true", help="4,000 objects, and no fault that takes long")
    options = parser.parse_args(arguments)
    objects = 4000 if options.short else options.objects or OBJECTS[options.nodes]
    levels = (None,) if options.nodes == 1 else (options.level,) if options.level else LEVELS
    give_up = time.monotonic() + options.seconds
    wrong = _run(options.seed, objects, options.nodes, levels, give_up, silence=not options.short)
    print(f"seed {options.seed}: " + ("\n  ".join([f"{len(wrong)} problems", *wrong]) if wrong else "all well"))
    return 1 if wrong else 0


def _run(
    seed: int, objects: int, nodes: int, levels: Sequence[str | None], give_up: float, silence: bool
) -> list[str]:
    environment: dict[str, Any] = {}
    debug_url = None
    if nodes == 1:
        port = free_ports().rest
        debug_url = f"http://127.0.0.1:{port}"
        environment = {
            "DEBUG_ENDPOINTS_ENABLED": "true",
            "GO_PROFILING_DISABLE": "false",
            "GO_PROFILING_PORT": str(port),
        }
    wrong = []
    with WeaviateServer(nodes=nodes, environment=environment) as server:
        for level in levels:
            told = f"{nodes} nodes at {level}" if level else "1 node"
            print(
                f"{told}: seed {seed}, {objects:,} objects, Weaviate {server.version}, "
                f"Beam {version('apache-beam')}, grpcio {version('grpcio')}, Python {platform.python_version()}",
                flush=True,
            )
            chaos = Chaos(server, seed, objects, give_up, level, silence and nodes == 1, debug_url)
            try:
                wrong += [f"{told}, {one}" for one in chaos.run()]
            except Late as error:
                wrong.append(f"{told}: {error}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
