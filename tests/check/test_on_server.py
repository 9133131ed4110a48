"""``weaviate-io check`` on a real server whose indexes lost what it has stored."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import check_collection
from tests.sender.test_sender_on_server import opened, unit_rows
from weaviate_io import doctor
from weaviate_io.client import Client
from weaviate_io.testing import WeaviateServer

COUNT = 60
TEXT = {"name": "title", "dataType": ["text"]}
TO = {"name": "to", "dataType": ["Target"]}
NONE: dict[str, Any] = {"none": {}}
MANY: dict[str, Any] = {"multivector": {"enabled": True}}
DOT = {"distance": "dot"}


def named(**vectors: dict[str, Any]) -> dict[str, Any]:
    configs = {
        name: {"vectorizer": NONE, "vectorIndexType": "hnsw", "vectorIndexConfig": config}
        for name, config in vectors.items()
    }
    return {"properties": [TEXT], "vectorConfig": configs}


UNNAMED = {"vectorizer": "none", "properties": [TEXT]}
DAMAGED: dict[str, dict[str, Any]] = {
    "Unnamed": {**UNNAMED, "properties": [TEXT, TO]},
    "OneOfTwo": named(one={}, two=DOT),
    "Tokens": named(tokens=MANY),
    "Muvera": named(tokens={"multivector": {"enabled": True, "muvera": {"enabled": True}}}),
    "Made": {"vectorizer": "text2vec-bigram", "properties": [TEXT]},
    "Tenanted": {**UNNAMED, "multiTenancyConfig": {"enabled": True}},
    "Unfiltered": UNNAMED,
}
LOST = {
    name: "vectors_two.hnsw.commitlog.d" if name == "OneOfTwo" else "*.hnsw.commitlog.d" for name in DAMAGED
}
LOST["Unfiltered"] = "property__id"
HEALTHY: dict[str, dict[str, Any]] = {
    "Cosine": UNNAMED,
    "Dot": {**UNNAMED, "vectorIndexConfig": DOT},
    "LongTokens": named(tokens={**MANY, **DOT}),
    "NeverScanned": {**UNNAMED, "vectorIndexConfig": {"flatSearchCutoff": 0}},
    "Many": UNNAMED,
}
COUNTS = {"Many": 2300}
WITHOUT_VECTOR = str(uuid.UUID(int=5))


def vectors_for(kind: str, count: int) -> np.ndarray:
    """Such as suit the collection; healthy ones with ties, zeros, and norms far apart."""
    random = np.random.default_rng(3)
    made = random.standard_normal((count, 8)).astype(np.float32)
    if kind in HEALTHY:
        made[10:30] = made[10]
        made[30:33] = 0
        made[33:] *= random.uniform(0.1, 1e4, (count - 33, 1)).astype(np.float32)
    return made


def objects_for(kind: str) -> list[dict[str, Any]]:
    count = COUNTS.get(kind, COUNT)
    objects = []
    for number, vector in enumerate(vectors_for(kind, count), 1):
        one: dict[str, Any] = {"class": kind, "id": str(uuid.UUID(int=number)), "vector": vector.tolist()}
        one["properties"] = {"title": f"object {number:x} of {number * 7919:x}"}
        if kind == "Tenanted":
            one["tenant"] = "whole" if number % 2 else "broken"
        if kind == "Unnamed":
            one["properties"]["to"] = [{"beacon": f"weaviate://localhost/Target/{uuid.UUID(int=1)}"}]
        if kind == "Made" or (one["id"] == WITHOUT_VECTOR and kind == "Unfiltered"):
            del one["vector"]
        if kind == "OneOfTwo":
            vector = one.pop("vector")
            one["vectors"] = {"one": vector, "two": vector[:5]}
        if kind in ("Tokens", "Muvera", "LongTokens"):
            rows = np.stack([vector, vector[::-1], np.roll(vector, 1)])
            del one["vector"]
            one["vectors"] = {"tokens": (rows if kind == "LongTokens" else unit_rows(rows)).tolist()}
        objects.append(one)
    return objects


@pytest.fixture(scope="module")
def server() -> Iterator[WeaviateServer]:
    """A server that was killed, and came back without some of its indexes."""
    with WeaviateServer(version="1.39.3", environment={"ENABLE_MODULES": "text2vec-bigram"}) as running:
        with opened(running) as client:
            fill(client)
        running.stop()
        assert running.data_path is not None
        for kind, pattern in LOST.items():
            found = list((running.data_path / kind.lower()).rglob(pattern))
            assert found, f"{kind} has no {pattern}"
            for folder in found:
                if folder.parent.name != "whole":
                    shutil.rmtree(folder)
        running.restart()
        yield running


def fill(client: Client) -> None:
    client.rest("POST", "/v1/schema", {**UNNAMED, "class": "Target"})
    client.rest("POST", "/v1/objects", {"class": "Target", "id": str(uuid.UUID(int=1)), "properties": {}})
    for kind, description in {**DAMAGED, **HEALTHY}.items():
        client.rest("POST", "/v1/schema", {**description, "class": kind})
        if kind == "Tenanted":
            tenants = [{"name": "whole"}, {"name": "broken"}, {"name": "asleep", "activityStatus": "INACTIVE"}]
            client.rest("POST", "/v1/schema/Tenanted/tenants", tenants)
        objects = objects_for(kind)
        for start in range(0, len(objects), 1000):
            answer = client.rest("POST", "/v1/batch/objects", {"objects": objects[start : start + 1000]})
            assert {one["result"]["status"] for one in answer.json()} == {"SUCCESS"}


@pytest.fixture
def client(server: WeaviateServer) -> Iterator[Client]:
    with opened(server) as client:
        yield client


@pytest.fixture
def check(
    server: WeaviateServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, list[str], list[dict[str, Any]]]]:
    """Runs the job; gives its exit code, what it printed but for the first line's speed, and what it wrote."""
    monkeypatch.setattr(doctor, "_SETTLED", 0.0)
    output = tmp_path / "found.jsonl"

    def run(kind: str, *words: str) -> tuple[int, list[str], list[dict[str, Any]]]:
        where = ("--url", server.url, "--grpc-url", server.grpc_url, "--output", str(output))
        code = check_collection.main(["--collection", kind, *where, *words])
        captured = capsys.readouterr()
        assert captured.err == ""
        lines = [line.partition(" unfindable, ")[0].strip() for line in captured.out.splitlines()]
        return code, lines, [json.loads(line) for line in output.read_text().splitlines()]

    return run


def contents(client: Client, kind: str, include: str = "vector") -> dict[str, Any]:
    """All of an object but the time of its last change, by id."""
    found = {}
    for one in objects_for(kind):
        tenant = f"&tenant={one['tenant']}" if "tenant" in one else ""
        path = f"/v1/objects/{kind}/{one['id']}?include={include}{tenant}"
        read = client.rest("GET", path).json()
        del read["lastUpdateTimeUnix"]
        found[one["id"]] = read
    return found


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_an_index_lost_is_told_and_repaired_without_a_trace(client: Client, check: Any, kind: str) -> None:
    before = contents(client, kind)
    vector = {"OneOfTwo": "two", "Tokens": "tokens", "Muvera": "tokens"}.get(kind, "")
    lack = ("inverted_index" if kind == "Unfiltered" else "vector_index", vector)
    lost = COUNT // 2 if kind == "Tenanted" else COUNT
    code, lines, found = check(kind)
    assert (code, lines[0]) == (1, f"{COUNT} objects checked, {lost}"), lines
    assert {(one["kind"], one["vector"]) for one in found} == {lack}
    assert len({one["uuid"] for one in found}) == len(found) == lost
    assert {one["tenant"] for one in found} == ({"broken"} if kind == "Tenanted" else {None})
    code, lines, found = check(kind, "--repair")
    left = [one for one in found if not one["repaired"]]
    if kind == "Unfiltered":
        assert (code, [one["uuid"] for one in left]) == (1, [WITHOUT_VECTOR])
        assert "to delete and insert it again" in left[0]["error"]
    else:
        assert (code, left) == (0, [])
    assert contents(client, kind) == before
    if kind in ("OneOfTwo", "Tokens"):
        assert check(kind, "--exact")[0] == 0


@pytest.mark.parametrize("kind", HEALTHY)
def test_ties_zeros_and_norms_raise_no_alarm(check: Any, kind: str) -> None:
    count = COUNTS.get(kind, COUNT)
    for words in ((), ("--exact",)) if count == COUNT else ((),):
        code, lines, found = check(kind, *words)
        assert (code, found, lines[0]) == (0, [], f"{count:,} objects checked, 0"), lines
        assert (len(lines) > 1) == (kind == "NeverScanned" and not words), lines
