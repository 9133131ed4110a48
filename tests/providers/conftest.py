"""A server that asks a provider for vectors, and the provider that it asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from weaviate_io.connection import WeaviateConnection
from weaviate_io.providers import ModelProvider
from weaviate_io.testing import WeaviateServer
from weaviate_io.testing.embeddings import FakeEmbeddings

DIMENSIONS = 4
PROVIDER_SECONDS = 4
"""How long the server waits for an answer of the provider."""


@pytest.fixture(scope="session")
def vectorizing() -> Iterator[WeaviateServer]:
    """One real server with the module text2vec-openai, for the session."""
    with FakeEmbeddings() as any_provider:
        environment = any_provider.environment | {"MODULES_CLIENT_TIMEOUT": f"{PROVIDER_SECONDS}s"}
        with WeaviateServer(version="1.39.3", environment=environment) as running:
            yield running


@pytest.fixture
def openai() -> Iterator[FakeEmbeddings]:
    """The provider, as good as new."""
    with FakeEmbeddings(dimensions=DIMENSIONS) as running:
        yield running


@pytest.fixture
def new_key() -> str:
    """A key that the server has not seen: it remembers the rates of those that it has."""
    return f"key-{uuid.uuid4().hex}"


@pytest.fixture
def provider(openai: FakeEmbeddings, new_key: str) -> ModelProvider:
    """The provider with rates, so that the server asks it for all objects of a request at once."""
    return ModelProvider(
        "openai",
        api_key=lambda: new_key,
        base_url=openai.url,
        requests_per_minute=3_000,
        tokens_per_minute=1_000_000,
    )


@pytest.fixture
def connect(vectorizing: WeaviateServer) -> Callable[..., WeaviateConnection]:
    """A connection with the headers of a provider: ``connect(provider)``."""

    def connect(provider: ModelProvider, grpc_url: str | None = None) -> WeaviateConnection:
        return WeaviateConnection(
            vectorizing.url, grpc_url=grpc_url or vectorizing.grpc_url, headers=provider.headers()
        )

    return connect


PROPERTIES = [
    {"name": "title", "dataType": ["text"]},
    {"name": "tags", "dataType": ["text[]"]},
    {"name": "number", "dataType": ["int"]},
    {"name": "day", "dataType": ["date"]},
]


@pytest.fixture
def collection(vectorizing: WeaviateServer) -> Iterator[Callable[..., str]]:
    """Creates a collection whose vectors the provider makes, and gives its name; dropped in the end."""
    created = []

    def create(module: dict[str, Any] | None = None, **more: Any) -> str:
        name = f"WeaviateIoTest_{uuid.uuid4().hex[:12]}"
        settings = {"vectorizeClassName": False, **(module or {})}
        description = {"vectorizer": "text2vec-openai", "moduleConfig": {"text2vec-openai": settings}}
        body = {"class": name, "properties": PROPERTIES, **(more or description)}
        answer = requests.post(f"{vectorizing.url}/v1/schema", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        created.append(name)
        return name

    yield create
    for name in created:
        requests.delete(f"{vectorizing.url}/v1/schema/{name}", timeout=60)


@pytest.fixture
def stored(vectorizing: WeaviateServer) -> Callable[..., dict[str, Any]]:
    """What the server has stored of a collection, by id: ``stored(name)[id]["vector"]``."""

    def read(name: str) -> dict[str, Any]:
        answer = requests.get(
            f"{vectorizing.url}/v1/objects",
            params={"class": name, "include": "vector", "limit": 10_000},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return {found["id"]: found for found in answer.json()["objects"]}

    return read
