"""Cost and memory of an object as loads grow, and as processes are added.

The server costs nothing. What the first objects take, which touch all memory for the first time, is measured by loads
of 2,000, and left out of the cost of the larger ones. Of loads that are over so soon that one of them says little, the
median of seven counts. Two processes load the same number at the same time. They share the cores with the server, so
their rate is held against what the cores allow: twice that of one, or what all cores do at the cost of one.
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

START = 2_000
"""Two blocks: of a single one, ``beam.Create`` makes a pipeline with fewer steps."""

SIZES = (10_000, 100_000, 1_000_000)
EACH = 400_000
"""What one process loads, and each of two."""

REFERENCE = 100_000
"""From here on memory must stay flat: what waits for its answer is there in full."""

SHORT, REPEATS = 10_000, 7
"""Loads of so many objects, or fewer, are repeated so often in each round."""

FORM = "dicts"


def own_us(cost: Cost, start: Cost) -> float:
    """Microseconds of CPU for each object beyond the first 2,000."""
    return 1e6 * (cost.cpu - start.cpu) / (cost.objects - start.objects)


def together(processes: int, objects: int, server: NullServer) -> Cost:
    """The cost of processes that load at the same time, as if they were one."""

    def load(_: int) -> Cost:
        return run(FORM, objects, server.url, server.grpc_url)

    with ThreadPoolExecutor(processes) as pool:
        costs = list(pool.map(load, range(processes)))
    loaded = sum(cost.objects for cost in costs)
    cpu = sum(cost.cpu for cost in costs)
    seconds, peak, around = (
        max(getattr(cost, field) for cost in costs) for field in ("seconds", "peak_mb", "around")
    )
    return Cost(loaded, seconds, cpu, peak, around)


def alone(objects: int, server: NullServer) -> Cost:
    """The cost of one process; of several loads of a small size, that of median CPU."""
    costs = [together(1, objects, server) for _ in range(REPEATS if objects <= SHORT else 1)]
    return sorted(costs, key=lambda cost: cost.cpu)[len(costs) // 2]


def allowed(one: Cost, server_us: float) -> float:
    """Objects a second that two processes can load at the cost of one, with ``server_us`` of the server's CPU each."""
    return min(2 * one.rate, (os.cpu_count() or 1) * 1e6 / (one.cpu_us + server_us))


def main() -> int:
    """Load more and more, by one process and by two, and compare."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=3, help="of all sizes but the largest, which runs once")
    options.add_argument("--largest", type=int, default=10_000_000, help="objects of the largest size")
    given = options.parse_args()
    largest = given.largest
    with NullServer() as server:
        server_us: list[float] = []

        def watched() -> Cost:
            before = server.cpu_seconds()
            cost = alone(EACH, server)
            server_us.append(1e6 * (server.cpu_seconds() - before) / cost.objects)
            return cost

        small = {f"{size:,}": lambda size=size: alone(size, server) for size in (START, *SIZES)}
        two = {"1 process": watched, "2 processes": lambda: together(2, EACH, server)}
        rounds = alternate(small | two, given.rounds)
        (last,) = alternate({f"{largest:,}": lambda: alone(largest, server)}, 1)
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
        for size in (*SIZES, largest)
        if size != REFERENCE
    ]
    peaks = [last[f"{largest:,}"].peak_mb / costs[reference].peak_mb for costs in rounds]
    figures.append(ratio(f"memory_at_{largest:,}_of_that_at_{reference}", peaks, 1.15))
    pairs = [(costs["2 processes"], costs["1 process"]) for costs in rounds]
    used = [both.cpu_us / one.cpu_us for both, one in pairs]
    figures.append(ratio("cost_in_2_processes_of_that_in_1", used, 1.2))
    served = median("us of the server's CPU", server_us)
    reached = [both.rate / allowed(one, served) for both, one in pairs]
    figures.append(ratio("rate_of_2_processes_of_what_cores_allow", reached, 0.8, True))
    return report("growth", figures, {"rounds": kept(rounds), "largest": kept([last]), "server_us": server_us})


if __name__ == "__main__":
    sys.exit(main())
