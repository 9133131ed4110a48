"""Elements that come one by one: how long until each is acknowledged, and what it costs.

1,000 elements a second, ten in a bundle, go through Prism into a server that costs nothing, beside a pipeline that has
nothing but Beam's ``GroupIntoBatches`` and a call. The CPU is that of the Python process, without Prism's. Below that,
for bounded input, are the ways to make batches side by side, without their source, which is run alone as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam

from benchmarks.contestants import BATCHINGS, run
from benchmarks.null import NullServer
from benchmarks.processes import alternate, kept, median
from benchmarks.report import Figure, report
from benchmarks.streams import STREAMS
from weaviate_io.testing.binary import cache_folder

PLAIN, OURS = "plain GroupIntoBatches", "ours"
SOURCE = "source of dicts"


def prism(given: str | None) -> str:
    """The path of Prism: what was given, or what is in the cache."""
    path = Path(given or cache_folder() / "runners" / f"prism-{beam.__version__}" / "prism")
    if not path.exists():
        module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}"
        raise SystemExit(f"no Prism at {path}: give --prism, the path of what `go install {module}` builds")
    return str(path)


def stream(name: str, elements: int, prism: str) -> dict[str, Any]:
    """Run one stream in a process of its own."""
    with NullServer() as server:
        command = [sys.executable, "-m", "benchmarks.streams", name, str(elements), prism]
        done = subprocess.run([*command, server.url, server.grpc_url], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        measured = json.loads(done.stdout.splitlines()[-1])
        times = sorted(measured.pop("milliseconds"))
        measured["mean_ms"] = statistics.mean(times)
        measured["p99_ms"] = times[int(0.99 * len(times))]
        measured["batch"] = elements / server.taken()["requests"]
        return measured


def streams(elements: int, rounds: int, prism: str) -> list[dict[str, Any]]:
    """Every stream in turn."""
    done = []
    for number in range(rounds):
        measured = {}
        for name in STREAMS:
            measured[name] = one = stream(name, elements, prism)
            times = f"mean {one['mean_ms']:5.0f} ms, 99 of 100 within {one['p99_ms']:5.0f} ms"
            cost = f"{one['cpu_us']:5.0f} us of CPU, {one['batch']:3.0f} in a request"
            print(f"round {number + 1}: {name:24} {times}, {cost}", flush=True)
        done.append(measured)
    return done


def main() -> int:
    """Stream, and write bounded input, in rounds."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--elements", type=int, default=15_000, help="of a stream")
    options.add_argument("--objects", type=int, default=50_000, help="of bounded input")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--prism", help="path of Beam's local runner")
    given = options.parse_args()
    streamed = streams(given.elements, given.rounds, prism(given.prism))
    with NullServer() as server:
        loads = {
            name: lambda name=name: run(name, given.objects, server.url, server.grpc_url)
            for name in (SOURCE, *BATCHINGS)
        }
        bounded = alternate(loads, given.rounds)
    figures = []
    for name in ("mean_ms", "p99_ms", "cpu_us"):
        ratios = [measured[OURS][name] / measured[PLAIN][name] for measured in streamed]
        figures.append(Figure(f"stream_{name}_of_plain", median(name, ratios), "ratio", 1.25))
    bundle, ours, own = (
        median(name, [costs[name].cpu_us - costs[SOURCE].cpu_us for costs in bounded]) for name in BATCHINGS
    )
    figures.append(Figure("bounded_cpu_in_bundles_of_own_batches", bundle / own, "ratio", 1))
    figures.append(Figure("bounded_cpu_of_our_batches_of_own_batches", ours / own, "ratio", 1))
    return report("streaming", figures, {"streams": streamed, "bounded": kept(bounded)})


if __name__ == "__main__":
    sys.exit(main())
