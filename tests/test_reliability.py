"""The table of faults is complete, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (\d+) \|(.*)\|$", (ROOT / "docs" / "reliability.md").read_text(), re.MULTILINE)
TESTS = sorted({test for _, row in ROWS for test in re.findall(r"`(tests/[^`]+)`", row)})


@cache
def defined_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_a_row() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 50))


def test_every_fault_is_tested_or_says_why_not() -> None:
    untested = {number for number, row in ROWS if "::test_" not in row}
    assert {number for number, row in ROWS if "not injected: " in row} == untested == {"49"}


@pytest.mark.parametrize("test", TESTS)
def test_every_test_of_the_table_exists(test: str) -> None:
    path, name = test.split("::")
    assert re.fullmatch(r"test_\w+\.py", Path(path).name) and name.startswith("test_")
    assert name in defined_in(path)
