"""Tokens of an OpenID Connect issuer, by the client credentials flow: how a job logs in that is no person.

The server says who its issuer is, the issuer says where it gives tokens, and gives one for the secret. When a
token is fetched again is the matter of :mod:`weaviate_io.access`.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import urlsplit

import requests

from weaviate_io.causes import rest_cause, rest_refusal
from weaviate_io.connection import WeaviateConnection
from weaviate_io.errors import WeaviateError
from weaviate_io.secret import OidcClientCredentials, redacted
from weaviate_io.transport import open_issuer_session, open_session, within

_DISCOVERY = "/v1/.well-known/openid-configuration"
_UNKNOWN_LIFE = 60.0  # seconds that a token is taken to live whose issuer does not say
_AGAIN = (408, 429, 500, 502, 503, 504)


class IssuerAway(WeaviateError):
    """The issuer does not answer now; it may later."""


@dataclass(frozen=True, repr=False)
class Token:
    """An access token, and the seconds it is good for."""

    text: str
    seconds: float


def fetch_token(connection: WeaviateConnection, credentials: OidcClientCredentials) -> Token:
    """Ask the issuer of the server for a token.

    Raises:
      IssuerAway: the server or its issuer cannot be reached within ``probe_timeout`` seconds.
      WeaviateError: it gives none.
    """
    secret = credentials.client_secret.resolve()
    try:
        return within(connection.probe_timeout, lambda: _fetch(connection, credentials, secret))
    except requests.Timeout:
        raise IssuerAway(
            f"no token from the OIDC issuer of {connection.rest_url} within {connection.probe_timeout:g} s; "
            "is a firewall between?"
        ) from None
    except WeaviateError as error:
        raise type(error)(redacted(str(error), [secret])) from None


def _fetch(connection: WeaviateConnection, credentials: OidcClientCredentials, secret: str) -> Token:
    offer = _discover(connection)
    client_id = credentials.client_id or offer.get("clientId") or ""
    with open_issuer_session(connection) as session:
        endpoint = _token_endpoint(session, connection, str(offer.get("href") or ""))
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        scopes = _scopes(credentials.scopes, offer.get("scopes") or (), endpoint, client_id)
        if scopes:
            form["scope"] = " ".join(scopes)
        answer = _ask(session, "POST", endpoint, f"OIDC token endpoint {endpoint}", form)
    if answer.status_code != 200:
        raise WeaviateError(f"the OIDC issuer gives no token at {endpoint}: {_refusal(answer)}")
    given = _mapping(answer)
    text = given.get("access_token")
    if not isinstance(text, str) or not text:
        raise WeaviateError(f"the answer of the OIDC token endpoint {endpoint} holds no access_token")
    seconds = given.get("expires_in")
    try:
        life = float(seconds)  # type: ignore[arg-type]  # some issuers give it as text
    except (TypeError, ValueError):
        life = seconds_left(text) or _UNKNOWN_LIFE
    return Token(text, life)


def _discover(connection: WeaviateConnection) -> Mapping[str, Any]:
    """What the server says of its issuer."""
    with open_session(connection, retries=False) as session:
        where = f"Weaviate at {connection.rest_url}"
        answer = _ask(session, "GET", f"{connection.rest_url}{_DISCOVERY}", where)
    if answer.status_code == 404:
        raise WeaviateError(
            f"{connection.rest_url} has OIDC turned off (AUTHENTICATION_OIDC_ENABLED); give a key as api_key="
        )
    if answer.status_code != 200:
        raise WeaviateError(f"{connection.rest_url}{_DISCOVERY}: {rest_refusal(answer)}")
    return _mapping(answer)


def _token_endpoint(session: requests.Session, connection: WeaviateConnection, href: str) -> str:
    answer = _ask(session, "GET", href, f"OIDC issuer at {href!r}, which {connection.rest_url} names")
    endpoint = _mapping(answer).get("token_endpoint") if answer.status_code == 200 else None
    if not isinstance(endpoint, str):
        raise WeaviateError(
            f"{href} tells no token_endpoint (status {answer.status_code}); is it an OIDC issuer?"
        )
    if urlsplit(endpoint).scheme != "https" and urlsplit(connection.url).scheme == "https":
        raise WeaviateError(f"the OIDC token endpoint {endpoint} is not https://; the secret is not sent there")
    return endpoint


def _scopes(own: Sequence[str], servers: Sequence[str], endpoint: str, client_id: str) -> list[str]:
    scopes = list(dict.fromkeys([*servers, *own]))
    if not scopes and urlsplit(endpoint).hostname == "login.microsoftonline.com":
        return [f"{client_id}/.default"]
    return scopes


def _ask(
    session: requests.Session, method: str, url: str, where: str, form: Optional[Mapping[str, str]] = None
) -> requests.Response:
    try:
        answer = session.request(
            method, url, data=form, timeout=10, verify=session.verify, allow_redirects=method == "GET"
        )
    except requests.RequestException as error:
        raise IssuerAway(f"no {where}: {rest_cause(error)}") from None
    if answer.status_code in _AGAIN:
        raise IssuerAway(f"{where}: {rest_refusal(answer)}")
    return answer


def _refusal(answer: requests.Response) -> str:
    """The words of RFC 6749, with what to do about those that have one cause."""
    given = _mapping(answer)
    error = str(given.get("error") or answer.status_code)
    words = " ".join(str(given.get("error_description") or "").split())[:300]
    advice = {
        "invalid_client": "check client_secret= and client_id=",
        "unauthorized_client": "the issuer does not let this client use client credentials",
        "invalid_scope": "check scopes=",
    }.get(error, "check client_id=, client_secret= and scopes=")
    return f"{error}{f' ({words})' if words else ''}; {advice}"


def _mapping(answer: requests.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def seconds_left(token: str) -> Optional[float]:
    """Seconds until a JWT runs out by the clock of this machine; None where the token does not say.

    >>> seconds_left("an opaque key") is None
    True
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Union[Any, Mapping[str, Any]] = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        return float(claims["exp"]) - time.time()
    except (ValueError, KeyError, TypeError):
        return None
