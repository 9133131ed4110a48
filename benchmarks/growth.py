"""Cost and memory of an object as loads grow, and as processes are added.

The server costs nothing. What a pipeline takes to begin is measured by a load of 1,000 objects, and left out of the
cost of the larger ones. Two processes load the same number at the same time.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from benchmarks.contestants import run
from benchmarks.null import NullServer
from benchmarks.processes import Cost, alternate, kept, median
from benchmarks.report import Figure, report

START = 1_000
SIZES = (10_000, 100_000, 1_000_000)
LARGEST = 10_000_000
REFERENCE = 100_000
"""From here on memory must stay flat: what waits for its answer is there in full."""

FORM = "dicts"


def own_us(cost: Cost, start: Cost) -> float:
    """Microseconds of CPU for each object beyond the first 1,000."""
    return 1e6 * (cost.cpu - start.cpu) / (cost.objects - start.objects)


def together(processes: int, objects: int, server: NullServer) -> Cost:
    """The cost of processes that load at the same time, as if they were one."""

    def load(_: int) -> Cost:
        return run(FORM, objects, server.url, server.grpc_url)

    with ThreadPoolExecutor(processes) as pool:
        costs = list(pool.map(load, range(processes)))
    loaded = sum(cost.objects for cost in costs)
    seconds = max(cost.seconds for cost in costs)
    return Cost(loaded, seconds, sum(cost.cpu for cost in costs), max(cost.peak_mb for cost in costs))


def main() -> int:
    """Load more and more, by one process and by two, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3, help="of all sizes but the largest, which runs once")
    options.add_argument("--ten-million", action="store_true", help="10,000,000 objects too (minutes)")
    given = options.parse_args()
    *sizes, largest = SIZES + (LARGEST,) * given.ten_million
    with NullServer() as server:
        small = {f"{size:,}": lambda size=size: together(1, size, server) for size in (START, *sizes)}
        two = {"2 processes": lambda: together(2, REFERENCE, server)}
        rounds = alternate(small | two, given.rounds)
        (last,) = alternate({f"{largest:,}": lambda: together(1, largest, server)}, 1)
    start, reference = f"{START:,}", f"{REFERENCE:,}"

    def ratio(name: str, values: list[float], goal: float, at_least: bool = False) -> Figure:
        return Figure(name, median(name, values), "ratio", goal, at_least)

    def cost_of_reference(size: str) -> list[float]:
        return [
            own_us((costs | last)[size], costs[start]) / own_us(costs[reference], costs[start])
            for costs in rounds
        ]

    figures = [
        ratio(f"cost_at_{size:,}_of_that_at_{reference}", cost_of_reference(f"{size:,}"), 1.15)
        for size in (*sizes, largest)
        if size != REFERENCE
    ]
    peaks = [last[f"{largest:,}"].peak_mb / costs[reference].peak_mb for costs in rounds]
    figures.append(ratio(f"memory_at_{largest:,}_of_that_at_{reference}", peaks, 1.15))
    pairs = [(costs["2 processes"], costs[reference]) for costs in rounds]
    used = [both.cpu_us / one.cpu_us for both, one in pairs]
    figures.append(ratio("cost_in_2_processes_of_that_in_1", used, 1.2))
    # The server needs some of the cores as well.
    goal = 0.8 * min(2, os.cpu_count() or 1)
    figures.append(ratio("rate_of_2_processes", [both.rate / one.rate for both, one in pairs], goal, True))
    return report("growth", figures, {"rounds": kept(rounds), "largest": kept([last])})


if __name__ == "__main__":
    sys.exit(main())
