"""What all tests share: servers, a witness to read back with, names of collections, ways to run a pipeline."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import weaviate
from hypothesis import HealthCheck, settings

from tests.write.running import FN_API, RUNNERS, Done, Runner, run_write
from weaviate_io.testing import FakeWeaviate, WeaviateServer

# The same examples in every run; `make fuzz` looks for new ones, and prints how to repeat what it finds.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", deadline=None, max_examples=20_000, print_blob=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def server() -> Iterator[WeaviateServer]:
    """One real server for the session. Where none can be had, its tests fail."""
    with WeaviateServer(version="1.39.3") as running:
        yield running


@pytest.fixture(scope="session")
def witness(server: WeaviateServer) -> Iterator[weaviate.WeaviateClient]:
    """The official client, connected to the server: it reads back what was written."""
    with connected(server) as client:
        yield client


def connected(server: WeaviateServer) -> weaviate.WeaviateClient:
    """The official client, to be used in a ``with``."""
    host, port = server.url.removeprefix("http://").split(":")
    grpc_host, grpc_port = server.grpc_url.split(":")
    return weaviate.connect_to_custom(
        http_host=host,
        http_port=int(port),
        http_secure=False,
        grpc_host=grpc_host,
        grpc_port=int(grpc_port),
        grpc_secure=False,
    )


@pytest.fixture
def new_name(server: WeaviateServer) -> Iterator[Callable[[], str]]:
    """Gives names of collections that no one else has; what was created under them is dropped in the end."""
    given = []

    def new() -> str:
        given.append(f"WeaviateIoTest_{uuid.uuid4().hex[:12]}")
        return given[-1]

    yield new
    for name in given:
        requests.delete(f"{server.url}/v1/schema/{name}", timeout=60)


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """What knows itself in a circle stays while the test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def fake() -> Iterator[FakeWeaviate]:
    """A fake server, as good as new."""
    with FakeWeaviate() as running:
        yield running


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.name)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Each of the local ways to run a pipeline."""
    return request.param


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Done]:
    """Run a write and give back what came out of it: ``write(rows, transform, runner=..., through=...)``."""

    def write(rows: Any, transform: Any, runner: Runner = FN_API, **options: Any) -> Done:
        return run_write(rows, transform, tmp_path, runner, **options)

    return write
