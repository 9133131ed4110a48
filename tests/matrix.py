"""The tests that need no server, with other versions of Python and Beam: ``make matrix``.

    python -m tests.matrix --python 3.10 3.13 --beam 2.73.0 newest -- tests/write

A Python is looked for as ``python3.X`` on the PATH, and among those of pyenv. Each pair has an environment of its own,
kept in the cache. What an index does not serve for a Python is told, and is a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("WEAVIATE_IO_CACHE") or Path.home() / ".cache" / "weaviate-io")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
BEAMS = ("2.73.0", "newest")
_READ_REQUIREMENTS = """
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras["test"], *extras["notebook"], *extras["dev"], sep="\\n")
"""


def main() -> int:
    """Run the matrix; returns how many of its pairs failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="3.X")
    parser.add_argument("--beam", nargs="+", default=BEAMS, metavar="VERSION")
    parser.add_argument("tests", nargs="*", default=["tests"])
    options = parser.parse_args()
    outcomes = {
        (python, beam): run(python, beam, options.tests) for python in options.python for beam in options.beam
    }
    for (python, beam), outcome in outcomes.items():
        print(f"Python {python}, Beam {beam}: {outcome}")
    return sum(outcome != "passed" for outcome in outcomes.values())


def run(version: str, beam: str, tests: list[str]) -> str:
    """Run the tests with one pair; returns what came of it."""
    python = find_python(version)
    if python is None:
        return "there is no such Python on this machine"
    environment = CACHE / f"matrix-{version}-{beam}"
    print(f"\nPython {version}, Beam {beam}", flush=True)
    if not (environment / "ready").exists() and not prepare(environment, python, beam):
        return "its packages could not be installed"
    command = [
        environment / "bin" / "python",
        "-m",
        "pytest",
        "-m",
        "not server",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run([*command, *tests], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return "passed" if done.returncode == 0 else "tests failed"


def find_python(version: str) -> str | None:
    """The interpreter of a version, if there is one."""
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
        return found  # a shim of pyenv is there for versions that are not selected too
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    return next((str(path) for path in sorted(versions.glob(f"{version}.*/bin/python"))), None)


def prepare(environment: Path, python: str, beam: str) -> bool:
    """Make the environment of a pair; whether its packages could be had."""
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([python, "-m", "venv", environment], check=True)
    own = environment / "bin" / "python"
    read = subprocess.run([own, "-c", _READ_REQUIREMENTS], cwd=ROOT, capture_output=True, text=True, check=True)
    pinned = [f"apache-beam=={beam}"] if beam != "newest" else ["--upgrade", "apache-beam"]
    install = [own, "-m", "pip", "install", "--quiet", *pinned, *read.stdout.splitlines()]
    if subprocess.run(install).returncode:
        return False
    (environment / "ready").touch()
    return True


if __name__ == "__main__":
    sys.exit(main())
