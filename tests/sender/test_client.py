"""Opening a connection: what is wrong with it is told in one line; what is shared, and by whom."""

from __future__ import annotations

import multiprocessing
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from urllib3.util import Retry

from tests.ports import silent_port
from tests.sender.harness import COLLECTIONS, connection_to, made, told
from weaviate_io import client as client_module
from weaviate_io import proto
from weaviate_io.client import Client, acquire, release
from weaviate_io.connection import WeaviateConnection
from weaviate_io.encoding import ObjectEncoder, join_request
from weaviate_io.errors import WeaviateError
from weaviate_io.schema import CollectionSchema
from weaviate_io.testing import FakeWeaviate, FaultProxy


def refusal(connection: WeaviateConnection) -> str:
    with pytest.raises(WeaviateError) as raised:
        Client(connection).close()
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Wrong addresses, ports and keys.


def test_nothing_listens(fake: FakeWeaviate) -> None:
    nobody = f"127.0.0.1:{silent_port()}"
    assert "nothing listens there" in refusal(WeaviateConnection(f"http://{nobody}", grpc_url=fake.grpc_url))
    told = refusal(WeaviateConnection(fake.url, grpc_url=nobody))
    assert f"no gRPC at {nobody}: nothing listens there" in told and "grpc_url=" in told


def test_the_derived_grpc_address_is_told_with_every_failure_to_connect() -> None:
    nobody = f"http://127.0.0.1:{silent_port()}"
    assert f"no Weaviate at {nobody} (gRPC at 127.0.0.1:50051): nothing" in refusal(WeaviateConnection(nobody))


def test_the_ports_are_swapped(fake: FakeWeaviate) -> None:
    rest = fake.url.removeprefix("http://")
    assert "is this the REST port?" in refusal(WeaviateConnection(fake.url, grpc_url=rest))
    assert "is this the gRPC port?" in refusal(WeaviateConnection(f"http://{fake.grpc_url}", grpc_url=rest))


def test_host_names_that_do_not_resolve(fake: FakeWeaviate) -> None:
    for url, grpc_url in [("http://no-such-host.invalid:80", fake.grpc_url), (fake.url, "mode.invalid:50051")]:
        told = refusal(WeaviateConnection(url, grpc_url=grpc_url, probe_timeout=10))
        assert "host name does not resolve" in told and ".invalid" in told


def test_an_address_that_swallows_everything(fake: FakeWeaviate) -> None:
    with FaultProxy(fake.url.removeprefix("http://")) as rest, FaultProxy(fake.grpc_url) as other:
        rest.mode = other.mode = "blackhole"
        for url, grpc_url in [(f"http://{rest.address}", fake.grpc_url), (fake.url, other.address)]:
            told = refusal(WeaviateConnection(url, grpc_url=grpc_url, probe_timeout=0.3))
            assert "is a firewall between?" in told


@pytest.mark.filterwarnings("ignore:a literal secret")
@pytest.mark.parametrize("key", [None, "wrong-key-5309"])
def test_a_key_that_is_refused(key: str | None) -> None:
    with FakeWeaviate(api_key="right") as fake:
        told = refusal(connection_to(fake, api_key=key))
        assert "the server lets nobody in" in told and "401" in told and "wrong-key-5309" not in told


@pytest.mark.filterwarnings("ignore:a literal secret")
def test_secrets_are_in_no_message(fake: FakeWeaviate) -> None:
    options: dict[str, Any] = {"api_key": "hidden-1234", "headers": {"X-OpenAI-Api-Key": "hidden-5678"}}
    connection = WeaviateConnection(fake.url, grpc_url=f"127.0.0.1:{silent_port()}", **options)
    assert "hidden" not in refusal(connection) + repr(connection)
    client = Client(connection_to(fake, **options))
    with pytest.raises(WeaviateError) as raised:
        client.rest("GET", "/v1/nowhere")
    assert "hidden" not in str(raised.value) + repr(client)
    client.close()


class _Page(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        status, body = self.server.answer(self.server.asked)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def page() -> Iterator[Any]:
    """A web server: ``page.answer`` takes the number of the request, gives status and body."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as running:
        running.asked = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"hello": 1}'])
def test_something_else_answers(fake: FakeWeaviate, page: Any, body: bytes) -> None:
    page.answer = lambda number: (200, body)
    url = f"http://127.0.0.1:{page.server_address[1]}"
    assert "is no Weaviate" in refusal(WeaviateConnection(url, grpc_url=fake.grpc_url))


def test_something_else_speaks_grpc(fake: FakeWeaviate) -> None:
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    assert "is no Weaviate" in refusal(WeaviateConnection(fake.url, grpc_url=f"127.0.0.1:{port}"))
    other.stop(None)


def test_a_server_that_takes_no_writes_now_is_there(fake: FakeWeaviate) -> None:
    def refuse(_: bytes, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "read-only mode is enabled temporally")

    check = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(refuse)}
    )
    other = grpc.server(ThreadPoolExecutor(1), handlers=[check])
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    Client(WeaviateConnection(fake.url, grpc_url=f"127.0.0.1:{port}")).close()
    other.stop(None)


# TLS.

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificates with openssl"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-made certificates: ``right.pem`` is for 127.0.0.1, ``other.pem`` for another host."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, host in [("right", "IP:127.0.0.1"), ("other", "DNS:other.example")]:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        subprocess.run([*command, "-addext", f"subjectAltName={host}", *files], check=True, capture_output=True)
    return folder


@pytest.fixture(params=["right", "other"])
def secured(request: pytest.FixtureRequest, certificates: Path, page: Any) -> Iterator[tuple[str, str, str]]:
    """A server that speaks TLS on both ports, with one of the certificates: its name, REST and gRPC addresses."""
    name = request.param
    chain, key = certificates / f"{name}.pem", certificates / f"{name}.key"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    page.socket = context.wrap_socket(page.socket, server_side=True)
    page.answer = lambda number: (200, b'{"version": "1.39.3"}')
    check = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")},
    )
    other = grpc.server(ThreadPoolExecutor(1), handlers=[check])
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    port = other.add_secure_port("127.0.0.1:0", credentials)
    other.start()
    yield name, f"127.0.0.1:{page.server_address[1]}", f"127.0.0.1:{port}"
    other.stop(None)


@needs_openssl
def test_certificates(
    secured: tuple[str, str, str], certificates: Path, fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, rest, port = secured
    another = {"right": "other", "other": "right"}[name]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / f"{another}.pem"))  # yields to tls_ca=
    trusted = str(certificates / f"{name}.pem")
    if name == "right":
        Client(WeaviateConnection(f"https://{rest}", grpc_url=port, tls_ca=trusted)).close()
        assert "not trusted" in refusal(WeaviateConnection(f"https://{rest}", grpc_url=port))
        assert "certificate" in refusal(WeaviateConnection(fake.url, grpc_url=f"grpcs://{port}"))
    else:
        told = refusal(WeaviateConnection(f"https://{rest}", grpc_url=port, tls_ca=trusted))
        assert "certificate is for another host name" in told
        told = refusal(WeaviateConnection(fake.url, grpc_url=f"grpcs://{port}", tls_ca=trusted))
        assert "certificate" in told


@needs_openssl
def test_tls_on_one_side_only(secured: tuple[str, str, str], certificates: Path, fake: FakeWeaviate) -> None:
    _, rest, port = secured
    plain = fake.url.removeprefix("http://")
    assert "https://" in refusal(WeaviateConnection(f"http://{rest}", grpc_url=port))
    assert "use http://" in refusal(WeaviateConnection(f"https://{plain}", grpc_url=port))
    assert "grpcs://" in refusal(WeaviateConnection(fake.url, grpc_url=f"grpc://{port}"))
    assert "TLS" in refusal(WeaviateConnection(fake.url, grpc_url=f"grpcs://{fake.grpc_url}"))


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1:1"])
def test_an_authority_that_cannot_be_read(url: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    told = refusal(WeaviateConnection(url, tls_ca=missing))
    assert f"tls_ca='{missing}' cannot be read on this worker: No such file" in told


# Shared by its users.


def test_one_client_is_shared_by_threads_and_closed_by_the_last_user(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Client] = []
    monkeypatch.setattr(Client, "close", lambda self: closed.append(self))
    start = threading.Barrier(8)

    def use() -> Client:
        start.wait()
        return acquire(connection_to(fake))

    with ThreadPoolExecutor(8) as threads:
        clients = {threads.submit(use) for _ in range(8)}
    assert len({future.result() for future in clients}) == 1
    for left in reversed(range(8)):
        assert not closed
        release(connection_to(fake))
        assert bool(closed) == (left == 0)
    release(connection_to(fake))  # one too many is harmless
    assert len(closed) == 1
    again = acquire(connection_to(fake))
    assert again is not closed[0]
    release(connection_to(fake))


def test_other_connections_have_other_clients(fake: FakeWeaviate) -> None:
    one, other = connection_to(fake), connection_to(fake, timeout=100)
    assert acquire(one) is not acquire(other)
    release(one)
    release(other)


def test_a_connection_that_cannot_be_opened_leaves_nothing_behind(fake: FakeWeaviate) -> None:
    wrong = WeaviateConnection(f"http://127.0.0.1:{silent_port()}")
    for _ in range(2):
        with pytest.raises(WeaviateError):
            acquire(wrong)
    assert wrong not in client_module._registry._clients


def _write_in_child(connection: WeaviateConnection, payload: bytes, told: Any) -> None:
    client = acquire(connection)
    told.put(client.batch_objects(payload, 30).code() is grpc.StatusCode.OK)
    release(connection)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process")
def test_a_child_process_opens_a_client_of_its_own(fake: FakeWeaviate, method: str) -> None:
    """With "fork", the parent's is open at that time: gRPC would hang in the child, if it was used there."""
    context = multiprocessing.get_context(method)
    schema = CollectionSchema.from_rest(fake.create_collection(COLLECTIONS["unnamed"]))
    payload = join_request([ObjectEncoder(schema).encode(made(0))])
    connection = connection_to(fake)
    if method == "fork":
        _fork_and_write(fake, connection, payload)
        return
    told = context.Queue()
    child = context.Process(target=_write_in_child, args=(connection, payload, told))
    child.start()
    assert told.get(timeout=60)
    child.join(60)


def _fork_and_write(fake: FakeWeaviate, connection: WeaviateConnection, payload: bytes) -> None:
    """In a process of its own, since this one has the fake's gRPC server inside, which must not be forked."""
    program = f"""
import os, sys
from weaviate_io.client import acquire, release
from weaviate_io.connection import WeaviateConnection
connection = WeaviateConnection({connection.url!r}, grpc_url={connection.grpc_url!r})
parent = acquire(connection)
assert parent.batch_objects(bytes.fromhex({payload.hex()!r}), 30).code().name == "OK"
child = os.fork()
if not child:
    own = acquire(connection)
    code = own.batch_objects(bytes.fromhex({payload.hex()!r}), 30).code().name
    os._exit(0 if own is not parent and code == "OK" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert parent.batch_objects(bytes.fromhex({payload.hex()!r}), 30).code().name == "OK"
release(connection)
"""
    import sys

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_closing_waits_for_what_is_in_flight(fake: FakeWeaviate) -> None:
    from weaviate_io.sender import Sender
    from weaviate_io.testing import faults

    schema = CollectionSchema.from_rest(fake.create_collection(COLLECTIONS["unnamed"]))
    client = acquire(connection_to(fake))
    fake.script(faults.Delay(1e6))
    sender = Sender(client)
    sender.submit(schema, [ObjectEncoder(schema).encode(made(0))])
    fake.wait_until(lambda: fake.hanging == 1)
    closing = threading.Thread(target=release, args=[connection_to(fake)])
    closing.start()
    fake.release()
    closing.join(60)
    assert [one.failure for one in told(sender.drain())] == [None]  # not cancelled
    assert len(fake.objects) == 1


# What is known of collections.


def test_a_description_is_kept_until_it_may_have_changed(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(connection_to(fake))
    clock = [1000.0]
    monkeypatch.setattr(client_module.time, "monotonic", lambda: clock[0])
    asked: list[str] = []
    describe = client.describe
    monkeypatch.setattr(client, "describe", lambda name: asked.append(name) or describe(name))

    def ask(seconds: float, refresh: bool = False) -> tuple[bool, int]:
        clock[0] += seconds
        found = client.schema("Article", refresh) is not None
        return found, len(asked)

    assert ask(0) == (False, 1)
    fake.create_collection(COLLECTIONS["unnamed"])
    assert ask(29) == (False, 1)  # a stream of refused objects does not ask each time
    assert ask(2) == (True, 2)
    assert ask(1000) == (True, 2)
    assert ask(0, refresh=True) == (True, 3)
    assert ask(29, refresh=True) == (True, 3)
    client.forget("Article")
    assert ask(0) == (True, 4)
    assert client.schema("Other") is None
    client.close()


def test_lengths_of_stored_vectors(fake: FakeWeaviate) -> None:
    client = Client(connection_to(fake))

    def lengths(kind: str, store: bool = True) -> dict[str, int]:
        fake.reset()
        schema = CollectionSchema.from_rest(fake.create_collection(COLLECTIONS[kind]))
        if store:
            entry = ObjectEncoder(schema).encode(made(0, kind))
            client.batch_objects(join_request([entry]), 30).result()
        return client.stored_dimensions(schema)

    assert lengths("unnamed") == {"": 3}
    assert lengths("named") == {"small": 3, "tokens": 3}
    assert lengths("no vectors") == {}
    assert lengths("unnamed", store=False) == {}
    assert lengths("tenants") == {}  # each tenant has its own
    assert client.stored_dimensions(CollectionSchema.unknown("Missing")) == {}
    missing = CollectionSchema.from_rest({**COLLECTIONS["unnamed"], "class": "Missing"})
    assert client.stored_dimensions(missing) == {}
    client.close()


def test_lengths_of_stored_vectors_on_a_server(server: Any, new_name: Any) -> None:
    client = Client(connection_to(server))
    for kind, wanted in [("unnamed", {"": 3}), ("named", {"small": 3, "tokens": 3})]:
        name = new_name()
        client.rest("POST", "/v1/schema", {**COLLECTIONS[kind], "class": name})
        schema = client.schema(name)
        assert schema is not None and client.stored_dimensions(schema) == {}
        entry = ObjectEncoder(schema).encode(made(0, kind))
        reply = client.batch_objects(join_request([entry]), 30).result()
        assert not proto.BatchObjectsReply.FromString(reply).errors
        assert client.stored_dimensions(schema) == wanted
        search = proto.SearchRequest(collection=name, limit=1, uses_127_api=True)
        search.metadata.uuid = search.metadata.vector = True
        (result,) = client.search(search).results
        named = {vector.name: vector.vector_bytes for vector in result.metadata.vectors}
        read = named["small"] if kind == "named" else result.metadata.vector_bytes
        assert np.frombuffer(read, "<f4").tolist() == [1.0, 0.5, -1.0]
    client.close()


# REST.


def test_reading_by_rest_is_tried_again_while_a_balancer_complains(
    fake: FakeWeaviate, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda self: 0)
    page.answer = lambda n: (200, b'{"version": "1.39.3"}') if n == 1 or n == 4 else (503, b"busy")
    client = Client(WeaviateConnection(f"http://127.0.0.1:{page.server_address[1]}", grpc_url=fake.grpc_url))
    assert client.rest("GET", "/v1/schema").json() == {"version": "1.39.3"}
    assert page.asked == 4
    page.answer = lambda n: (503, b"busy")
    with pytest.raises(WeaviateError, match=r"GET http.*/v1/schema: 503 busy"):
        client.rest("GET", "/v1/schema")
    client.close()


def test_a_refusal_by_rest_has_the_servers_words(fake: FakeWeaviate) -> None:
    client = Client(connection_to(fake))
    with pytest.raises(WeaviateError, match=r"POST .*/v1/schema: 422 .*'1' is not a valid class name"):
        client.rest("POST", "/v1/schema", {"class": "1"})
    client.close()


def test_secrets_are_renewed_only_where_they_changed(fake: FakeWeaviate) -> None:
    tokens = ["first"]
    client = Client(connection_to(fake, api_key=lambda: tokens[-1]))
    before = client_module.time.monotonic()
    assert not client.renew_secrets(before)
    tokens.append("second")
    assert client.renew_secrets(before)
    assert client.renew_secrets(before)  # of another request that was sent before
    assert not client.renew_secrets(client_module.time.monotonic())
    assert dict(client._metadata())["authorization"] == "Bearer second"
    client.close()


@pytest.mark.parametrize("method", ["describe", "search"])
def test_a_refused_call_is_sent_again_with_a_renewed_token(method: str) -> None:
    with FakeWeaviate(api_key="first") as fake:
        fake.create_collection(COLLECTIONS["unnamed"])
        tokens = ["first"]
        client = Client(connection_to(fake, api_key=lambda: tokens[-1]))
        search = proto.SearchRequest(collection="Article", limit=1, uses_127_api=True)
        argument = "Article" if method == "describe" else search
        tokens.append("second")
        fake._api_key = fake._rest.api_key = "second"
        assert getattr(client, method)(argument) is not None
        fake._api_key = fake._rest.api_key = "third"  # this one the source does not know
        with pytest.raises((WeaviateError, grpc.RpcError), match="unauthorized"):
            getattr(client, method)(argument)
        client.close()
