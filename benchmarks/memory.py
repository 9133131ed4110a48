"""Peak memory of importing a JSON file of 400 MB beside that of 40 MB.

The job runs in a process of its own, as a user runs it, against a server that acknowledges everything and keeps
nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Figure, report
from weaviate_io.testing import FakeWeaviate, Malformed

SMALL, LARGE = 40_000_000, 400_000_000  # bytes
SCHEMA = {
    "class": "Article",
    "properties": [{"name": "title", "dataType": ["text"]}, {"name": "views", "dataType": ["int"]}],
}


def write_file(path: Path, size: int) -> int:
    """A JSON array of at least ``size`` bytes with vectors of 768 numbers; the number of rows."""
    random = np.random.default_rng(7)
    vectors = [random.standard_normal(768).astype("f4").tolist() for _ in range(50)]
    count = 0
    with path.open("w") as file:
        file.write("[")
        while file.tell() < size:
            row = {"title": f"article {count}", "views": count, "embedding": vectors[count % len(vectors)]}
            file.write(("," if count else "") + json.dumps(row))
            count += 1
        file.write("]")
    return count


def peak_mb(path: Path, rows: int, fake: FakeWeaviate) -> float:
    """Peak resident memory of an import in megabytes; the job must say that it wrote every row."""
    command = [
        *(sys.executable, "-m", "pipelines.import_files", "--input", str(path)),
        *("--collection", "Article", "--vector-field", "embedding"),
        *("--url", fake.url, "--grpc-url", fake.grpc_url, "--dead-letter", str(path.parent / "failed")),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status or f"{rows:,} objects written" not in output:
        raise SystemExit(f"the import of {path.name} failed:\n{output}")
    return usage.ru_maxrss / 1024


def main() -> int:
    """Import both files and compare."""
    measured: dict[str, Any] = {}
    with FakeWeaviate() as fake, tempfile.TemporaryDirectory() as folder:
        fake.create_collection(SCHEMA)
        fake.behave(lambda request, number: Malformed(b"", stored=False))  # an empty reply: all is well
        for name, size in (("small", SMALL), ("large", LARGE)):
            path = Path(folder) / f"{name}.json"
            rows = write_file(path, size)
            measured[name] = {"bytes": path.stat().st_size, "rows": rows, "peak_mb": peak_mb(path, rows, fake)}
            print(f"{size / 1e6:.0f} MB, {rows:,} rows: peak {measured[name]['peak_mb']:.0f} MB", flush=True)
    ratio = measured["large"]["peak_mb"] / measured["small"]["peak_mb"]
    return report("memory", [Figure("peak_memory_of_10x_file", ratio, "ratio", 1.3)], measured)


if __name__ == "__main__":
    sys.exit(main())
