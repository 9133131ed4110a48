"""Every program of the guide runs against a real server, and leaves there what the guide says."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import weaviate
import weaviate.util
from weaviate.classes.query import QueryReference

from tests.conftest import connected
from weaviate_io import generate_uuid5
from weaviate_io.failures import failure_from_json
from weaviate_io.testing import FakeEmbeddings, WeaviateServer

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"
HEADING_OR_PROGRAM = re.compile(
    r"^#+ (?P<heading>[^\n]+)$|^```python\n(?P<program>.*?)^```", re.MULTILINE | re.DOTALL
)
SECTIONS = (
    "Basic import",
    "Error handling",
    "Use the gRPC API",
    "Specify an ID value",
    "Specify a vector",
    "Specify named vectors",
    "Import with references",
    "Python-specific considerations",
    "Stream data from large files",
    "Batch vectorization",
    "Model provider configurations",
    "Additional considerations",
    "Asynchronous imports",
    "Automatically add new tenants",
)
"""The sections of Weaviate's own guide, in its order."""


def _programs() -> dict[str, list[str]]:
    """The programs of each section, by heading."""
    found: dict[str, list[str]] = {}
    for match in HEADING_OR_PROGRAM.finditer(GUIDE.read_text()):
        if match["heading"]:
            heading = match["heading"]
            found[heading] = []
        else:
            found[heading].append(match["program"])
    return found


PROGRAMS = _programs()


def test_the_guide_has_the_sections_of_weaviates_guide_in_its_order() -> None:
    assert tuple(heading for heading in PROGRAMS if heading in SECTIONS) == SECTIONS


class Ran:
    """A program that ran: what it printed, the folder it ran in, and what the official client finds."""

    def __init__(self, witness: weaviate.WeaviateClient, prefix: str, out: str, folder: Path) -> None:
        self._witness = witness
        self._prefix = prefix
        self.out = out
        self.folder = folder

    def collection(self, name: str = "MyCollection") -> Any:
        return self._witness.collections.get(name.replace("My", self._prefix, 1))

    def objects(self, name: str = "MyCollection") -> list[Any]:
        return list(self.collection(name).iterator(include_vector=True))

    def titles(self, name: str = "MyCollection") -> list[str]:
        return sorted(o.properties["title"] for o in self.objects(name))


Run = Callable[..., Ran]


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a program of the guide on a server: ``run_on(server, witness, heading, number)``.

    Its collections get names that no one else has, and are dropped in the end.
    """
    prefix = f"WeaviateIoTest_{uuid.uuid4().hex[:12]}_"
    used: list[WeaviateServer] = []
    monkeypatch.chdir(tmp_path)

    def run(server: WeaviateServer, witness: Any, heading: str, number: int = 0) -> Ran:
        used.append(server)
        code = re.sub(r"\bMy(?=[A-Z])", prefix, PROGRAMS[heading][number])
        code = code.replace('grpc_url="localhost:50051", ', "")
        code = code.replace('url = "http://localhost:8080"', f'url = "{server.url}"')
        code = code.replace('"http://localhost:8080"', f'"{server.url}", grpc_url="{server.grpc_url}"')
        capfd.readouterr()
        exec(compile(code, f"guide: {heading} {number + 1}", "exec"), {"__name__": "__main__"})
        return Ran(witness, prefix, capfd.readouterr().out, tmp_path)

    yield run
    for server in used:
        for name in requests.get(f"{server.url}/v1/schema", timeout=60).json()["classes"]:
            if name["class"].startswith(prefix):
                requests.delete(f"{server.url}/v1/schema/{name['class']}", timeout=60)


@pytest.fixture
def run(run_on: Run, server: WeaviateServer, witness: weaviate.WeaviateClient) -> Run:
    """The same on the server of the session: ``run(heading, number)``."""
    return partial(run_on, server, witness)


FIVE = [f"Object {i}" for i in range(1, 6)]


def test_basic_import(run: Run) -> None:
    ran = run("Basic import")
    assert ran.titles() == FIVE
    assert ran.out.count("WrittenObject(") == 5
    assert run("Basic import").titles() == FIVE  # a second time leaves the same


def test_error_handling(run: Run) -> None:
    ran = run("Error handling")
    assert ran.titles("MyBooks") == ["Dune"]
    lines = ran.out.splitlines()
    assert any(line.startswith("invalid_property - property 'pages'") for line in lines)
    assert any(line.startswith("unknown_property - ") for line in lines)
    assert {"written 1", "failed 2", "failed_invalid_property 1"} <= set(lines)
    (path,) = (ran.folder / "failed").glob("*.jsonl")
    kept = [failure_from_json(line) for line in path.read_text().splitlines()]
    assert sorted(failure.object.properties["title"] for failure in kept) == ["Solaris", "Ubik"]


def test_grpc(run: Run) -> None:
    assert run("Use the gRPC API").titles() == ["Dune"]


def test_ids(run: Run) -> None:
    ran = run("Specify an ID value")
    rows = [{"country": "NL", "number": i, "title": f"Object {i}"} for i in range(5)]
    expected = {
        "MyOneField": [generate_uuid5(row["title"]) for row in rows],
        "MySeveralFields": [generate_uuid5(json.dumps(["NL", str(i)])) for i in range(5)],
        "MyFunction": [generate_uuid5(f"NL-{i}") for i in range(5)],
        "MyClientsWay": [weaviate.util.generate_uuid5(row) for row in rows],
    }
    for name, ids in expected.items():
        assert {str(o.uuid) for o in ran.objects(name)} == set(ids), name
    assert generate_uuid5('["NL", "2"]') in expected["MySeveralFields"]


def test_versions_of_one_object(run: Run) -> None:
    found = {
        o.properties["sku"]: o.properties["version"] for o in run("Specify an ID value", 1).objects("MyProduct")
    }
    assert found == {"A0": 27, "A1": 28, "A2": 29}


def test_vectors(run: Run) -> None:
    ran = run("Specify a vector")
    assert ran.titles() == [*FIVE, "Without a vector"]
    assert "the vector has 2 values, collection " in ran.out and " expects 3" in ran.out
    nearest = ran.collection().query.near_vector([0.1, 0.5, 0.3], limit=1)
    assert nearest.objects[0].properties["title"] == "Object 1"
    assert {o.properties["title"]: bool(o.vector) for o in ran.objects()}["Without a vector"] is False


def test_named_vectors(run: Run) -> None:
    objects = {o.properties["title"]: o.vector for o in run("Specify named vectors").objects()}
    assert set(objects) == set(FIVE)
    assert set(objects["Object 1"]) == {"title", "tokens"}
    for number in range(2, 6):
        vectors = objects[f"Object {number}"]
        assert set(vectors) == {"title", "body", "tokens"}
        assert vectors["body"] == pytest.approx([0.34] * 8)
        assert vectors["tokens"] == [[0.5] * 4] * (number + 1)


def pointed_at(ran: Ran, collection: str, name: str, reference: str) -> list[str]:
    found = ran.collection(collection).query.fetch_object_by_id(
        generate_uuid5(name), return_references=QueryReference(link_on=reference, return_properties=["name"])
    )
    linked = found.references.get(reference)
    return sorted(o.properties["name"] for o in linked.objects) if linked else []


def test_references(run: Run) -> None:
    for _ in range(2):  # a second time adds none again
        ran = run("Import with references")
        assert pointed_at(ran, "MyAuthor", "Ann", "writesFor") == ["Daily", "Weekly"]
        assert pointed_at(ran, "MyAuthor", "Bob", "writesFor") == ["Daily", "Monthly"]
        assert pointed_at(ran, "MyAuthor", "Cid", "writesFor") == []
        assert pointed_at(ran, "MyPaper", "Daily", "hasAuthors") == ["Ann", "Bob"]
        assert pointed_at(ran, "MyPaper", "Monthly", "hasAuthors") == ["Bob"]
        assert list((ran.folder / "failed-references").glob("*.jsonl")) == []


def test_references_with_their_objects(run: Run) -> None:
    for _ in range(2):
        ran = run("Import with references", 1)
        assert pointed_at(ran, "MyAuthor", "Ann", "writesFor") == ["Daily", "Weekly"]
        assert pointed_at(ran, "MyAuthor", "Bob", "writesFor") == ["Daily"]
        assert ran.objects("MyAuthor")[0].properties.keys() == {"name"}


def test_large_files(run: Run) -> None:
    ran = run("Stream data from large files")
    answers = {o.properties["question"]: o.properties["answer"] for o in ran.objects("MyQuestion")}
    assert len(answers) == 2000
    assert answers["What is 7 + 7?"] == answers["And What is 7 + 7?"] == "14"
    (path,) = (ran.folder / "failed").glob("*.jsonl")
    (failure,) = [failure_from_json(line) for line in path.read_text().splitlines()]
    assert failure.position == "more-questions.csv: row 1001"
    assert "property 'points'" in failure.error and "many" in failure.error


def test_batch_vectorization(run: Run) -> None:
    objects = run("Batch vectorization").objects()
    assert len(objects) == 5 and all(o.vector["default"] for o in objects)


@pytest.fixture(scope="module")
def openai() -> Iterator[FakeEmbeddings]:
    with FakeEmbeddings() as running:
        yield running


@pytest.fixture(scope="module")
def vectorizing(openai: FakeEmbeddings) -> Iterator[WeaviateServer]:
    with WeaviateServer(version="1.39.3", environment=openai.environment) as running:
        yield running


def test_model_providers(
    run_on: Run, vectorizing: WeaviateServer, openai: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OPENAI_APIKEY", "k1"), ("COHERE_APIKEY", "k2"), ("OPENAI_BASEURL", openai.url)):
        monkeypatch.setenv(name, value)
    with connected(vectorizing) as witness:
        ran = run_on(vectorizing, witness, "Model provider configurations")
        objects = ran.objects()
    assert ran.out == ""
    assert {o.properties["title"] for o in objects} == {f"Object {i}" for i in range(5)}
    assert all(o.vector["default"] for o in objects)
    assert openai.calls == 1


@pytest.fixture(scope="module")
def asynchronous() -> Iterator[WeaviateServer]:
    with WeaviateServer(version="1.39.3", environment={"ASYNC_INDEXING": "true"}) as running:
        yield running


def test_asynchronous_imports(run_on: Run, asynchronous: WeaviateServer) -> None:
    with connected(asynchronous) as witness:
        ran = run_on(asynchronous, witness, "Asynchronous imports")
        assert len(ran.objects()) == 500
        for i in (0, 250, 499):
            nearest = ran.collection().query.near_vector([0.01 * i, 1.0, 0.5], limit=1)
            assert nearest.objects[0].properties["title"] == f"Object {i}"


def test_tenants(run: Run) -> None:
    ran = run("Automatically add new tenants")
    collection = ran.collection()
    assert set(collection.tenants.get()) == {"TenantOne", "TenantTwo"}
    assert [len(list(collection.with_tenant(name).iterator())) for name in ("TenantOne", "TenantTwo")] == [1, 1]
    assert "TenntOne" in ran.out


def test_every_program_has_a_test() -> None:
    """A program that is added runs in a test, too: the number of each section is looked up above."""
    assert {heading: len(programs) for heading, programs in PROGRAMS.items() if programs} == {
        "Basic import": 1,
        "Error handling": 1,
        "Use the gRPC API": 1,
        "Specify an ID value": 2,
        "Specify a vector": 1,
        "Specify named vectors": 1,
        "Import with references": 2,
        "Stream data from large files": 1,
        "Batch vectorization": 1,
        "Model provider configurations": 1,
        "Asynchronous imports": 1,
        "Automatically add new tenants": 1,
    }
