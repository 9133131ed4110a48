"""Latency and throughput of unbounded input on Prism and Flink, into a fake server: ``make bench-streams``.

Latency is the time from when the source hands out an object to when ``written`` tells of it, at a gentle rate; with
``max_buffering_duration_secs`` as it is by default, 1 second. Throughput is that of a source that does not pause.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from apache_beam.transforms.window import FixedWindows

from tests.runners import job
from tests.runners.outcome import kept
from tests.runners.places import FLINK, PRISM, Place
from tests.runners.provision import NotToBeHad
from tests.runners.whole import SCHEMA
from weaviate_io import WriteToWeaviate
from weaviate_io.testing import FakeWeaviate

STREAMING = {"prism": ("--streaming",), "flink": ("--streaming", job.ENDS)}


def seconds(place: Place, count: int, step: int, pause: float) -> tuple[list[float], float]:
    """Of one run: how long each object took, and from the first to the last outcome."""
    with FakeWeaviate() as fake, tempfile.TemporaryDirectory() as folder:
        fake.create_collection(SCHEMA)
        transform = WriteToWeaviate(
            job.COLLECTION, url=fake.url, grpc_url=fake.grpc_url, id_field="title", vector_field="vector"
        )
        pipeline = place.runner().pipeline(*STREAMING[place.name])
        job.write(pipeline | job.Numbers(count, step, pause), folder, transform, FixedWindows(100))
        pipeline.run().wait_until_finish()
        taken = {float(number): at for (number, at), *_ in kept(Path(folder) / "taken")}
        done = {timestamp: at for _, timestamp, _, at in kept(Path(folder) / "written")}
    missing = [n for n in range(count) if n % 10 != 3 and n not in done]
    if missing:
        raise RuntimeError(f"{place.name}: {len(missing)} of {count} objects did not come out")
    return [at - taken[n] for n, at in done.items()], max(done.values()) - min(taken.values())


def main() -> None:
    """Print the figures of both runners."""
    for place in (PRISM, FLINK):
        seconds(place, 20, 10, 0.0)  # warm
        latencies, _ = seconds(place, 600, 5, 0.1)
        middle, high = statistics.median(latencies), float(np.quantile(latencies, 0.99))
        _, whole = seconds(place, 20_000, 500, 0.0)
        print(
            f"{place.name}: latency p50 {middle:.2f} s, p99 {high:.2f} s, max {max(latencies):.2f} s; "
            f"throughput {20_000 / whole:,.0f} objects/s",
            flush=True,
        )


if __name__ == "__main__":
    try:
        main()
    except NotToBeHad as error:
        sys.exit(str(error))
