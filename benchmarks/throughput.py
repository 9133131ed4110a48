"""Objects through a whole pipeline to a server that costs nothing, beside the official client.

All contestants have the same objects (768 float32 and three properties). They run one after the other in
processes of their own, in rounds, so that each sees the same machine; ratios are taken within a round. The CPU
of the pipeline is without that of its source, which is run alone as well; its rate is with the source.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict

from benchmarks.contestants import CONTESTANTS, Cost, run
from benchmarks.null import NullServer
from benchmarks.report import Figure, report

OFFICIAL_SHARE = 0.1
"""Share of the objects that the official client gets, which takes so much longer."""

_Round = dict[str, Cost]


def best_batch(costs: _Round) -> tuple[float, float]:
    """The best of the official client's batch settings: most objects per second, least CPU per object."""
    settings = [cost for name, cost in costs.items() if name.startswith(("official fixed", "official dyn"))]
    return max(cost.rate for cost in settings), min(cost.cpu_us for cost in settings)


def rate_of_batch(name: str) -> Callable[[_Round], float]:
    """How many times as fast as the official batch a contestant is."""
    return lambda costs: costs[name].rate / best_batch(costs)[0]


def own_cpu(costs: _Round, name: str, source: str) -> float:
    """CPU of a write per object, its source left out."""
    return costs[name].cpu_us - costs[source].cpu_us


FIGURES: tuple[tuple[str, Callable[[_Round], float], float, bool], ...] = (
    (
        "pipeline_cpu_of_official_batch",
        lambda costs: own_cpu(costs, "dicts", "source of dicts") / best_batch(costs)[1],
        0.1,
        False,
    ),
    ("dicts_rate_of_official_batch", rate_of_batch("dicts"), 8, True),
    (
        "dicts_rate_of_official_insert_many",
        lambda costs: costs["dicts"].rate / costs["official insert_many(1000)"].rate,
        5,
        True,
    ),
    ("record_batches_rate_of_official_batch", rate_of_batch("record batches"), 20, True),
    ("list_vectors_rate_of_official_batch", rate_of_batch("dicts, lists"), 5, True),
)


def main() -> int:
    """Run every contestant in every round, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--objects", type=int, default=100_000, help="objects of a load")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    rounds: list[_Round] = []
    with NullServer() as server:
        for number in range(given.rounds):
            costs: _Round = {}
            for name in CONTESTANTS:
                objects = given.objects * (OFFICIAL_SHARE if name.startswith("official") else 1)
                costs[name] = cost = run(name, int(objects), server.url, server.grpc_url)
                shown = f"{cost.rate:8.0f} objects/s {cost.cpu_us:7.1f} us of CPU {cost.peak_mb:5.0f} MB"
                print(f"round {number + 1}: {name:30} {shown}", flush=True)
            rounds.append(costs)
    figures = []
    for name, ratio, goal, at_least in FIGURES:
        ratios = sorted(map(ratio, rounds))
        print(f"{name}: lowest {ratios[0]:.3g}, highest {ratios[-1]:.3g}")
        figures.append(Figure(name, statistics.median(ratios), "ratio", goal, at_least))
    measured = [{name: asdict(cost) for name, cost in costs.items()} for costs in rounds]
    return report("throughput", figures, {"rounds": measured})


if __name__ == "__main__":
    sys.exit(main())
