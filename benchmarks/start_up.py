"""What it takes to begin: the import beside that of Beam, and the round trips before the first object is sent.

The import is timed in processes of their own, since a module is imported once; ``import weaviate_io`` alone, and
with what a write needs. The figure is CPU, as an import of files that were read before waits for nothing else. The
calls are counted by the server: a job writes one object into each of a few collections, and what a collection costs is
the difference to a job with one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.null import NullServer
from benchmarks.processes import median
from benchmarks.report import Figure, report
from weaviate_io import WriteToWeaviate
from weaviate_io.testing.binary import cache_folder

PROCESSES = 7
COLLECTIONS = 11
_TIMED = """
import json, time
import apache_beam
started, cpu = time.perf_counter(), time.process_time()
{statement}
print(json.dumps([1000 * (time.perf_counter() - started), 1000 * (time.process_time() - cpu)]))
"""
STATEMENTS = {
    "import": "import weaviate_io",
    "import_of_a_write": "from weaviate_io import WriteToWeaviate",
}


def import_ms(statement: str) -> tuple[float, float]:
    """Milliseconds of wall clock and of CPU that a statement takes once Beam is imported."""
    # Compiled beforehand, as an installed package is.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache_folder() / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _TIMED.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu


def calls(collections: int) -> dict[str, int]:
    """What a server is asked by a job that writes one object into each of so many collections."""
    rows = [{"collection": f"Article{number}", "title": "Dune"} for number in range(collections)]
    with NullServer() as server:
        write = WriteToWeaviate(
            lambda row: row["collection"],
            url=server.url,
            grpc_url=server.grpc_url,
            unknown_properties="drop",
            verify="off",  # looks at objects that are about to be sent, not at the collection
        )
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            pipeline | beam.Create(rows, reshuffle=False) | write
        asked = server.taken()
    if asked["requests"] != collections:
        raise SystemExit(f"{collections} collections took {asked['requests']} requests")
    return asked


def main() -> int:
    """Time the imports in turn, and count the calls."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        import_ms(statement)
    for _ in range(PROCESSES):
        for name, statement in STATEMENTS.items():
            times[name].append(import_ms(statement))
    figures = []
    for name, pairs in times.items():
        median(f"{name}, ms of wall clock", [wall for wall, _ in pairs])
        figures.append(Figure(name, median(f"{name}, ms", [cpu for _, cpu in pairs]), "ms of CPU", 50))
    one, many = calls(1), calls(COLLECTIONS)
    each = sum(many[kind] - one[kind] for kind in ("searches", "descriptions")) / (COLLECTIONS - 1)
    print(f"one collection: {one}; {COLLECTIONS} collections: {many}")
    figures.append(Figure("probes_of_a_process", max(many["meta"], many["checks"]), "of each address", 1))
    figures.append(Figure("round_trips_of_a_collection", each, "calls", 2))
    measured: dict[str, Any] = {"ms_of_wall_and_cpu": times, "calls": {1: one, COLLECTIONS: many}}
    return report("start_up", figures, measured)


if __name__ == "__main__":
    sys.exit(main())
