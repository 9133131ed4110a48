"""Puts the tables of the results into docs/performance.md, between its marks; nothing is typed by hand.

``python -m benchmarks.tables`` does it, with ``--check`` it says whether it is done.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_MARKED = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Render every marked place."""
    text = PAGE.read_text()
    done = _MARKED.sub(lambda found: f"{found[1]}{rendered(found[2])}{found[3]}", text)
    if "--check" in sys.argv[1:]:
        return 0 if done == text else 1
    PAGE.write_text(done)
    return 0


def rendered(benchmark: str) -> str:
    """The tables of one benchmark, and when and on what they were measured."""
    path = RESULTS / f"{benchmark}.json"
    if not path.exists():
        return f"\nNot measured yet: `python -m benchmarks.{benchmark}`.\n\n"
    result = json.loads(path.read_text())
    lines = ["", *_table(("figure", "value", "goal", ""), map(_figure_row, result["figures"]))]
    for title, rounds in _rounds(result["measured"]):
        shown = [{name: _shown(measured) for name, measured in one.items()} for one in rounds]
        columns = list(next(iter(shown[0].values())))
        rows = (_median_row(name, columns, [one[name] for one in shown]) for name in shown[0])
        lines += ["", *_table((title, *columns), rows)]
    machine, packages = result["machine"], result["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    kind = ", ".join((machine["architecture"], *filter(None, [machine.get("processor")])))
    memory = f", {machine['memory_gb']} GB" if "memory_gb" in machine else ""
    on = f"{machine['cpus']} cores ({kind}){memory}, Python {machine['python']}, {versions}"
    return "\n".join([*lines, "", f"{result['time'][:10]}, {on}.", "", ""])


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _figure_row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    bound = ">=" if figure.get("at_least") else "<="
    value = f"{figure['value']:.3g} {figure['unit']}"
    return f"`{figure['name']}`", value, f"{bound} {figure['goal']:g}", "met" if figure["met"] else "**missed**"


def _rounds(measured: Any, title: str = "median of the rounds") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rounds in what was measured, wherever they are in it: numbers by contestant."""
    if isinstance(measured, dict):
        for name, inner in measured.items():
            yield from _rounds(inner, title if name == "rounds" else name)
    elif isinstance(measured, list) and all(_is_round(one) for one in measured):
        yield title, measured


def _is_round(measured: Any) -> bool:
    return isinstance(measured, dict) and all(isinstance(numbers, dict) for numbers in measured.values())


def _shown(numbers: Mapping[str, float]) -> dict[str, float]:
    """The columns of a contestant; of a cost, what it is per object."""
    if "peak_mb" not in numbers:
        return dict(numbers)
    shown = {
        "objects/s": numbers["objects"] / numbers["seconds"],
        "us of CPU": 1e6 * numbers["cpu"] / numbers["objects"],
        "peak MB": numbers["peak_mb"],
    }
    return shown | ({"s around": numbers["around"]} if "around" in numbers else {})


def _median_row(name: str, columns: list[str], measured: list[dict[str, float]]) -> tuple[str, ...]:
    medians = (statistics.median(one[column] for one in measured) for column in columns)
    return name, *(f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in medians)


if __name__ == "__main__":
    sys.exit(main())
