"""Secrets by reference: resolved where they are used, never part of a job graph, a log or a repr."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union
from uuid import uuid4

from weaviate_io.errors import WeaviateError

_ENVIRONMENT = "env:"
_MANAGED = "type:"  # how Beam writes a secret of a secret manager as text
_SHORTEST = 4  # characters; what is shorter is no secret, but part of many words


class Secret:
    """A secret that is known by where to find it.

    Args:
      source: ``"env:NAME"`` for an environment variable of the worker, a function without arguments, an object
        with ``get_secret_bytes()`` such as ``beam.Secret``, the text that Beam makes one of
        (``"type:GcpSecret;version_name:projects/P/secrets/S/versions/V"``), or the secret itself, which is
        accepted with a warning, since it becomes part of the job.
      warn: whether to warn; headers that hold no key need none.

    >>> Secret("env:WEAVIATE_API_KEY")
    Secret('env:WEAVIATE_API_KEY')
    """

    def __init__(self, source: Any, warn: bool = True) -> None:
        if not (isinstance(source, str) or callable(source) or hasattr(source, "get_secret_bytes")):
            raise TypeError(
                f"a secret is 'env:NAME', a function or a beam.Secret, not a {type(source).__name__}"
            )
        if warn and isinstance(source, str) and not _is_reference(source):
            warnings.warn(
                "a literal secret becomes part of the job; give 'env:NAME', a function or a beam.Secret instead",
                stacklevel=4,
            )
        if source == _ENVIRONMENT:
            raise ValueError("'env:' names no variable; write it as 'env:NAME'")
        if isinstance(source, str) and source.startswith(_MANAGED):
            _managed(source)
        self._source: str | Callable[[], Any] | Any = source
        self.hidden: bool = warn or not isinstance(source, str) or _is_reference(source)
        """Whether the value is to be kept out of texts, unlike a plain value of a header that holds no key."""
        # Copies of one function or beam.Secret, which each unpickling makes, are equal by this.
        self._identity = uuid4().hex

    def resolve(self) -> str:
        """The secret itself, without white space around it; on the worker only."""
        source = self._source
        if isinstance(source, str) and source.startswith(_MANAGED):
            source = _managed(source)
        if isinstance(source, str):
            return (_from_environment(source) if source.startswith(_ENVIRONMENT) else source).strip()
        value = source.get_secret_bytes() if hasattr(source, "get_secret_bytes") else source()
        text = value.decode() if isinstance(value, bytes) else value
        if not isinstance(text, str) or not text.strip():
            found = "nothing" if not text else f"a {type(text).__name__}"
            raise WeaviateError(f"the source of a secret gave {found}; it has to give text or bytes")
        return text.strip()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._identity == other._identity or bool(self._source == other._source)

    def __hash__(self) -> int:
        return hash(self._source) if isinstance(self._source, str) else hash(Secret)

    def __repr__(self) -> str:
        source = self._source
        shown = source if isinstance(source, str) and _is_reference(source) else "***"
        return f"Secret({shown!r})"


@dataclass(frozen=True)
class OidcClientCredentials:
    """How a job gets tokens from the OpenID Connect issuer of the server; give it as ``api_key=``.

    The token is fetched on the worker by the client credentials flow, once for each process, and again before it
    runs out. The server names the issuer.

    Args:
      client_secret: reference to the secret: ``"env:NAME"``, a function, or a ``beam.Secret``.
      client_id: the client at the issuer; the default is the one that the server names.
      scopes: what to ask for besides the scopes that the server names: a list, or a text with spaces. Without any
        a Microsoft issuer is asked for ``CLIENT_ID/.default``, and others for what they give by default.

    >>> OidcClientCredentials("env:CLIENT_SECRET", scopes="weaviate")
    OidcClientCredentials(client_secret=Secret('env:CLIENT_SECRET'), client_id=None, scopes=('weaviate',))
    """

    client_secret: Union[Secret, Any]
    client_id: Optional[str] = None
    scopes: Union[str, Sequence[str]] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.client_secret, Secret):
            object.__setattr__(self, "client_secret", Secret(self.client_secret))
        scopes = self.scopes.split() if isinstance(self.scopes, str) else self.scopes
        object.__setattr__(self, "scopes", tuple(scopes))


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with ``***`` in place of each secret.

    >>> redacted("Incorrect API key provided: sk-123", ["sk-123"])
    'Incorrect API key provided: ***'
    """
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "***")
    return text


def _is_reference(source: str) -> bool:
    return source.startswith((_ENVIRONMENT, _MANAGED))


def _managed(source: str) -> Any:
    """The ``beam.Secret`` that a text stands for; ``ValueError`` where it stands for none."""
    try:
        from apache_beam.utils.secret import Secret as BeamSecret
    except ImportError:  # Beam 2.76 and before
        from apache_beam.transforms.util import Secret as BeamSecret
    try:
        return BeamSecret.parse_secret_option(source)
    except (ValueError, LookupError) as error:
        raise ValueError(
            f"{source!r} is no secret of Beam; write type:GcpSecret;version_name:projects/P/secrets/S/versions/V"
        ) from error


def _from_environment(source: str) -> str:
    name = source.removeprefix(_ENVIRONMENT)
    value = os.environ.get(name)
    if not value:
        raise WeaviateError(
            f"{name} is not set on this worker; on Dataflow use beam.Secret or a custom container"
        )
    return value
