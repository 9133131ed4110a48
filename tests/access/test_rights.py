"""Keys and the rights of their users, on a server that has both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import grpc
import pytest

from tests.access.conftest import ARTICLE, KEYS, Guarded
from weaviate_io import WeaviateConnection, WriteToWeaviate
from weaviate_io.client import Client
from weaviate_io.errors import WeaviateError
from weaviate_io.testing import Fail, FakeWeaviate, WeaviateServer

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:a literal secret")]

Write = Callable[..., Any]


def to(guarded: Any, user: str, **options: Any) -> WriteToWeaviate:
    return WriteToWeaviate("Article", url=guarded.url, grpc_url=guarded.grpc_url, api_key=KEYS[user], **options)


def refusal(server: Any, key: str | None) -> str:
    with pytest.raises(WeaviateError) as raised:
        Client(WeaviateConnection(server.url, grpc_url=server.grpc_url, api_key=key)).close()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_right_key(guarded: Guarded, write: Write) -> None:
    done = write([{"number": n} for n in range(20)], to(guarded, "writer"))
    assert len(done.written) == guarded.count() == 20 and not done.failed


def test_a_wrong_key_and_none(guarded: Guarded) -> None:
    told = refusal(guarded, "wrong-key-5309")
    assert "the server lets nobody in with this api_key=: 401" in told and "wrong-key-5309" not in told
    assert "the server lets nobody in without a key; give api_key=: 401" in refusal(guarded, None)


def test_a_key_for_a_server_that_asks_for_none(server: WeaviateServer) -> None:
    assert "the server asks for no key; leave api_key= out: 401" in refusal(server, KEYS["writer"])


def test_a_key_is_not_replaced_by_what_netrc_says(
    guarded: Guarded, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    connection = WeaviateConnection(guarded.url, grpc_url=guarded.grpc_url, api_key=KEYS["writer"])
    with closing(Client(connection)) as client:
        assert client.describe("Article")


def test_who_may_read_but_not_write_has_all_objects_refused(guarded: Guarded, write: Write) -> None:
    done = write([{"number": n} for n in range(20)], to(guarded, "reader"))
    assert not done.written and guarded.count() == 0
    assert {(failure.reason, failure.attempts) for failure in done.failed} == {("permission_denied", 1)}
    assert all("insufficient permissions to update_data" in failure.error for failure in done.failed)
    assert done.counters["failed"] == done.counters["failed_permission_denied"] == 20


def test_who_may_not_read_the_schema_learns_which_right_is_missing(guarded: Guarded, write: Write) -> None:
    with pytest.raises(Exception) as raised:
        write([{"number": 1}], to(guarded, "nobody"))
    told = "user 'nobody' lacks the permission read_collections (Domain: collections, Collection: Article)"
    assert f"/v1/schema/Article: {told}; give it a role that has it: 403" in str(raised.value)


def test_who_may_not_create_collections(guarded: Guarded, write: Write) -> None:
    schema = {**ARTICLE, "class": "Another"}
    where = {"url": guarded.url, "grpc_url": guarded.grpc_url, "api_key": KEYS["writer"]}
    with pytest.raises(Exception, match=r"user 'writer' lacks the permission create_collections .*Another"):
        write([{"number": 1}], WriteToWeaviate("Another", schema=schema, **where))


def test_waiting_for_the_index_needs_the_right_to_read_nodes(guarded: Guarded, write: Write) -> None:
    with pytest.raises(Exception, match=r"user 'writer' lacks the permission read_nodes .*Collection: Article"):
        write([{"number": 1}], to(guarded, "writer", wait_for_indexing=True))
    assert guarded.count() == 1


def test_who_may_write_but_not_read_data_writes(guarded: Guarded, write: Write) -> None:
    """The length of stored vectors is asked for, but a write does without."""
    rights = [
        {"action": "read_collections", "collections": {"collection": "*"}},
        {"action": "create_data", "data": {"collection": "*", "tenant": "*"}},
        {"action": "update_data", "data": {"collection": "*", "tenant": "*"}},
    ]
    guarded.rest("POST", "/v1/authz/roles", {"name": "filling", "permissions": rights})
    guarded.rest("POST", "/v1/authz/users/nobody/assign", {"roles": ["filling"], "userType": "db"})
    try:
        done = write([{"number": 1}], to(guarded, "nobody"))
    finally:
        guarded.rest("DELETE", "/v1/authz/roles/filling")
    assert len(done.written) == 1 and guarded.count() == 1


def test_a_call_that_is_refused_as_a_whole(fake: FakeWeaviate, write: Write) -> None:
    fake.create_collection(ARTICLE)
    fake.script(
        Fail(grpc.StatusCode.PERMISSION_DENIED, "user 'u' has insufficient permissions to update_data []")
    )
    transform = WriteToWeaviate("Article", url=fake.url, grpc_url=fake.grpc_url, batch_size=10)
    done = write([{"number": n} for n in range(10)], transform)
    assert {(failure.reason, failure.attempts) for failure in done.failed} == {("permission_denied", 1)}
    assert len(done.failed) == 10
