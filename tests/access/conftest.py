"""A real server that lets in by key and by token, and gives each user the rights of a role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.access.issuer import Issuer
from weaviate_io.testing import WeaviateServer

KEYS = {name: f"key-of-{name}-7d41" for name in ("root", "writer", "reader", "nobody")}
CLIENT_SECRET = "client-secret-2f90"
ARTICLE = {
    "class": "Article",
    "vectorizer": "none",
    "properties": [{"name": "number", "dataType": ["int"]}],
}

_ALL = {"collection": "*", "tenant": "*"}
_READ = [
    {"action": "read_collections", "collections": {"collection": "*"}},
    {"action": "read_data", "data": _ALL},
]
_WRITE = [{"action": f"{verb}_data", "data": _ALL} for verb in ("create", "update")]


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """The issuer of ``guarded``."""
    with Issuer(CLIENT_SECRET) as running:
        yield running


@pytest.fixture
def fresh_issuer(issuer: Issuer) -> Iterator[Issuer]:
    """The issuer of ``guarded``, as good as new."""
    issuer.asked.clear()
    yield issuer
    issuer.answer, issuer.life = lambda form: None, 3600


class Guarded:
    """A server with users; ``rest`` calls it as root."""

    def __init__(self, server: WeaviateServer) -> None:
        self.url, self.grpc_url = server.url, server.grpc_url

    def rest(self, method: str, path: str, json: Any = None) -> Any:
        answer = requests.request(
            method,
            f"{self.url}{path}",
            json=json,
            headers={"authorization": f"Bearer {KEYS['root']}"},
            timeout=60,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.text else None

    def count(self) -> int:
        """Objects of the collection Article."""
        return len(self.rest("GET", "/v1/objects?class=Article&limit=1000")["objects"])


@pytest.fixture(scope="session")
def guarded_server(issuer: Issuer) -> Iterator[Guarded]:
    environment = {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": ",".join(KEYS.values()),
        "AUTHENTICATION_APIKEY_USERS": ",".join(KEYS),
        "AUTHORIZATION_RBAC_ENABLED": "true",
        "AUTHORIZATION_RBAC_ROOT_USERS": "root",
    }
    with WeaviateServer(version="1.39.3", environment=environment | issuer.environment) as running:
        guarded = Guarded(running)
        for role, rights in [("reading", _READ), ("writing", [*_READ, *_WRITE])]:
            guarded.rest("POST", "/v1/authz/roles", {"name": role, "permissions": rights})
        for user, role, kind in [
            ("reader", "reading", "db"),
            ("writer", "writing", "db"),
            (issuer.user, "writing", "oidc"),
        ]:
            guarded.rest("POST", f"/v1/authz/users/{user}/assign", {"roles": [role], "userType": kind})
        yield guarded


@pytest.fixture
def guarded(guarded_server: Guarded) -> Iterator[Guarded]:
    """The server with an empty collection Article."""
    guarded_server.rest("POST", "/v1/schema", ARTICLE)
    yield guarded_server
    guarded_server.rest("DELETE", "/v1/schema/Article")
