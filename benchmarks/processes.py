"""Contestants in processes of their own, one after the other and in rounds, so that each sees the same machine."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

Round = Mapping[str, "Cost"]
"""What each contestant took in one round, by its name."""


@dataclass(frozen=True)
class Cost:
    """What one load took from its first object to its last answer.

    Args:
      objects: how many were loaded.
      seconds: of wall clock.
      cpu: seconds of CPU, of all threads of the process.
      peak_mb: most memory, in megabytes.
      around: seconds of wall clock before the first object and after the last answer: a pipeline's begin and end,
        and connecting.
    """

    objects: int
    seconds: float
    cpu: float
    peak_mb: float
    around: float = 0.0

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


def total(costs: Sequence[Cost]) -> Cost:
    """The cost of loads that one process did one after the other."""
    return Cost(
        objects=sum(cost.objects for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        peak_mb=max(cost.peak_mb for cost in costs),
        around=sum(cost.around for cost in costs),
    )


def run(module: str, *arguments: object) -> Cost:
    """Run a module that loads once."""
    with Loader(module, *arguments) as loader:
        return loader.load()


class Loader:
    """A process that does one load after the other (:func:`print_costs`), each when it is told to."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._name = " ".join((module, *map(str, arguments)))
        command = [sys.executable, "-m", module, *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def load(self) -> Cost:
        """Have it do the next one."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        said: deque[str] = deque(maxlen=40)
        for line in self._process.stdout:
            if line.startswith(_COST):
                return Cost(**json.loads(line.removeprefix(_COST)))
            said.append(line)
        raise SystemExit(f"{self._name} failed:\n{''.join(said)}")

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


_COST = "cost: "
_marks: list[tuple[float, float]] = []


def mark() -> None:
    """Note the time of wall clock and of CPU: whoever makes rows does it before, and who gets the last answer after."""
    _marks[1:] = [(time.perf_counter(), time.process_time())]


def print_costs(objects: int, loads: Iterable[Callable[[], None]]) -> None:
    """Do one load after the other, each when a line comes in, and print what each took from its first mark to its last.

    Where there are no marks, it is what it took as a whole.
    """
    for _, load in zip(sys.stdin, loads, strict=False):
        _marks.clear()
        begun = time.perf_counter(), time.process_time()
        load()
        ended = time.perf_counter(), time.process_time()
        first, last = (_marks[0], _marks[-1]) if _marks else (begun, ended)
        seconds = last[0] - first[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cost = Cost(objects, seconds, last[1] - first[1], peak, around=ended[0] - begun[0] - seconds)
        print(f"{_COST}{json.dumps(asdict(cost))}", flush=True)


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
