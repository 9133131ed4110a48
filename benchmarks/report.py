"""Figures against their goals: printed, kept as JSON, and an exit code."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("apache-beam", "grpcio", "numpy", "protobuf", "pyarrow", "weaviate-client")


@dataclass(frozen=True)
class Figure:
    """One figure and its goal: the most that it may be, or the least with ``at_least``."""

    name: str
    value: float
    unit: str
    goal: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def __str__(self) -> str:
        bound = ">=" if self.at_least else "<="
        verdict = "met" if self.met else "missed"
        return f"{self.name} {self.value:.3g} {self.unit} goal {bound} {self.goal:g} {verdict}"


def report(benchmark: str, figures: list[Figure], measured: dict[str, Any], weaviate: str | None = None) -> int:
    """Print the figures, keep everything that was measured, and return the exit code.

    Args:
      benchmark: its name.
      figures: what is held against a goal.
      measured: everything else that is kept.
      weaviate: version of the real server, where there was one.
    """
    RESULTS.mkdir(exist_ok=True)
    result = {
        "benchmark": benchmark,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpus": os.cpu_count(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "python": platform.python_version(),
        },
        "packages": ({"weaviate": weaviate} if weaviate else {}) | {name: version(name) for name in _PACKAGES},
        "measured": measured,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
    }
    (RESULTS / f"{benchmark}.json").write_text(json.dumps(result, indent=2) + "\n")
    for figure in figures:
        print(figure)
    return 0 if all(figure.met for figure in figures) else 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    return named[1] if named else platform.processor()
