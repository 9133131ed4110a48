"""An OpenID Connect issuer on loopback: says who it is, shows its keys, and gives signed tokens for a secret."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

CLIENT = "weaviate-io-job"

Answer = tuple[int, Mapping[str, Any]]


class Issuer:
    """An issuer, as a context manager.

    Attributes, which may be changed at any time:
      secret: what a client has to show.
      life: seconds that a token is good for.
      user: who the tokens are for.
      answer: takes the form of a request for a token, and answers in place of the issuer; None for a good answer.
      asked: the forms of all requests for tokens.
      url: its address.
    """

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.life = 3600
        self.user = "oidc-writer"
        self.answer: Callable[[Mapping[str, str]], Answer | None] = lambda form: None
        self.asked: list[Mapping[str, str]] = []
        self._key = rsa.generate_private_key(65537, 2048)

    def __enter__(self) -> Issuer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.issuer = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a server needs to take its tokens."""
        return {
            "AUTHENTICATION_OIDC_ENABLED": "true",
            "AUTHENTICATION_OIDC_ISSUER": self.url,
            "AUTHENTICATION_OIDC_CLIENT_ID": CLIENT,
            "AUTHENTICATION_OIDC_USERNAME_CLAIM": "sub",
            "AUTHENTICATION_OIDC_SCOPES": "openid",
        }

    def token(self) -> str:
        """A token for its user, as long as ``life`` says from now."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": self.user, "iat": now, "exp": now + self.life}
        signed = ".".join(_text(part) for part in ({"alg": "RS256", "kid": "one", "typ": "JWT"}, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        modulus = _base64(numbers.n.to_bytes(256, "big"))
        exponent = _base64(numbers.e.to_bytes(3, "big"))
        return {
            "keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": modulus, "e": exponent}]
        }

    def give(self, form: Mapping[str, str]) -> Answer:
        self.asked.append(form)
        scripted = self.answer(form)
        if scripted is not None:
            return scripted
        if form.get("grant_type") != "client_credentials" or form.get("client_secret") != self.secret:
            wrong = f"no client with the secret {form.get('client_secret')}"
            return 401, {"error": "invalid_client", "error_description": wrong}
        return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": self.life}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        issuer: Issuer = self.server.issuer  # type: ignore[attr-defined]
        known = {"/.well-known/openid-configuration": issuer.discovery, "/keys": issuer.keys}
        self._send(200, known[self.path]()) if self.path in known else self._send(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._send(*self.server.issuer.give(form))  # type: ignore[attr-defined]

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _text(part: Mapping[str, Any]) -> str:
    return _base64(json.dumps(part).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
