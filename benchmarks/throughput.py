"""Objects through a whole pipeline to a server that costs nothing, beside the official client.

All contestants have the same objects (768 float32 and three properties). They run one after the other in
processes of their own, in rounds, so that each sees the same machine; ratios are taken within a round. The CPU
of the pipeline is without that of its source, which is run alone as well; its rate is with the source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.contestants import BATCHES, CONTESTANTS, run
from benchmarks.null import NullServer
from benchmarks.processes import Cost, Round, alternate, kept, median
from benchmarks.report import Figure, report

OFFICIAL_SHARE = 0.25
"""Share of the objects that the official client gets, which takes so much longer."""


MORE = 4
"""How many times as many objects as dicts go in record batches: a load should take seconds, lest its start counts."""


def best_batch(costs: Round, load: str = "") -> tuple[float, float]:
    """The best of the official client's batch settings: most objects per second, least CPU per object."""
    settings = [costs[f"{load}{name}"] for name in BATCHES]
    return max(cost.rate for cost in settings), min(cost.cpu_us for cost in settings)


def rate_of_batch(name: str) -> Callable[[Round], float]:
    """How many times as fast as the official batch a contestant is."""
    return lambda costs: costs[name].rate / best_batch(costs)[0]


def own_cpu(costs: Round, name: str, source: str) -> float:
    """CPU of a write per object, its source left out."""
    return costs[name].cpu_us - costs[source].cpu_us


FIGURES: tuple[tuple[str, Callable[[Round], float], float, bool], ...] = (
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
    (
        "record_batches_rate_of_bare_loop",
        lambda costs: costs["record batches"].rate / costs["record batches, bare loop"].rate,
        0.8,
        True,
    ),
    ("list_vectors_rate_of_official_batch", rate_of_batch("dicts, lists"), 5, True),
    (
        "everything_rate_of_official_batch",
        lambda costs: costs["everything"].rate / best_batch(costs, "everything, ")[0],
        20,
        True,
    ),
)


def main() -> int:
    """Run every contestant in every round, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--objects", type=int, default=400_000, help="objects of a load")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with NullServer() as server:
        rounds = alternate({name: _runner(name, given.objects, server) for name in CONTESTANTS}, given.rounds)
    figures = [
        Figure(name, median(name, [ratio(costs) for costs in rounds]), "ratio", goal, at_least)
        for name, ratio, goal, at_least in FIGURES
    ]
    return report("throughput", figures, {"rounds": kept(rounds)})


def _runner(name: str, objects: int, server: NullServer) -> Callable[[], Cost]:
    is_columns = "record batches" in name or name in ("everything", "source of everything")
    share = OFFICIAL_SHARE if "official" in name else MORE if is_columns else 1
    return lambda: run(name, int(objects * share), server.url, server.grpc_url)


if __name__ == "__main__":
    sys.exit(main())
