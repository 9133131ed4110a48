"""A real server that knows its users: wrong keys, keys that change, and rights that end at a collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from weaviate_io import WeaviateConnection, WriteToWeaviate
from weaviate_io.testing import WeaviateServer

pytestmark = pytest.mark.server
COUNT = 60
ROWS = [{"number": n} for n in range(COUNT)]
ROOT = "root-key"


@pytest.fixture(scope="module")
def guarded() -> Iterator[WeaviateServer]:
    environment = {
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": ROOT,
        "AUTHENTICATION_APIKEY_USERS": "root",
        "AUTHENTICATION_DB_USERS_ENABLED": "true",
        "AUTHORIZATION_RBAC_ENABLED": "true",
        "AUTHORIZATION_RBAC_ROOT_USERS": "root",
    }
    with WeaviateServer(version="1.39.3", environment=environment) as running:
        for name in ("Mine", "Other"):
            properties = [{"name": "number", "dataType": ["int"]}]
            rest(running, "POST", "/schema", {"class": name, "properties": properties, "vectorizer": "none"})
        yield running


def rest(server: WeaviateServer, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {ROOT}"}
    response = requests.request(method, f"{server.url}/v1{path}", json=body, headers=headers, timeout=60)
    response.raise_for_status()
    return response.json() if response.content else None


@pytest.fixture
def user(guarded: WeaviateServer) -> Iterator[str]:
    """Someone who may read both collections, and write one of them."""
    read = [
        {"action": action, kind: {"collection": name, "tenant": "*", "object": "*"}}
        for name in ("Mine", "Other")
        for action, kind in (("read_collections", "collections"), ("read_data", "data"))
    ]
    write = [
        {"action": action, "data": {"collection": "Mine", "tenant": "*", "object": "*"}}
        for action in ("create_data", "update_data")
    ]
    rest(guarded, "POST", "/authz/roles", {"name": "writer", "permissions": read + write})
    key = rest(guarded, "POST", "/users/db/worker")["apikey"]
    rest(guarded, "POST", "/authz/users/worker/assign", {"roles": ["writer"], "userType": "db"})
    yield key
    rest(guarded, "DELETE", "/users/db/worker")
    rest(guarded, "DELETE", "/authz/roles/writer")


def connection(server: WeaviateServer, key: Any) -> WeaviateConnection:
    return WeaviateConnection(server.url, grpc_url=server.grpc_url, api_key=key)


def stored(server: WeaviateServer, name: str) -> int:
    return len(rest(server, "GET", f"/objects?class={name}&limit=1000")["objects"])


def test_a_wrong_key_fails_the_job_before_anything_is_sent(write: Any, guarded: WeaviateServer) -> None:
    with pytest.raises(Exception, match="the server lets nobody in with this api_key=: 401"):
        write(ROWS, WriteToWeaviate("Mine", connection=connection(guarded, lambda: "wrong")))


def test_without_the_right_to_one_collection_only_its_objects_fail(
    write: Any, guarded: WeaviateServer, user: str
) -> None:
    transform = WriteToWeaviate(
        lambda row: "Other" if row["number"] % 2 else "Mine", connection=connection(guarded, lambda: user)
    )
    done = write(ROWS, transform)
    assert {failure.reason for failure in done.failed} == {"permission_denied"}
    assert {failure.collection for failure in done.failed} == {"Other"}
    assert (len(done.failed), len(done.written)) == (COUNT // 2, COUNT // 2)
    assert (stored(guarded, "Mine"), stored(guarded, "Other")) == (COUNT // 2, 0)


def test_a_key_that_changes_meanwhile_is_read_again(
    write: Any, guarded: WeaviateServer, user: str, before_batch: Any, no_pause: None, monkeypatch: Any
) -> None:
    monkeypatch.setenv("WORKER_KEY", user)

    def rotate(number: int) -> None:
        if number == 1:
            monkeypatch.setenv("WORKER_KEY", rest(guarded, "POST", "/users/db/worker/rotate-key")["apikey"])

    before_batch(rotate)
    transform = WriteToWeaviate("Mine", connection=connection(guarded, "env:WORKER_KEY"), batch_size=20)
    done = write(ROWS, transform)
    assert len(done.written) == COUNT and not done.failed
    assert done.counters["retries"]


def test_a_key_that_is_taken_no_more_fails_the_job_at_once(
    write: Any, guarded: WeaviateServer, user: str, before_batch: Any
) -> None:
    """Nothing but this waits for the budget of 5 minutes."""
    calls: list[int] = []

    def rotate(number: int) -> None:
        calls.append(number)
        if number == 1:
            rest(guarded, "POST", "/users/db/worker/rotate-key")

    before_batch(rotate)
    transform = WriteToWeaviate("Mine", connection=connection(guarded, lambda: user), batch_size=20)
    with pytest.raises(Exception, match="unauthorized") as raised:
        write(ROWS, transform)
    assert user not in str(raised.value) and len(calls) <= 3
