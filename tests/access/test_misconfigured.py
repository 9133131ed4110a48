"""What cannot work is told in one line that says what to do, soon, whatever swallows the packets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.access.certificates import Authority, TlsProxy
from tests.access.issuer import Issuer
from tests.ports import silent_port
from weaviate_io import OidcClientCredentials, WeaviateConnection
from weaviate_io.client import Client
from weaviate_io.errors import WeaviateError
from weaviate_io.testing import FakeWeaviate, FaultProxy

PATIENCE = 1.0
"""Seconds that the silent ones are given here, in place of the default."""

NO_HANG = 10.0

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("CLIENT_SECRET", "client-secret-2f90")


class Scene:
    """A fake server, and what a case puts around it; ``address`` gives what it may connect to instead."""

    def __init__(self, fake: FakeWeaviate, folder: Any, stack: contextlib.ExitStack) -> None:
        self.fake = fake
        self.rest = fake.url.removeprefix("http://")
        self.grpc = fake.grpc_url
        self.authority = Authority(folder, "authority")
        self.stack = stack

    def swallowing(self, target: str) -> str:
        proxy = self.stack.enter_context(FaultProxy(target))
        proxy.mode = "blackhole"
        return proxy.address

    def secured(self, target: str, protocol: str = "http/1.1", **options: Any) -> str:
        pair = self.authority.issue(f"server-{protocol[:2]}", **options)
        return self.stack.enter_context(TlsProxy(target, pair, protocol=protocol)).address

    def listening(self, serve: Callable[[socket.socket], None]) -> str:
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.stack.callback(listener.shutdown, socket.SHUT_RDWR)

        def accept() -> None:
            with contextlib.suppress(OSError):
                serve(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    @staticmethod
    def nobody() -> str:
        return f"127.0.0.1:{silent_port()}"


@pytest.fixture
def scene(fake: FakeWeaviate, tmp_path: Any) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(fake, tmp_path, stack)


def drip(connection: socket.socket) -> None:
    """An answer that goes on for ever, a few bytes at a time: no time limit between two pieces helps."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"x-a: b\r\n")
            time.sleep(0.3)


def redirect(connection: socket.socket) -> None:
    answer = b"HTTP/1.1 308 Permanent Redirect\r\nlocation: https://db.example/\r\ncontent-length: 0\r\n\r\n"
    with contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(answer)


Case = Callable[[Scene], tuple[str, str, dict[str, Any]]]

CASES: dict[str, tuple[Case, str]] = {
    "nothing listens for REST": (lambda s: (f"http://{s.nobody()}", s.grpc, {}), "nothing listens there"),
    "nothing listens for gRPC": (lambda s: (s.fake.url, s.nobody(), {}), "give the gRPC address as grpc_url="),
    "ports swapped": (lambda s: (f"http://{s.grpc}", s.rest, {}), "is this the gRPC port?"),
    "REST port for gRPC": (lambda s: (s.fake.url, s.rest, {}), "is this the REST port?"),
    "REST swallowed": (lambda s: (f"http://{s.swallowing(s.rest)}", s.grpc, {}), "is a firewall between?"),
    "REST swallowed, with TLS": (
        lambda s: (f"https://{s.swallowing(s.rest)}", s.grpc, {}),
        "is a firewall between?",
    ),
    "gRPC swallowed": (lambda s: (s.fake.url, s.swallowing(s.grpc), {}), "is a firewall between?"),
    "gRPC swallowed, with TLS": (
        lambda s: (s.fake.url, f"grpcs://{s.swallowing(s.grpc)}", {}),
        "is a firewall between?",
    ),
    "answer without end": (lambda s: (f"http://{s.listening(drip)}", s.grpc, {}), "did not answer in time"),
    "sent on": (
        lambda s: (f"http://{s.listening(redirect)}", s.grpc, {}),
        "308 it sends on to https://db.example/; give the address it ends at as url=",
    ),
    "no such host for REST": (lambda s: ("http://no-such-host.invalid", s.grpc, {}), "does not resolve"),
    "no such host for gRPC": (lambda s: (s.fake.url, "no-such-host.invalid:1", {}), "does not resolve"),
    "http for https": (lambda s: (f"http://{s.secured(s.rest)}", s.grpc, {}), "does it want https:// in url="),
    "https for http": (lambda s: (f"https://{s.rest}", s.grpc, {}), "it does not speak TLS; use http://"),
    "grpc for grpcs": (lambda s: (s.fake.url, s.secured(s.grpc, "h2"), {}), "does it want TLS (grpcs://)"),
    "grpcs for grpc": (lambda s: (s.fake.url, f"grpcs://{s.grpc}", {}), "does it speak TLS (grpcs://)"),
    "authority not given": (
        lambda s: (f"https://{s.secured(s.rest)}", s.grpc, {}),
        "give the authority as tls_ca=",
    ),
    "certificate expired": (
        lambda s: (f"https://{s.secured(s.rest, first=-3, last=-1)}", s.grpc, {"tls_ca": s.authority.path}),
        "its certificate has expired",
    ),
    "certificate of another": (
        lambda s: (f"https://{s.secured(s.rest, host='db.example')}", s.grpc, {"tls_ca": s.authority.path}),
        "its certificate is for another host name",
    ),
    "variable not set": (
        lambda s: (s.fake.url, s.grpc, {"api_key": "env:WEAVIATE_IO_NOT_SET"}),
        "WEAVIATE_IO_NOT_SET is not set on this worker",
    ),
    "OIDC server swallowed": (
        lambda s: (
            f"http://{s.swallowing(s.rest)}",
            s.grpc,
            {"api_key": OidcClientCredentials("env:CLIENT_SECRET")},
        ),
        "is a firewall between?",
    ),
    "OIDC for another server": (
        lambda s: (f"http://{s.nobody()}", s.grpc, {"api_key": OidcClientCredentials("env:CLIENT_SECRET")}),
        "nothing listens there",
    ),
}


def refusal(connection: WeaviateConnection) -> str:
    started = time.monotonic()
    with pytest.raises(WeaviateError) as raised:
        Client(connection).close()
    assert time.monotonic() - started < NO_HANG
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_told_soon(scene: Scene, name: str) -> None:
    case, words = CASES[name]
    url, grpc_url, options = case(scene)
    assert words in refusal(WeaviateConnection(url, grpc_url=grpc_url, probe_timeout=PATIENCE, **options))


def test_the_default_patience_is_within_the_limit() -> None:
    assert WeaviateConnection("http://h").probe_timeout < NO_HANG


def test_a_name_server_that_does_not_answer(fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])
    told = refusal(WeaviateConnection("http://db.example", grpc_url=fake.grpc_url, probe_timeout=PATIENCE))
    answered.set()
    assert "did not answer in time" in told


def test_an_issuer_that_swallows_everything(fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    from weaviate_io import oidc

    with Issuer("secret") as issuer, FaultProxy(issuer.url.removeprefix("http://")) as proxy:
        proxy.mode = "blackhole"
        monkeypatch.setattr(oidc, "_discover", lambda connection: {"href": f"http://{proxy.address}/x"})
        credentials = OidcClientCredentials("env:CLIENT_SECRET")
        where = {"grpc_url": fake.grpc_url, "probe_timeout": PATIENCE, "api_key": credentials}
        assert "no token from the OIDC issuer" in refusal(WeaviateConnection(fake.url, **where))


# Proxies of the environment.


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HTTP_PROXY": "dead"}, "the proxy of HTTP_PROXY or HTTPS_PROXY does not let it through"),
        (
            {"https_proxy": "dead"},
            "gRPC goes through the proxy of https_proxy, unless no_proxy, in lower case,",
        ),
        ({"grpc_proxy": "dead"}, "gRPC goes through the proxy of grpc_proxy, unless no_proxy"),
        ({"http_proxy": "dead", "NO_PROXY": "127.0.0.1"}, "gRPC goes through the proxy of http_proxy"),
    ],
)
def test_a_proxy_in_between_is_named(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("dead", f"http://{Scene.nobody()}"))
    assert words in refusal(WeaviateConnection(fake.url, grpc_url=fake.grpc_url))


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", "db.example,127.0.0.1"])
def test_one_variable_goes_around_the_proxy_for_both(
    fake: FakeWeaviate, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://{Scene.nobody()}")
    monkeypatch.setenv("no_proxy", exempt)
    Client(WeaviateConnection(fake.url, grpc_url=fake.grpc_url)).close()
