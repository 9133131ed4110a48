"""The headers of every request: who we are, and what lets us in.

Secrets are resolved when the connection is opened, and again before they run out (where that is known) or when
the server refuses them. They are the same for all threads of a process.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from weaviate_io.connection import WeaviateConnection
from weaviate_io.errors import WeaviateError
from weaviate_io.oidc import IssuerAway, Token, fetch_token, seconds_left
from weaviate_io.secret import OidcClientCredentials, redacted
from weaviate_io.version import __version__

_LOGGER = logging.getLogger(__name__)

_INTEGRATION = {"x-weaviate-client-integration": f"weaviate-io/{__version__}"}
_MARGIN = 60.0  # seconds before its end that a token is renewed; a quarter of its life where that is shorter
_SHORTEST_LIFE = 1.0  # seconds; spares the source where a token has run out by our clock and is good by another
_NEXT_TRY = 1.0  # seconds between two tries to renew a token that is still good
_PATIENCE = 60.0  # seconds that requests wait for a new token when the old one has run out
_YOUNG = 2.0  # seconds; a token refused so soon after a renewal is not helped by another


class Access:
    """The headers of an open connection.

    Args:
      connection: the server, and the references to the secrets.
      clock, sleep: the time, for tests.

    Raises :class:`WeaviateError` where a secret cannot be had.
    """

    def __init__(
        self,
        connection: WeaviateConnection,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self._secrets: frozenset[str] = frozenset()
        self._secrets_before: frozenset[str] = frozenset()
        self._after_refusal = False
        self._resolve()

    def headers(self) -> dict[str, str]:
        """The headers to send now; waits for new ones only where the token has run out."""
        if not self.is_fresh:
            self._renew_in_time()
        return self._headers

    @property
    def is_fresh(self) -> bool:
        """Whether the present headers do, so that nobody has to be asked for others."""
        return self._clock() < self._renew_at

    def renew(self, since: float) -> bool:
        """Resolve the secrets again after a refusal.

        Args:
          since: ``time.monotonic()`` of the refused request.

        Returns whether there are others now than it was sent with, so that another try makes sense.
        """
        with self._lock:
            if self._changed_at > since:
                return True
            if self._after_refusal and since - self._changed_at < _YOUNG:
                return False
            self._after_refusal = self._resolve()
            return self._after_refusal

    def redact(self, text: str) -> str:
        """The text with ``***`` in place of each secret, those of before the last renewal included."""
        return redacted(text, self._secrets | self._secrets_before)

    def _renew_in_time(self) -> None:
        has_ended = self._clock() >= self._ends_at
        if not self._lock.acquire(timeout=2 * _PATIENCE if has_ended else 0):
            if has_ended:
                raise WeaviateError(f"no new token for {self._connection.rest_url} within {2 * _PATIENCE:g} s")
            return  # another thread is at it, and the present token is still good
        try:
            if self._clock() >= self._renew_at:
                self._renew_patiently()
        finally:
            self._lock.release()

    def _renew_patiently(self) -> None:
        give_up_at = self._clock() + _PATIENCE
        while True:
            try:
                self._resolve()
                return
            except Exception as error:  # a function that is asked for a secret may raise anything
                now = self._clock()
                if now < self._ends_at:
                    self._renew_at = now + _NEXT_TRY
                    left = self._ends_at - now
                    told = str(error) if isinstance(error, WeaviateError) else type(error).__name__
                    _LOGGER.warning("the token is not renewed yet, and good for %.0f s more: %s", left, told)
                    return
                if not isinstance(error, IssuerAway) or now + _NEXT_TRY > give_up_at:
                    raise
            self._sleep(_NEXT_TRY)

    def _resolve(self) -> bool:
        """Get all secrets anew; whether there are others now."""
        connection = self._connection
        now = self._clock()
        token = None
        if isinstance(connection.api_key, OidcClientCredentials):
            token = fetch_token(connection, connection.api_key)
        headers = connection.resolve_headers(token.text if token else None)
        for name, value in headers.items():
            # Others would quote the whole value in what they raise.
            if not (value.isascii() and value.isprintable()):
                raise WeaviateError(
                    f"the value of the header {name!r} has characters that no header can have; "
                    "look for a line break inside the secret"
                )
        life = _life(token, headers.get("authorization", ""))
        self._ends_at = now + life
        self._renew_at = now + max(life - min(_MARGIN, life / 4), _SHORTEST_LIFE)
        self._secrets, self._secrets_before = _secrets(connection, headers), self._secrets
        headers |= _INTEGRATION
        if headers == self._headers:
            return False
        self._headers, self._changed_at, self._after_refusal = headers, self._clock(), False
        return True


def _life(token: Token | None, authorization: str) -> float:
    """Seconds that the headers are good for, as far as is known."""
    if token is not None:
        return token.seconds
    left = seconds_left(authorization.removeprefix("Bearer "))
    return math.inf if left is None else left


def _secrets(connection: WeaviateConnection, headers: dict[str, str]) -> frozenset[str]:
    hidden = {name.lower() for name, value in connection.headers.items() if value.hidden}
    found = {value for name, value in headers.items() if name in hidden}
    if "authorization" in headers:
        found.add(headers["authorization"].removeprefix("Bearer "))
    if isinstance(connection.api_key, OidcClientCredentials):
        found.add(connection.api_key.client_secret.resolve())
    return frozenset(found)
