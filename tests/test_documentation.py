"""The examples of the README and of every docstring run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import weaviate_io
from weaviate_io.testing import WeaviateServer

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def _modules() -> list[str]:
    found = pkgutil.walk_packages(weaviate_io.__path__, "weaviate_io.")
    # Importing these two runs a command.
    return ["weaviate_io", *(m.name for m in found if not m.name.endswith(("__main__", "launcher")))]


@pytest.mark.parametrize("name", _modules())
def test_docstring_examples_run(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    command = [sys.executable, "-m", "benchmarks.tables", "--check"]
    assert subprocess.run(command, cwd=README.parent).returncode == 0


def test_readme_has_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.server
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_readme_examples_run(
    number: int, server: WeaviateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = EXAMPLES[number].replace(
        'url="http://localhost:8080"', f'url="{server.url}", grpc_url="{server.grpc_url}"'
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"README example {number + 1}", "exec"), {})
    if "WriteFailuresToJson" in code:
        (dead_letter,) = (tmp_path / "failed").glob("*.jsonl")
        assert "expects an integer, not str 'unknown'" in dead_letter.read_text()
