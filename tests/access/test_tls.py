"""TLS: whom the client trusts, who it says it is, and what is told where they do not agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.access.certificates import Authority, Pair, TlsProxy
from tests.access.conftest import ARTICLE
from weaviate_io import WeaviateConnection, WriteToWeaviate
from weaviate_io.client import Client
from weaviate_io.errors import WeaviateError
from weaviate_io.testing import FakeWeaviate, WeaviateServer
from weaviate_io.testing.binary import find_binary
from weaviate_io.testing.process import free_ports


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Authority:
    return Authority(folder, "stranger")


class Secured(NamedTuple):
    """Addresses that speak TLS."""

    url: str
    grpc_url: str

    def connection(self, **options: Any) -> WeaviateConnection:
        return WeaviateConnection(self.url, grpc_url=self.grpc_url, **options)


Secure = Callable[..., Secured]


@pytest.fixture
def secure(fake: FakeWeaviate) -> Iterator[Secure]:
    """Put TLS in front of the fake: ``secure(pair, clients=...)``."""
    with ExitStack() as stack:

        def secure(pair: Pair, clients: str | None = None) -> Secured:
            rest, grpc_address = (
                stack.enter_context(TlsProxy(target, pair, clients, protocol)).address
                for target, protocol in [(fake.url.removeprefix("http://"), "http/1.1"), (fake.grpc_url, "h2")]
            )
            return Secured(f"https://{rest}", grpc_address)

        yield secure


def opens(connection: WeaviateConnection) -> bool:
    with closing(Client(connection)) as client:
        return client.describe("Missing") is None


def refusals(secured: Secured, fake: FakeWeaviate, **options: Any) -> tuple[str, str]:
    """What is told of REST, and of gRPC where REST is well."""
    told = []
    for url, grpc_url in [
        (secured.url, secured.grpc_url),
        (fake.url, f"grpcs://{secured.grpc_url}"),
    ]:
        with pytest.raises(WeaviateError) as raised:
            Client(WeaviateConnection(url, grpc_url=grpc_url, **options)).close()
        told.append(str(raised.value))
        assert "\n" not in told[-1]
    return told[0], told[1]


def test_an_authority_of_ones_own(secure: Secure, authority: Authority) -> None:
    assert opens(secure(authority.issue("server")).connection(tls_ca=authority.path))


def test_a_client_shows_its_certificate(secure: Secure, authority: Authority, folder: Path) -> None:
    secured = secure(authority.issue("server"), authority.path)
    certificate, key = authority.issue("client")
    assert opens(secured.connection(tls_ca=authority.path, tls_cert=certificate, tls_key=key))
    both = folder / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    assert opens(secured.connection(tls_ca=authority.path, tls_cert=str(both)))


def test_a_client_without_certificate_learns_that_one_is_wanted(
    secure: Secure, fake: FakeWeaviate, authority: Authority
) -> None:
    secured = secure(authority.issue("server"), authority.path)
    for told in refusals(secured, fake, tls_ca=authority.path):
        assert "tls_cert=" in told


def test_a_certificate_that_the_server_does_not_trust(
    secure: Secure, fake: FakeWeaviate, authority: Authority, stranger: Authority
) -> None:
    secured = secure(authority.issue("server"), authority.path)
    certificate, key = stranger.issue("other-client")
    options = {"tls_ca": authority.path, "tls_cert": certificate, "tls_key": key}
    for told in refusals(secured, fake, **options):
        assert "tls_cert=" in told


def test_another_name_in_the_certificate(secure: Secure, fake: FakeWeaviate, authority: Authority) -> None:
    secured = secure(authority.issue("elsewhere", "db.example"))
    for told in refusals(secured, fake, tls_ca=authority.path):
        assert "another host name" in told and "tls_server_name=" in told
    assert opens(secured.connection(tls_ca=authority.path, tls_server_name="db.example"))
    for told in refusals(secured, fake, tls_ca=authority.path, tls_server_name="other.example"):
        assert "another host name" in told


def test_an_expired_certificate(secure: Secure, fake: FakeWeaviate, authority: Authority) -> None:
    secured = secure(authority.issue("expired", first=-3, last=-1))
    for told in refusals(secured, fake, tls_ca=authority.path):
        assert "expired" in told, told


def test_a_certificate_of_the_future(secure: Secure, fake: FakeWeaviate, authority: Authority) -> None:
    secured = secure(authority.issue("future", first=2, last=3))
    for told in refusals(secured, fake, tls_ca=authority.path):
        assert "not valid yet" in told, told


@pytest.mark.parametrize("tls_ca", [None, "stranger"])
def test_an_authority_that_is_not_trusted(
    secure: Secure, fake: FakeWeaviate, authority: Authority, stranger: Authority, tls_ca: str | None
) -> None:
    options = {"tls_ca": stranger.path} if tls_ca else {}
    for told in refusals(secure(authority.issue("server")), fake, **options):
        assert "its certificate is not trusted; give the authority as tls_ca=" in told


def test_files_of_no_use_are_told_before_anything_is_sent(
    fake: FakeWeaviate, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("client")
    other = authority.issue("other")
    locked = authority.issue("locked", password="a password")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate")
    for options, words in [
        ({"tls_ca": str(nothing)}, "holds no certificate in PEM"),
        (
            {"tls_cert": certificate, "tls_key": str(tmp_path / "missing")},
            "cannot be read on this worker: No such",
        ),
        ({"tls_cert": str(tmp_path / "missing"), "tls_key": key}, "cannot be read on this worker: No such"),
        ({"tls_cert": certificate}, "are no certificate in PEM with its unencrypted key"),
        ({"tls_cert": certificate, "tls_key": other.key}, "are no certificate in PEM with its unencrypted key"),
        (
            {"tls_cert": locked.certificate, "tls_key": locked.key},
            "are no certificate in PEM with its unencrypt",
        ),
    ]:
        with pytest.raises(WeaviateError) as raised:
            Client(WeaviateConnection("https://127.0.0.1:1", **options))
        assert words in str(raised.value), options
    assert not fake.requests


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_key": "k.pem"}, "give that as tls_cert="),
        ({"tls_cert": "c.pem"}, "need TLS: https:// in url=, or grpcs:// in grpc_url="),
        ({"tls_server_name": "db.example"}, "need TLS"),
    ],
)
def test_keywords_that_need_others(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WriteToWeaviate("Article", url="http://localhost:8080", **given)


@pytest.fixture(scope="module")
def tls_server(folder: Path, authority: Authority) -> Iterator[Secured]:
    """A real server with TLS for gRPC and, on another port, for REST, where it wants client certificates."""
    pair = authority.issue("weaviate", "weaviate.example")
    binary = find_binary("1.39.3")
    assert binary is not None
    wrapped = folder / "weaviate-with-tls"
    wrapped.write_text(f'#!/bin/sh\nexec "{binary.path}" "$@" --scheme https --tls-ca "{authority.path}"\n')
    wrapped.chmod(0o755)
    port = free_ports().rest
    environment = {
        "TLS_HOST": "127.0.0.1",
        "TLS_PORT": str(port),
        "TLS_CERTIFICATE": pair.certificate,
        "TLS_PRIVATE_KEY": pair.key,
        "GRPC_CERT_FILE": pair.certificate,
        "GRPC_KEY_FILE": pair.key,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEAVIATE_BINARY", str(wrapped))
        server = WeaviateServer(environment=environment)
        server.start()
    with closing(server):
        yield Secured(f"https://127.0.0.1:{port}", server.grpc_url)


@pytest.mark.server
def test_a_write_over_tls_to_a_server(tls_server: Secured, authority: Authority, write: Any) -> None:
    certificate, key = authority.issue("client")
    where = {
        "url": tls_server.url,
        "grpc_url": tls_server.grpc_url,
        "tls_ca": authority.path,
        "tls_cert": certificate,
        "tls_key": key,
        "tls_server_name": "weaviate.example",
    }
    done = write([{"number": 1}], WriteToWeaviate("Article", schema=ARTICLE, **where))
    assert len(done.written) == 1 and not done.failed
    with pytest.raises(WeaviateError, match="another host name"):
        Client(WeaviateConnection(tls_server.url, tls_ca=authority.path, tls_cert=certificate, tls_key=key))
    with pytest.raises(WeaviateError, match="tls_cert="):
        Client(tls_server.connection(tls_ca=authority.path, tls_server_name="weaviate.example"))
