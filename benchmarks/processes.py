"""Contestants in processes of their own, one after the other and in rounds, so that each sees the same machine."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Round = Mapping[str, "Cost"]
"""What each contestant took in one round, by its name."""


@dataclass(frozen=True)
class Cost:
    """What one load of ``objects`` took: seconds of wall clock and of CPU, and peak memory in megabytes."""

    objects: int
    seconds: float
    cpu: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Objects per second."""
        return self.objects / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per object."""
        return self.cpu / self.objects * 1e6

    def __str__(self) -> str:
        return f"{self.rate:8.0f} objects/s {self.cpu_us:7.1f} us of CPU {self.peak_mb:5.0f} MB"


def run(module: str, *arguments: object) -> Cost:
    """Run a module that prints its cost (:func:`print_cost`)."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])} failed:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def print_cost(objects: int, load: Callable[[], None]) -> None:
    """Load once, and print what it took: without the start of the interpreter and without imports."""
    started, cpu = time.perf_counter(), time.process_time()
    load()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(asdict(Cost(objects, seconds, cpu, peak))))


def cpu_seconds(pid: int | None) -> float:
    """Seconds of CPU that a process took so far; 0 where it cannot be seen."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alternate(contestants: Mapping[str, Callable[[], Cost]], rounds: int) -> list[dict[str, Cost]]:
    """Run every contestant once in every round, from the last to the first in every second one."""
    done = []
    for number in range(rounds):
        costs = {}
        for name in sorted(contestants, key=list(contestants).index, reverse=number % 2 == 1):
            costs[name] = contestants[name]()
            print(f"round {number + 1}: {name:32} {costs[name]}", flush=True)
        done.append(costs)
    return done


def median(name: str, values: Sequence[float]) -> float:
    """The median of a figure over the rounds; its spread is printed."""
    shown = ", ".join(f"{value:.3g}" for value in sorted(values))
    print(f"{name}: {shown}")
    return statistics.median(values)


def kept(rounds: Sequence[Round]) -> list[dict[str, dict[str, float]]]:
    """The rounds as they are kept in the results."""
    return [{name: asdict(cost) for name, cost in costs.items()} for costs in rounds]
