"""Hostile files of 100 MB and more: how much memory reading them takes. `make fuzz` runs all of them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_MEASURE = """
import json, resource, sys
from weaviate_io.files import read_rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
rows, failures = 0, []
for row in read_rows(sys.argv[1]):
    if hasattr(row, "reason"):
        failures.append(row.error)
    else:
        rows += 1
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps([rows, len(failures), failures[:1], grown]))
"""
_MB = 1_000_000


def _bomb(piece: bytes) -> bytes:
    return gzip.compress(piece * (300 * _MB // len(piece)), 1)


LARGE: dict[str, tuple[Callable[[], bytes], int, int, str]] = {
    # name: its content, how many rows and failures come of it, and the words of the first
    "one line.jsonl": (lambda: b'{"a": "' + b"x" * 100 * _MB + b'"}\n{"b": 1}', 2, 0, ""),
    "a longer line.jsonl": (lambda: b'{"a": "' + b"x" * 120 * _MB + b'"}\n{"b": 1}', 1, 1, "longer than"),
    "no end.json": (lambda: b'[{"a": "' + b"x" * 100 * _MB, 0, 1, "ends within"),
    "many values.jsonl": (lambda: b'{"a": [' + b"[]," * 33 * _MB + b'1]}\n{"b": 1}', 1, 1, "5,000,000 values"),
    "many values.json": (lambda: b'[{"a": [' + b"{}," * 33 * _MB + b"1]}]", 0, 1, "5,000,000 values"),
    "deep.jsonl": (lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b'\n{"b": 1}', 1, 1, "too deeply"),
    "deep.json": (lambda: b"[" * 50 * _MB, 0, 1, "too deeply"),
    "digits.json": (lambda: b'[{"a": ' + b"9" * 20 * _MB + b'}, {"b": 1}]', 1, 1, "4,300 digits"),
    "columns.csv": (
        lambda: b"\n".join([b",".join(b"c%d" % i for i in range(_MB)), b"1," * (_MB - 1)]),
        1,
        0,
        "",
    ),
    "fields.csv": (lambda: b"a,b\n" + b"12," * 33 * _MB + b"\n1,2\n", 1, 1, "5,000,000 fields"),
    "no columns.csv": (lambda: b"," * 100 * _MB, 0, 1, "5,000,000 fields"),
    "an open quote.csv": (lambda: b'a,b\n1,"' + b"x" * 100 * _MB, 0, 1, "is a quote not closed?"),
    "no end of a row.csv": (lambda: b"a,b\n" + b'"\n",' * 8 * _MB, 0, 2, "5,000,000 fields"),
    "zeros.jsonl.gz": (lambda: _bomb(b"\0" * 1000), 0, 1, "longer than"),
    "digits.json.gz": (lambda: b"" + _bomb(b"1" * 1000), 0, 1, "longer than"),
    "commas.csv.gz": (lambda: _bomb(b"," * 1000), 0, 1, "5,000,000 fields"),
}
MOST_GROWN = 1_200.0
"""MB by which reading may make a process larger, as docs/reliability.md has it."""


def read_hostile(name: str, folder: Path) -> list[object]:
    """Read a file in a process of its own: how many rows, how many failures, the first of them, MB of memory."""
    make, rows, failures, words = LARGE[name]
    path = folder / name
    path.write_bytes(make())
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=False
    )
    path.unlink()
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found[0] == rows and found[1] >= failures and (failures or not found[1]), found
    assert words in " ".join(found[2]), found
    assert found[3] < MOST_GROWN, found
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in LARGE:
            started = time.monotonic()
            found = read_hostile(name, Path(folder))
            print(f"{name:22} {time.monotonic() - started:6.1f} s  {found}", flush=True)
