"""When secrets are resolved anew, by a clock that the test winds."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from weaviate_io import OidcClientCredentials, WeaviateConnection, access
from weaviate_io.access import Access
from weaviate_io.errors import WeaviateError
from weaviate_io.oidc import IssuerAway, Token


class Clock:
    """``now`` is what the test says, and moves on where the code sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Source:
    """Gives tokens ``token1``, ``token2``...; or raises ``error``."""

    def __init__(self) -> None:
        self.life = 100.0
        self.given = 0
        self.tries = 0
        self.error: Exception | None = None

    def __call__(self, *_: Any) -> Token:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.given += 1
        return Token(f"token{self.given}", self.life)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()
    monkeypatch.setattr(access, "fetch_token", source)
    monkeypatch.setenv("CLIENT_SECRET", "client-secret")
    return source


@pytest.fixture
def opened(source: Source, clock: Clock) -> Access:
    connection = WeaviateConnection("http://h", api_key=OidcClientCredentials("env:CLIENT_SECRET"))
    return Access(connection, clock=lambda: clock.now, sleep=clock.sleep)


def sent(opened: Access) -> str:
    return opened.headers()["authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize(("life", "kept"), [(3600, 3540), (100, 75), (5, 3.75), (0.5, 1), (-10, 1)])
def test_a_token_is_renewed_when_its_end_is_near(
    source: Source, clock: Clock, life: float, kept: float
) -> None:
    source.life = life
    connection = WeaviateConnection("http://h", api_key=OidcClientCredentials("env:CLIENT_SECRET"))
    opened = Access(connection, clock=lambda: clock.now, sleep=clock.sleep)
    clock.now = 1000 + kept - 0.01
    assert sent(opened) == "token1"
    clock.now = 1000 + kept
    assert sent(opened) == "token2"


def test_a_token_that_is_still_good_is_used_while_the_issuer_is_away(
    opened: Access, source: Source, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now += 80
    source.error = IssuerAway("no issuer")
    with caplog.at_level(logging.WARNING):
        assert [sent(opened) for _ in range(5)] == ["token1"] * 5
    assert source.tries == 2  # once a second is enough
    assert caplog.messages == ["the token is not renewed yet, and good for 20 s more: no issuer"]
    source.error = None
    clock.now += 1
    assert sent(opened) == "token2"


def test_requests_wait_for_an_issuer_that_comes_back(
    opened: Access, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now += 200
    source.error = IssuerAway("no issuer")

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now >= 1230:
            source.error = None

    monkeypatch.setattr(opened, "_sleep", sleep)
    assert sent(opened) == "token2"
    assert clock.now == 1230


def test_an_issuer_that_stays_away_is_waited_for_a_minute(opened: Access, source: Source, clock: Clock) -> None:
    clock.now += 200
    source.error = IssuerAway("no issuer")
    with pytest.raises(IssuerAway):
        opened.headers()
    assert clock.now == 1260


def test_a_refusal_of_the_issuer_is_final(opened: Access, source: Source, clock: Clock) -> None:
    clock.now += 200
    source.error = WeaviateError("invalid_client")
    with pytest.raises(WeaviateError, match="invalid_client"):
        opened.headers()
    assert clock.now == 1200


def test_while_one_thread_renews_the_others_go_on_with_the_old_token(
    opened: Access, source: Source, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(*_: Any) -> Token:
        asked.set()
        assert answer.wait(60)
        return source()

    monkeypatch.setattr(access, "fetch_token", slow)
    clock.now += 80
    renewing = threading.Thread(target=opened.headers)
    renewing.start()
    assert asked.wait(60)
    assert sent(opened) == "token1"
    answer.set()
    renewing.join()
    assert sent(opened) == "token2" and source.given == 2


def test_a_refused_token_is_renewed_once(opened: Access, source: Source, clock: Clock) -> None:
    sent_at = clock.now
    clock.now += 1
    assert opened.renew(sent_at)
    assert opened.renew(sent_at)  # of another request that was sent before
    assert source.given == 2
    clock.now += 1
    assert not opened.renew(clock.now)  # the new one is refused too
    assert source.given == 2
    clock.now += 50
    assert opened.renew(clock.now)  # it was good for a while


def test_secrets_are_redacted_in_what_others_write(opened: Access, clock: Clock) -> None:
    text = "token1 token2 client-secret clients"
    assert opened.redact(text) == "*** token2 *** clients"
    clock.now += 200
    opened.headers()
    assert opened.redact(text) == "*** *** *** clients"


@pytest.mark.filterwarnings("ignore:a literal secret")
def test_only_secrets_are_redacted() -> None:
    headers = {
        "X-Openai-Api-Key": "sk-plain",
        "X-Other": lambda: "fetched",
        "X-Model": "large",
        "X-Token": "abc",
    }
    opened = Access(WeaviateConnection("http://h", headers=headers))
    assert opened.redact("sk-plain fetched large abc") == "*** *** large abc"


@pytest.mark.parametrize("value", ["first\nsecond", "schlüssel", "a\tb"])
def test_a_secret_that_no_header_can_carry_is_not_shown(value: str) -> None:
    for options in ({"api_key": lambda: value}, {"headers": {"X-Openai-Api-Key": lambda: value}}):
        with pytest.raises(WeaviateError, match="look for a line break") as raised:
            Access(WeaviateConnection("http://h", **options))
        assert value not in str(raised.value)


@pytest.mark.parametrize("name", ["", "X Key", "X-Key:", "schlüssel"])
def test_what_is_no_name_of_a_header_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a header"):
        WeaviateConnection("http://h", headers={name: "env:X"})
