"""The notebook runs from top to bottom, as a reader would run it, and shows what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def outputs(cell: Any) -> str:
    """What a cell printed, and the kinds of pictures that it drew."""
    texts = [output.get("text", "") for output in cell.get("outputs", [])]
    return "".join([*texts, *(kind for output in cell.get("outputs", []) for kind in output.get("data", {}))])


@pytest.mark.server
def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    start, data, write, failed, search, speed, picture, _ = (
        outputs(cell) for cell in notebook.cells if cell.cell_type == "code"
    )
    assert "Weaviate 1." in start
    assert "text/plain" in data
    assert "1000/1000 [" in write
    assert "failed=3]" in write
    reasons = sorted(line.partition(":")[0] for line in failed.splitlines()[::2])
    assert reasons == ["invalid_property", "invalid_property", "invalid_vector"]
    assert all("questions.json: " in line for line in failed.splitlines()[1::2])
    assert len(search.splitlines()) == 6
    assert "jealousy" in search.splitlines()[0]
    assert "image/png" in speed
    assert "image/png" in picture


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert [cell.id for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
