"""Running the jobs as a user does: with the words of a command line, in a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines import import_files, replay_failures
from weaviate_io.testing import FakeWeaviate, WeaviateServer

_JOBS = {"import": import_files.main, "replay": replay_failures.main}


class Ran(NamedTuple):
    """What came of a job: its exit code, and the lines on standard output and standard error."""

    code: int
    out: list[str]
    err: list[str]

    @property
    def error(self) -> str:
        """The one line of a job that could not run."""
        assert len(self.err) == 1, self
        return self.err[0].removeprefix("weaviate-io: ")


Run = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a job in this process: ``run("import", "--input", ...)``."""

    def run(command: str, *words: str) -> Ran:
        capsys.readouterr()
        code = _JOBS[command](words)
        captured = capsys.readouterr()
        return Ran(code, captured.out.splitlines(), captured.err.splitlines())

    return run


@pytest.fixture
def articles(fake: FakeWeaviate, folder: Path) -> FakeWeaviate:
    """The fake server with the collection Article, and ``a.json`` with five rows for it."""
    fake.create_collection(
        {
            "class": "Article",
            "vectorizer": "none",
            "properties": [
                {"name": "title", "dataType": ["text"]},
                {"name": "zip", "dataType": ["text"]},
                {"name": "year", "dataType": ["int"]},
                {"name": "price", "dataType": ["number"]},
                {"name": "sold", "dataType": ["boolean"]},
                {"name": "day", "dataType": ["date"]},
                {"name": "tags", "dataType": ["text[]"]},
            ],
        }
    )
    write_json("a.json", [{"title": f"title {n}", "year": 2000 + n} for n in range(5)])
    return fake


@pytest.fixture
def to_fake(articles: FakeWeaviate, run: Run) -> Run:
    """Run a job on the fake server's collection Article: ``to_fake("import", "--input", ...)``."""

    def to_fake(command: str, *words: str) -> Ran:
        where = ["--url", articles.url, "--grpc-url", articles.grpc_url]
        target = ["--collection", "Article"] if command == "import" and "--collection" not in words else []
        return run(command, *words, *target, *where)

    return to_fake


@pytest.fixture
def on_server(run: Run, server: WeaviateServer) -> Run:
    """Run a job on the real server."""

    def on_server(command: str, *words: str) -> Ran:
        return run(command, *words, "--url", server.url, "--grpc-url", server.grpc_url)

    return on_server


def write_json(path: str, value: Any) -> None:
    """Write a value as JSON."""
    Path(path).write_text(json.dumps(value))


def dead_letters(folder: str = "failed") -> list[dict[str, Any]]:
    """The lines of all files of a dead letter, as JSON."""
    files = sorted(Path(folder).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def stored(fake: FakeWeaviate) -> list[dict[str, Any]]:
    """The properties of all objects that the fake has, in the order of their ids."""
    from weaviate_io.encoding import decode_object
    from weaviate_io.schema import CollectionSchema

    schemas = {name: CollectionSchema.from_rest(rest) for name, rest in fake.schemas.items()}
    return [
        dict(decode_object(message.SerializeToString(), schemas[key[0]]).properties)
        for key, message in sorted(fake.objects.items())
    ]
