"""Tokens of an OIDC issuer: fetched, shared, renewed before they run out, and what is told where none is to be had."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from apache_beam.internal.cloudpickle import cloudpickle

from tests.access.certificates import Authority, TlsProxy
from tests.access.conftest import ARTICLE, CLIENT_SECRET, KEYS, Guarded
from tests.access.issuer import CLIENT, Issuer
from tests.sender.harness import NO_PAUSE
from weaviate_io import OidcClientCredentials, WeaviateConnection, WeaviateObject, WriteToWeaviate, oidc
from weaviate_io.client import Client, acquire, release
from weaviate_io.encoding import ObjectEncoder
from weaviate_io.errors import WeaviateError
from weaviate_io.schema import CollectionSchema
from weaviate_io.sender import Sender
from weaviate_io.testing import FaultProxy, WeaviateServer

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", CLIENT_SECRET)


def connect(guarded: Any, **options: Any) -> WeaviateConnection:
    credentials = OidcClientCredentials("env:CLIENT_SECRET")
    given = {"url": guarded.url, "grpc_url": guarded.grpc_url, "api_key": credentials}
    return WeaviateConnection(**given | options)


def refusal(connection: WeaviateConnection) -> str:
    with pytest.raises(WeaviateError) as raised:
        Client(connection).close()
    assert "\n" not in str(raised.value) and CLIENT_SECRET not in str(raised.value)
    return str(raised.value)


class Writing:
    """A sender of numbered objects to the collection Article."""

    def __init__(self, connection: WeaviateConnection) -> None:
        self._client = Client(connection)
        self.sender = Sender(self._client, **NO_PAUSE)
        self._schema = CollectionSchema.from_rest(ARTICLE)
        self._encoder = ObjectEncoder(self._schema)
        self.sent = 0
        self.failures: list[Any] = []

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def write_until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            entry = self._encoder.encode(WeaviateObject({"number": self.sent}))
            self.sent += 1
            outcomes = self.sender.submit(self._schema, [entry]) + self.sender.drain()
            self.failures += [outcome.failure for outcome in outcomes if outcome.failure]


def test_a_job_writes_with_a_token(guarded: Guarded, fresh_issuer: Issuer, write: Callable[..., Any]) -> None:
    transform = WriteToWeaviate(
        "Article",
        url=guarded.url,
        grpc_url=guarded.grpc_url,
        api_key=OidcClientCredentials("env:CLIENT_SECRET", scopes=["weaviate", "openid"]),
    )
    done = write([{"number": n} for n in range(50)], transform)
    assert len(done.written) == 50 and guarded.count() == 50
    asked = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": CLIENT_SECRET}
    assert fresh_issuer.asked == [asked | {"scope": "openid weaviate"}]


def test_tokens_are_renewed_before_they_run_out(guarded: Guarded, fresh_issuer: Issuer) -> None:
    fresh_issuer.life = 5
    with FaultProxy(guarded.grpc_url) as slow:
        slow.latency = 0.1
        with Writing(connect(guarded, grpc_url=slow.address)) as writing:
            writing.write_until(lambda: len(fresh_issuer.asked) >= 4)  # after 11 seconds at least
    assert not writing.failures and guarded.count() == writing.sent
    assert writing.sender.tally.retries == 0  # no request was refused


def test_a_token_that_runs_out_early_costs_another_try(guarded: Guarded, fresh_issuer: Issuer) -> None:
    fresh_issuer.life = 4
    fresh_issuer.answer = lambda form: (200, {"access_token": fresh_issuer.token(), "expires_in": 3600})
    with FaultProxy(guarded.grpc_url) as slow:
        slow.latency = 0.1
        with Writing(connect(guarded, grpc_url=slow.address)) as writing:
            writing.write_until(lambda: len(fresh_issuer.asked) >= 3)
    assert not writing.failures and guarded.count() == writing.sent
    assert writing.sender.tally.retries == 2


def test_a_function_that_gives_tokens_is_asked_again_before_they_run_out(
    guarded: Guarded, fresh_issuer: Issuer
) -> None:
    fresh_issuer.life = 5
    given: list[str] = []

    def token() -> str:
        given.append(fresh_issuer.token())
        return given[-1]

    with FaultProxy(guarded.grpc_url) as slow:
        slow.latency = 0.1
        with Writing(connect(guarded, grpc_url=slow.address, api_key=token)) as writing:
            writing.write_until(lambda: len(given) >= 3)
    assert not writing.failures and writing.sender.tally.retries == 0


def test_threads_of_a_process_share_one_token(guarded: Guarded, fresh_issuer: Issuer) -> None:
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        connection = pickle.loads(cloudpickle.dumps(connect(guarded)))
        acquire(connection).rest("GET", "/v1/meta")
        start.wait()
        release(connection)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fresh_issuer.asked) == 1


def test_the_rights_of_the_user_hold_for_tokens_too(guarded: Guarded, fresh_issuer: Issuer) -> None:
    fresh_issuer.user, before = "somebody-else", fresh_issuer.user
    try:
        with closing(Client(connect(guarded))) as client, pytest.raises(WeaviateError) as raised:
            client.describe("Article")
    finally:
        fresh_issuer.user = before
    assert "user 'somebody-else' lacks the permission read_collections (" in str(raised.value)


# What is told where there is no token.


def test_a_wrong_secret(guarded: Guarded, fresh_issuer: Issuer) -> None:
    wrong = OidcClientCredentials(lambda: "wrong-secret-8812", client_id="another")
    told = refusal(connect(guarded, api_key=wrong))
    assert told == (
        f"the OIDC issuer gives no token at {fresh_issuer.url}/token: invalid_client "
        "(no client with the secret ***); check client_secret= and client_id="
    )
    assert [form["client_id"] for form in fresh_issuer.asked] == ["another"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"error": "invalid_scope"}, "invalid_scope; check scopes="),
        (400, {"error": "unauthorized_client"}, "the issuer does not let this client use client credentials"),
        (403, {}, "gives no token at"),
        (200, {}, "holds no access_token"),
        (200, {"access_token": 5}, "holds no access_token"),
        (503, {"message": "down for maintenance"}, "503 down for maintenance"),
    ],
)
def test_an_issuer_that_gives_no_token(
    guarded: Guarded, fresh_issuer: Issuer, status: int, body: dict[str, Any], words: str
) -> None:
    fresh_issuer.answer = lambda form: (status, body)
    assert words in refusal(connect(guarded))


def test_a_token_that_the_server_refuses_is_fetched_anew_once(guarded: Guarded, fresh_issuer: Issuer) -> None:
    with Writing(connect(guarded)) as writing:
        fresh_issuer.life = -10
        fresh_issuer.answer = lambda form: (200, {"access_token": fresh_issuer.token(), "expires_in": 3600})
        assert writing._client.renew_secrets(float("inf"))
        before = len(fresh_issuer.asked)
        with pytest.raises(WeaviateError, match="token is expired"):
            writing.write_until(lambda: False)
        assert len(fresh_issuer.asked) - before <= 1


def test_a_server_without_oidc(server: WeaviateServer) -> None:
    told = refusal(connect(server))
    assert told == f"{server.url} has OIDC turned off (AUTHENTICATION_OIDC_ENABLED); give a key as api_key="


def test_an_issuer_that_cannot_be_reached(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = {"href": "http://127.0.0.1:1/x", "clientId": "c"}
    monkeypatch.setattr(oidc, "_discover", lambda connection: offer)
    told = refusal(connect(fake))
    assert (
        "no OIDC issuer at 'http://127.0.0.1:1/x', which http://127.0.0.1:" in told
        and "nothing listens" in told
    )


def test_the_secret_goes_over_tls_where_the_server_does(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Issuer(CLIENT_SECRET) as issuer:
        offer = {"href": f"{issuer.url}/.well-known/openid-configuration", "clientId": "c"}
        monkeypatch.setattr(oidc, "_discover", lambda connection: offer)
        told = refusal(connect(fake, url="https://db.example"))
        assert "is not https://; the secret is not sent there" in told
        assert not issuer.asked


def test_an_issuer_with_an_authority_of_ones_own(
    fake: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    with (
        Issuer(CLIENT_SECRET) as issuer,
        TlsProxy(issuer.url.removeprefix("http://"), authority.issue("issuer")) as secured,
    ):
        issuer.url = f"https://{secured.address}"
        offer = {"href": f"{issuer.url}/.well-known/openid-configuration", "clientId": "c"}
        monkeypatch.setattr(oidc, "_discover", lambda connection: offer)
        assert "its certificate is not trusted" in refusal(connect(fake))
        trusting = connect(fake, tls_ca=authority.path)
        assert oidc.fetch_token(trusting, OidcClientCredentials("env:CLIENT_SECRET")).seconds == issuer.life
        assert len(issuer.asked) == 1


@pytest.mark.parametrize(
    ("own", "servers", "endpoint", "scopes"),
    [
        ("", [], "https://login.microsoftonline.com/t/oauth2/v2.0/token", ["me/.default"]),
        ("api://x/.default", [], "https://login.microsoftonline.com/t/oauth2/v2.0/token", ["api://x/.default"]),
        ("a b", ["openid", "a"], "https://issuer.example/token", ["openid", "a", "b"]),
        ("", [], "https://issuer.example/token", []),
        ("", [], "https://login.microsoftonline.com.evil.example/token", []),
    ],
)
def test_scopes(own: str, servers: list[str], endpoint: str, scopes: list[str]) -> None:
    assert oidc._scopes(OidcClientCredentials("env:X", scopes=own).scopes, servers, endpoint, "me") == scopes


@pytest.mark.parametrize("token", [KEYS["root"], "a.b.c", "a.e30.c", "...", "a.W10.c"])
def test_what_is_no_token_with_an_end_has_none(token: str) -> None:
    assert oidc.seconds_left(token) is None
