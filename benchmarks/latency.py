"""The rate with 50 ms between client and server beside that without, and the memory that it takes.

The same pipeline with its default settings, look-ups included, to a server that costs nothing and answers at once
or after 50 ms. Pairs alternate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.contestants import run
from benchmarks.null import NullServer
from benchmarks.processes import Cost, alternate, kept, median
from benchmarks.report import Figure, report

DELAY_MS = 50
FORMS = {"dicts": 3, "record batches": 10}
"""How many times as many objects each loads: it should take ten seconds or more, lest its first round trips count."""

MOST_IN_FLIGHT_MB = 150
"""What 16 requests of 4 MB take, as they are kept and as they are sent, with something for the allocator."""


def main() -> int:
    """Run pairs without and with the delay, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--objects", type=int, default=400_000, help="objects of a load")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with NullServer() as near, NullServer(delay_ms=DELAY_MS) as far:
        contestants = {}
        for form, times in FORMS.items():
            contestants[f"{form}, 0 ms"] = _load(form, times * given.objects, near)
            contestants[f"{form}, {DELAY_MS} ms"] = _load(form, times * given.objects, far)
        rounds = alternate(contestants, given.rounds)
    figures = []
    for form in FORMS:
        pairs = [(costs[f"{form}, 0 ms"], costs[f"{form}, {DELAY_MS} ms"]) for costs in rounds]
        name = form.replace(" ", "_")
        share = median(f"{name}_rate_at_{DELAY_MS}_ms", [100 * far.rate / near.rate for near, far in pairs])
        more = median(f"{name}_memory_for_{DELAY_MS}_ms", [far.peak_mb - near.peak_mb for near, far in pairs])
        figures += [
            Figure(f"{name}_rate_at_{DELAY_MS}_ms", share, "percent of that at 0 ms", 90, at_least=True),
            Figure(f"{name}_memory_for_{DELAY_MS}_ms", more, "MB", MOST_IN_FLIGHT_MB),
        ]
    return report("latency", figures, {"rounds": kept(rounds)})


def _load(form: str, objects: int, server: NullServer) -> Callable[[], Cost]:
    return lambda: run(form, objects, server.url, server.grpc_url)


if __name__ == "__main__":
    sys.exit(main())
